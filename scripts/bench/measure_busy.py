"""Reads while a block of 2 000 payments that the node has not seen is connected every second."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import cycle, islice

import msgspec

from scripts.bench.benchmark import Benchmark, Kit
from scripts.bench.chains import read_blocks
from scripts.bench.load import Outcome, begin_load, bodies_of, end_load, outcome_figures
from scripts.bench.measure_allreads import READS_OF_BOTH, gather
from scripts.bench.measure_reads import load_quantities
from scripts.bench.rows import OURS, READ, READ_BUSY_P99, Quantity
from scripts.bench.server import Server
from scripts.bench.systems import PEER

BLOCKS, BLOCKS_PER_LOAD = 6, 2
CONNECTIONS = 8
P99_MS_MAX = 10.0
UNLIMITED = 10**9
MIXED = [read for read in READS_OF_BOTH if read.is_mixed]
MIXED_EACH = 250
"""Different requests of each kind, where there are so many."""


def _submit(server: Server, blocks: list[bytes], every_s: float, taken: list[float]) -> None:
    due = time.perf_counter()
    for raw in blocks:
        due += every_s
        time.sleep(max(0.0, due - time.perf_counter()))
        began = time.perf_counter()
        assert server.call("submitblock", raw.hex()) is None
        taken.append((time.perf_counter() - began) * 1e3)


def _run(kit: Kit) -> dict[str, float]:
    system = kit.system
    datadir = kit.directory / "short"
    # The very last block may be a small one.
    system.lay(datadir, leave=BLOCKS + 1)
    blocks = read_blocks(system.prepared.blocks)[-BLOCKS - 1 : -1]
    spent = system.prepared.waiting()[: kit.sizes.reads]
    calls = {
        "busy_count": bodies_of("getblockcount", [[]]),
        "busy_txout": bodies_of("gettxout", [(p.spent_txid, p.spent_index) for p in spent]),
    }
    figures: dict[str, float] = {}
    taken: list[float] = []
    with system.start(datadir, replay=True) as server:
        server.wait_ready(system.prepared.height - BLOCKS - 1)
        for key, bodies in calls.items():
            part, blocks = blocks[:BLOCKS_PER_LOAD], blocks[BLOCKS_PER_LOAD:]
            outcome = _load_meanwhile(kit, server, bodies, part, taken)
            figures |= outcome_figures(f"{key}_{CONNECTIONS}", outcome)
        outcome = _load_meanwhile(kit, server, _mix(server, kit), blocks, taken, len(MIXED))
        for read, p99_ms in zip(MIXED, outcome.kinds_p99_ms, strict=True):
            figures[READ + read.key + READ_BUSY_P99] = p99_ms
    return figures | {"busy_submit": sum(taken) / len(taken)}


def _load_meanwhile(
    kit: Kit, server: Server, bodies: list[bytes], blocks: list[bytes], taken: list[float],
    kinds: int = 1,
) -> Outcome:  # fmt: skip
    every_s = kit.sizes.block_every_s / 2
    thread = threading.Thread(target=_submit, args=(server, blocks, every_s, taken))
    seconds = every_s * (len(blocks) + 1)
    generator = begin_load(server, kit.directory, bodies, CONNECTIONS, UNLIMITED, seconds, kinds)
    thread.start()
    outcome = end_load(generator)
    thread.join()
    return outcome


def _mix(server: Server, kit: Kit) -> list[bytes]:
    """Every kind of short read in turn."""
    facts = gather(server, kit, waiting=0)
    rounds = [
        bodies_of(read.method, list(islice(cycle(read.params(facts)), MIXED_EACH)))
        for read in MIXED
    ]
    return [body for one_round in zip(*rounds, strict=True) for body in one_round]


def _quantities() -> Iterator[Quantity]:
    for key, method in (("busy_count", "getblockcount"), ("busy_txout", "gettxout")):
        title = f"{method}, a block every second"
        for quantity in load_quantities(key, title, {}, (CONNECTIONS,)):
            is_p99 = quantity.key.endswith("_p99")
            yield msgspec.structs.replace(quantity, limit=P99_MS_MAX if is_p99 else None)
    for read in MIXED:
        title = f"{read.title}, a block every second: p99"
        yield Quantity(READ + read.key + READ_BUSY_P99, title, "ms", limit=P99_MS_MAX)


BUSY = Benchmark(
    "busy",
    (
        *_quantities(),
        Quantity("busy_submit", "submitblock of unknown payments meanwhile", "ms"),
    ),
    {OURS: _run, PEER: _run},
)
