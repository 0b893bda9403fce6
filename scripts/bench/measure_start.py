"""From the start of the process to the first answer over JSON-RPC, and memory at rest."""

from __future__ import annotations

import time

from scripts.bench.benchmark import Benchmark, Kit
from scripts.bench.rows import OURS, Quantity
from scripts.bench.systems import PEER, copy


def _run(kit: Kit) -> dict[str, float]:
    datadir = copy(kit.base, kit.directory / "node")
    with kit.system.start(datadir) as server:
        seconds = server.wait_ready(kit.system.prepared.height)
        time.sleep(kit.sizes.rest_s)
        return {"start": seconds, "idle": server.memory_mib()}


START = Benchmark(
    "start",
    (
        Quantity("start", "start to the first RPC answer", "s", goals={PEER: 1.0}),
        Quantity("idle", "memory at rest", "MiB", goals={PEER: 1.5}),
    ),
    {OURS: _run, PEER: _run},
)
