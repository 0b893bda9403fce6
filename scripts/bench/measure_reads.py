"""Reads over JSON-RPC: the height, an unspent output, a block with the ids of its transactions."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.bench.benchmark import Benchmark, Kit
from scripts.bench.load import bodies_of, load, outcome_figures
from scripts.bench.rows import OURS, Quantity
from scripts.bench.server import BenchError
from scripts.bench.systems import PEER

CONNECTIONS = (1, 8)
BLOCK_SHARE = 40
"""A block is read so many times less often than the rest."""


def load_quantities(
    key: str, title: str, goals: dict[int, float], connections: tuple[int, ...] = CONNECTIONS
) -> Iterator[Quantity]:
    """Rate, median and 99th percentile at each number of connections; goals are for the rate."""
    for count in connections:
        name = f"{title}, {count} connection{'s' * (count > 1)}"
        goal = {PEER: goals[count]} if count in goals else {}
        yield Quantity(f"{key}_{count}_rate", name, "/s", True, goal)
        yield Quantity(f"{key}_{count}_p50", f"{name}: p50", "ms")
        yield Quantity(f"{key}_{count}_p99", f"{name}: p99", "ms")
        yield Quantity(f"{key}_{count}_busy", f"{name}: generator at work", "%")


def _run(kit: Kit) -> dict[str, float]:
    waiting = kit.system.prepared.waiting()[: kit.sizes.reads]
    figures: dict[str, float] = {}
    with kit.node() as server:
        # The last may hold what was left.
        full = server.call("getblockhash", kit.system.prepared.height - 1)
        if len(server.call("getblock", full, 1)["tx"]) != kit.sizes.per_block + 1:
            raise BenchError("the block is not full")
        calls = {
            "count": bodies_of("getblockcount", [[]]),
            "txout": bodies_of("gettxout", [(p.spent_txid, p.spent_index) for p in waiting]),
            "block": bodies_of("getblock", [[full, 1]]),
        }
        for connections in CONNECTIONS:
            for name, bodies in calls.items():
                count = kit.sizes.reads // (BLOCK_SHARE if name == "block" else 1)
                outcome = load(server, kit.directory, bodies, connections, count, kit.sizes.load_s)
                figures |= outcome_figures(f"{name}_{connections}", outcome)
    return figures


READS = Benchmark(
    "reads",
    (
        *load_quantities("count", "getblockcount", {8: 1.0}),
        *load_quantities("txout", "gettxout", {8: 1.0}),
        *load_quantities("block", "getblock of a full block, verbosity 1", {1: 2.0, 8: 2.0}),
    ),
    {OURS: _run, PEER: _run},
)
