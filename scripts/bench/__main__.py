"""Measures taeld beside the nodes that its users could pick instead.

    python -m scripts.bench [--runs 5] [--only NAME …] [--quick] [--json FILE] [--svg FILE]

Every run does each workload with each system in turn, so that what slows the machine slows all.
What is compared with what, and how, stands in docs/performance.md.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import NoReturn

import msgspec

from scripts.bench.benchmark import Benchmark
from scripts.bench.chains import QUICK, Sizes
from scripts.bench.conduct import Conductor
from scripts.bench.measure_allreads import ALL_READS
from scripts.bench.measure_balance import BALANCE
from scripts.bench.measure_busy import BUSY
from scripts.bench.measure_confirmed import CONFIRMED
from scripts.bench.measure_payments import PAYMENTS
from scripts.bench.measure_reads import READS
from scripts.bench.measure_relay import RELAY
from scripts.bench.measure_replay import REPLAY
from scripts.bench.measure_start import START
from scripts.bench.measure_sync import SYNC
from scripts.bench.report import Result, load_average, machine, summary
from scripts.bench.svg import plot

WAITING_MIN = 10_000
"""Payments that wait, as the measurements need them."""
BENCHMARKS: tuple[Benchmark, ...] = (
    REPLAY, SYNC, PAYMENTS, READS, ALL_READS, BUSY, RELAY, CONFIRMED, START, BALANCE,
)  # fmt: skip


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scripts.bench", description=__doc__)
    names = [benchmark.name for benchmark in BENCHMARKS]
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", nargs="*", choices=names, default=names, metavar="NAME",
                        help=f"some of: {', '.join(names)}")  # fmt: skip
    parser.add_argument("--payments", type=int, default=Sizes().payments)
    parser.add_argument("--quick", action="store_true", help="few payments, taeld alone, one run")
    parser.add_argument("--alone", action="store_true", help="taeld alone")
    parser.add_argument("--curves", action="store_true", help="growth curves of taeld too")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--svg", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    if options.payments < WAITING_MIN and not options.quick:
        parser.error(f"--payments: at least {WAITING_MIN:,}; --quick measures with fewer")
    return options


def sizes_for(payments: int) -> Sizes:
    """Sizes with so many payments in the chain."""
    # Each payment that waits spends a coin of its own, and there are hardly more than payments.
    return Sizes(payments=payments, waiting=min(Sizes().waiting, payments))


def main(arguments: list[str] | None = None) -> Result:
    """Measure, print and write what was asked for."""
    options = _options(arguments)
    began, load = time.perf_counter(), load_average()
    sizes = QUICK if options.quick else sizes_for(options.payments)
    runs = 1 if options.quick else options.runs
    chosen = [benchmark for benchmark in BENCHMARKS if benchmark.name in options.only]
    directory = Path(tempfile.mkdtemp(prefix="tael-bench-"))
    try:
        conductor = Conductor(directory, sizes, alone=options.quick or options.alone)
        rows = conductor.conduct(chosen, runs)
        stages = conductor.stages() if REPLAY in chosen else {}
        curves = conductor.trace() if options.curves else []
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    result = Result(
        machine=machine(), cores=conductor.cores, load=load, runs=runs, sizes=sizes,
        locks=conductor.locks, seconds=time.perf_counter() - began, rows=rows, stages=stages,
        curves=curves,
    )  # fmt: skip
    print(summary(result))
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2))
    if options.svg:
        options.svg.write_text(plot(result.rows, result.stages))
    return result


def _end(number: int, _: object) -> NoReturn:
    """Told to end: leave in order, so that the nodes end too."""
    sys.exit(128 + number)


if __name__ == "__main__":
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, _end)
    main()
