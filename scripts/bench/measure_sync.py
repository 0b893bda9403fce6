"""A node that has nothing gets the whole chain from a peer on the same machine.

The clock runs from the moment at which it begins to connect to peers to its last block.
"""

from __future__ import annotations

from scripts.bench.benchmark import Benchmark, Kit
from scripts.bench.rows import OURS, Quantity
from scripts.bench.systems import PEER


def _run(kit: Kit) -> dict[str, float]:
    system = kit.system
    datadir = kit.directory / "new"
    with (
        kit.node("full") as full,
        system.start(datadir, connect=[full.p2p_port]) as server,
    ):
        began = server.wait_line(system.ready)[0].at
        ended = server.wait_line(system.tip_line(system.prepared.height))[0].at
        return {"sync": kit.sizes.payments / (ended - began), "sync_peak": server.peak_mib()}


SYNC = Benchmark(
    "sync",
    (
        Quantity("sync", "sync from a peer", "tx/s", True, {PEER: 1.5}),
        Quantity("sync_peak", "peak memory of the sync", "MiB"),
    ),
    {OURS: _run, PEER: _run},
)
