"""Replay from disk: nothing but block files, every rule and every signature, into a new database.

The clock runs from the opening of the database to the last block connected, as told by the log (for
the library: by the call). The time to start the process is not in it; `start` measures that. Litecoin
Core and the library keep coins only; taeld with `--no-index` does that too, without it keeps all its
indexes. The library gets as many threads as its own node would give it.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from scripts.bench.benchmark import Benchmark, Kit
from scripts.bench.chains import Prepared
from scripts.bench.rows import OURS, Quantity
from scripts.bench.server import BenchError
from scripts.bench.systems import KERNEL, PEER, lay_peer_blocks

KERNEL_SCRIPT = Path(__file__).with_name("kernel_replay.py")


def _replay(kit: Kit, index: bool) -> tuple[float, float]:
    """Payments a second, and the peak of memory."""
    system = kit.system
    datadir = kit.directory / f"replay-{index}"
    system.lay(datadir)
    with system.start(datadir, replay=True, index=index) as server:
        began = server.wait_line(system.opening)[0].at
        ended = server.wait_line(system.tip_line(system.prepared.height))[0].at
        return kit.sizes.payments / (ended - began), server.peak_mib()


def _ours(kit: Kit) -> dict[str, float]:
    rate, peak = _replay(kit, True)
    plain, plain_peak = _replay(kit, False)
    return {
        "replay": rate, "replay_plain": plain, "replay_peak": peak, "replay_plain_peak": plain_peak,
    }  # fmt: skip


def _twice(rate: float, peak: float) -> dict[str, float]:
    """A peer has one way to replay, which both of ours are held against."""
    return {"replay": rate, "replay_plain": rate, "replay_peak": peak, "replay_plain_peak": peak}


def _peer(kit: Kit) -> dict[str, float]:
    return _twice(*_replay(kit, True))


def replay_kernel(
    python: Path, prepared: Prepared, payments: int, directory: Path
) -> dict[str, float]:
    """The same by the library, in the environment of `python`."""
    lay_peer_blocks(prepared, directory / "blocks")
    command = [str(python), str(KERNEL_SCRIPT), str(directory), str(prepared.height)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"the library failed: {done.stderr[-500:]}")
    figures = json.loads(done.stdout.splitlines()[-1])
    return _twice(payments / figures["seconds"], figures["peak_mib"])


REPLAY = Benchmark(
    "replay",
    (
        Quantity(
            "replay", "replay from disk, all indexes", "tx/s", True, {KERNEL: 1.0},
        ),
        Quantity(
            "replay_plain", "replay from disk, --no-index", "tx/s", True, {KERNEL: 1.25},
        ),
        Quantity("replay_peak", "peak memory, all indexes", "MiB", limit=250),
        Quantity("replay_plain_peak", "peak memory, --no-index", "MiB", limit=250),
    ),
    {OURS: _ours, PEER: _peer},
)  # fmt: skip
