"""How fast a fresh node replays a chain from its block files: every rule, every signature.

    .venv/bin/python -m scripts.bench.replay [--payments 50000] [--runs 3] [--json]

Each run is a new process that finds nothing but block files, as after `taeld --reindex`, and connects
them: decode, rules, coins, undo data, all indexes, LevelDB, signatures on all cores. The
time goes from opening the directory to the last block connected; a second figure adds the last flush.
Then the stages are timed one after the other in one process, without the processes and the waiting:
what each costs by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from consensus.block import Block
from consensus.block_rules import BlockCheck
from consensus.codec import encode
from consensus.connect import Connection
from consensus.header_tree import HeaderTree
from consensus.keys import are_signed
from consensus.locks import BlockContext
from consensus.params import BLOCK_COST_MAX
from node.blockfiles import RecordFiles
from node.chain import Chain, ChainListener
from node.db import Database
from node.index import BlockIndexer
from node.layout import FilePosition
from node.recovery import restore
from node.staging import Staging
from node.store import Store
from node.system import System
from node.verify import Verifier
from scripts.bench.workload import Workload


def open_store(directory: Path, workload: Workload) -> Store:
    (directory / "state").mkdir(exist_ok=True)
    return Store(
        Database(directory / "state"),
        RecordFiles(directory / "blocks", "blk"),
        RecordFiles(directory / "undo", "undo"),
        ThreadPoolExecutor(1),
        workload.genesis.header.hash,
    )


def write_blocks(directory: Path, workload: Workload) -> None:
    files = RecordFiles(directory / "blocks", "blk")
    files.append(workload.genesis.raw)
    for block in workload.blocks():
        files.append(block.raw)
    files.sync()
    files.close()


async def replay(directory: Path, workload: Workload, processes: int) -> dict[str, float]:
    """One replay in this process; seconds and MiB."""
    System().tune()
    began = time.perf_counter()
    store = open_store(directory, workload)
    verifier = Verifier(processes)
    listener = ChainListener(lambda _: None, lambda *_: None, lambda _: None, lambda *_: None)
    chain = Chain(workload.genesis, workload.params, store, verifier, time.time, listener)
    await restore(chain)
    following = asyncio.create_task(chain.run())
    await chain.settled()
    connected = time.perf_counter()
    cpu = time.process_time()
    await chain.flush()
    flushed = time.perf_counter()
    following.cancel()
    await verifier.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    store.close()
    return {
        "height": chain.tip.height,
        "connect_s": connected - began,
        "flush_s": flushed - began,
        "main_cpu_s": cpu,
        "peak_mib": peak / 1024,
        "worker_mib": worker / 1024,
    }


class Stages:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - began


def _connect(
    stages: Stages, raw: bytes, workload: Workload, tree: HeaderTree, staging: Staging
) -> tuple[Block, list[bytes]]:
    """One block, stage by stage."""
    with stages.time("decode, ids, rules without context, root"):
        check = BlockCheck(raw)
        while not check.step(BLOCK_COST_MAX):
            pass
        checked = check.finish()
    header = checked.block.header
    node = tree.add(header, header.time)
    assert node.parent is not None
    ctx = BlockContext(workload.genesis.header.hash, node.height, node.parent.median_time())
    with stages.time("coins, rules with context, digests"):
        connection = Connection(checked, ctx, workload.params, staging.coin, staging.supply)
        checks: list[bytes] = []
        while (more := connection.step(BLOCK_COST_MAX)) is not None:
            checks += more
        delta = connection.finish()
    with stages.time("index rows"):
        rows, place = staging.layer.indexes, FilePosition(0, 0)
        indexer = BlockIndexer(checked.block, delta.undo, node.height, place, 1)
        while not indexer.step(rows, 10_000):
            pass
    with stages.time("layers in memory"):
        staging.apply(delta, node.height, 1)
    with stages.time("undo data"):
        encode(delta.undo)
    return checked.block, checks


async def by_stage(directory: Path, workload: Workload) -> dict[str, float]:
    """Seconds of each stage, alone."""
    gc.disable()
    store = open_store(directory, workload)
    chain = Chain(
        workload.genesis, workload.params, store, Verifier(0), time.time,
        ChainListener(lambda _: None, lambda *_: None, lambda _: None, lambda *_: None),
    )  # fmt: skip
    await restore(chain)
    stages = Stages()
    tree = HeaderTree(workload.params, workload.genesis.header)
    signatures: list[bytes] = []
    records = store.blocks.scan(FilePosition(0, 0))
    next(records)
    while True:
        with stages.time("read from disk"):
            record = next(records, None)
        if record is None:
            break
        staging = store.stage()
        block, checks = _connect(stages, record[1], workload, tree, staging)
        signatures += checks
        with stages.time("layers in memory"):
            store.publish(staging, block.header.hash)
    with stages.time("LevelDB batch (another thread)"):
        await store.flush()
    with stages.time("signatures (other processes)"):
        assert are_signed(signatures)
    store.close()
    return stages.seconds


def _fresh(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    shutil.copytree(source / "blocks", target / "blocks")


def _child(options: argparse.Namespace, work: Callable[[Workload], Any]) -> None:
    print(json.dumps(asyncio.run(work(Workload(options.payments)))))


def _run_child(options: argparse.Namespace, directory: Path, kind: str) -> dict[str, float]:
    command = [
        sys.executable, "-m", "scripts.bench.replay", "--child", kind,
        "--payments", str(options.payments), "--processes", str(options.processes),
        "--directory", str(directory),
    ]  # fmt: skip
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result: dict[str, float] = json.loads(output)
    return result


def _measure(options: argparse.Namespace, directory: Path) -> dict[str, Any]:
    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    source, target = directory / "source", directory / "run"
    say(f"making {options.payments} payments …")
    write_blocks(source, Workload(options.payments))
    runs = []
    for number in range(options.runs):
        _fresh(source, target)
        runs.append(_run_child(options, target, "replay"))
        say(f"run {number + 1}: {options.payments / runs[-1]['connect_s']:,.0f} payments/s")
    _fresh(source, target)
    stages = _run_child(options, target, "stages")
    return {
        "payments": options.payments,
        "cores": os.cpu_count(),
        "processes": options.processes,
        "runs": runs,
        "stages_us": {name: s / options.payments * 1e6 for name, s in stages.items()},
    }


def _show(result: dict[str, Any]) -> None:
    payments, runs = result["payments"], result["runs"]

    def rates(key: str) -> str:
        values = [payments / run[key] for run in runs]
        return f"{statistics.median(values):10,.0f}   ({min(values):,.0f} – {max(values):,.0f})"

    def most(key: str) -> float:
        return max(float(run[key]) for run in runs)

    print(f"\nReplay of {payments:,} payments on {result['cores']} cores, {len(runs)} runs")
    print(f"  connected            {rates('connect_s')} payments/s, median (range)")
    print(f"  and all on disk      {rates('flush_s')} payments/s")
    cpu = statistics.median(run["main_cpu_s"] for run in runs) / payments * 1e6
    print(
        f"  CPU, main process    {cpu:10.1f} µs a payment, with start-up and what it checks of signatures"
    )
    print(f"  peak memory          {most('peak_mib'):10.0f} MiB, and {most('worker_mib'):.0f} MiB "
          f"for each of {result['processes']} signature processes")  # fmt: skip
    print("\nStages alone, one after the other, µs a payment")
    for name, value in result["stages_us"].items():
        print(f"  {name:45} {value:6.1f}")
    main = sum(v for name, v in result["stages_us"].items() if "other" not in name)
    print(f"  {'main process, sum':45} {main:6.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--payments", type=int, default=50_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--processes", type=int, default=(os.cpu_count() or 1) - 1)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--child", choices=("replay", "stages"), help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    directory: Path = options.directory
    if options.child == "replay":
        _child(options, lambda workload: replay(directory, workload, options.processes))
    elif options.child == "stages":
        _child(options, lambda workload: by_stage(directory, workload))
    else:
        with tempfile.TemporaryDirectory(prefix="tael-replay-") as made:
            result = _measure(options, Path(made))
        if options.json:
            print(json.dumps(result, indent=2))
        else:
            _show(result)


if __name__ == "__main__":
    main()
