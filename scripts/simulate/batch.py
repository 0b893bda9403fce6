"""Many seeds, on every core, and what they contained together."""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from functools import cache
from pathlib import Path
from typing import NamedTuple

from scripts.simulate.past import past
from scripts.simulate.world import World

NEEDED = (
    "reorganisation of 2 or more",
    "reorganisation in a partition",
    "issuance undone",
    "crash in recovery",
    "torn batch",
    "torn file",
    "ban",
    "eviction",
    "rewind",
    "asked by a client",
)
"""What every batch of some size has to contain, else it proves little."""
NEEDED_FROM = 200
"""The size from which it has to."""
FAILED = Path(__file__).with_name("failed_seeds.txt")
AHEAD = 2
"""Seeds handed to a process beforehand."""


class Outcome(NamedTuple):
    """What one seed came to, without its story."""

    seed: int
    failures: tuple[str, ...]
    counts: Counter[str]
    digest: str
    seconds: float


@cache
def _settle() -> None:
    """Make what every world begins with, and have no later collection of garbage go through it."""
    past()
    gc.collect()
    gc.freeze()


def play(seed: int) -> Outcome:
    """Play one seed, in whatever process this is."""
    _settle()
    began = time.monotonic()
    world = World(seed)
    try:
        result = world.play()
    finally:
        world.close()
    return Outcome(
        seed, result.failures, result.counts, result.digest, time.monotonic() - began
    )  # fmt: skip


def play_all(seeds: Iterable[int], processes: int, deadline: float | None) -> Iterator[Outcome]:
    """Outcomes as they come; no seed is begun after `deadline`, of the monotonic clock."""
    waiting: set[Future[Outcome]] = set()
    left = iter(seeds)
    with ProcessPoolExecutor(processes) as pool:
        is_over = False
        while True:
            while not is_over and len(waiting) < processes * AHEAD:
                seed = next(left, None)
                late = deadline is not None and time.monotonic() > deadline
                if seed is None or late:
                    is_over = True
                else:
                    waiting.add(pool.submit(play, seed))
            if not waiting:
                return
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()


def missing(counts: Counter[str], seeds: int) -> list[str]:
    """What a batch should have contained and did not."""
    return [name for name in NEEDED if not counts[name]] if seeds >= NEEDED_FROM else []


def failed_seeds() -> list[int]:
    """Every seed that ever failed: the numbers at the beginning of the lines of the file."""
    lines = FAILED.read_text().splitlines() if FAILED.exists() else []
    return [int(line.split()[0]) for line in lines if line and not line.startswith("#")]
