"""Reads while a block of 2 000 payments that the node has not seen is connected every second."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import msgspec

from scripts.bench.benchmark import Benchmark, Kit
from scripts.bench.chains import read_blocks
from scripts.bench.load import begin_load, bodies_of, end_load, outcome_figures
from scripts.bench.measure_reads import load_quantities
from scripts.bench.rows import OURS, Quantity
from scripts.bench.server import Server
from scripts.bench.systems import PEER

BLOCKS = 4
CONNECTIONS = 8
UNLIMITED = 10**9


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
    every_s = kit.sizes.block_every_s / 2
    figures: dict[str, float] = {}
    taken: list[float] = []
    with system.start(datadir, replay=True) as server:
        server.wait_ready(system.prepared.height - BLOCKS - 1)
        for key, bodies in calls.items():
            half = BLOCKS // len(calls)
            part, blocks = blocks[:half], blocks[half:]
            thread = threading.Thread(target=_submit, args=(server, part, every_s, taken))
            seconds = every_s * (len(part) + 1)
            generator = begin_load(server, kit.directory, bodies, CONNECTIONS, UNLIMITED, seconds)
            thread.start()
            figures |= outcome_figures(f"{key}_{CONNECTIONS}", end_load(generator))
            thread.join()
    return figures | {"busy_submit": sum(taken) / len(taken)}


def _quantities() -> Iterator[Quantity]:
    for key, method in (("busy_count", "getblockcount"), ("busy_txout", "gettxout")):
        title = f"{method}, a block every second"
        for quantity in load_quantities(key, title, {}, (CONNECTIONS,)):
            is_p99 = quantity.key.endswith("_p99")
            yield msgspec.structs.replace(quantity, limit=10.0 if is_p99 else None)


BUSY = Benchmark(
    "busy",
    (
        *_quantities(),
        Quantity("busy_submit", "submitblock of unknown payments meanwhile", "ms"),
    ),
    {OURS: _run, PEER: _run},
)
