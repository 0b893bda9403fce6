"""What a target is: a function that takes any bytes and fails if the code breaks one of its promises.

A target that returns has found nothing. It raises `Broken`, or lets an error through that nobody
declared; both mean a bug. Targets know nothing of atheris, so that the suite can replay inputs
without it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
CORPORA = ROOT / "tests" / "corpora"
INPUT_SECONDS_MAX = 5
"""Computing time of one input. The slowest honest ones take some ten milliseconds."""
MEMORY_MB_MAX = 1_024
"""Of the whole process that fuzzes."""
LIMITS = (f"-timeout={4 * INPUT_SECONDS_MAX}", f"-rss_limit_mb={MEMORY_MB_MAX}")
"""The same, as libFuzzer takes them; it counts the time that others have the processor too."""

Mutator = Callable[[bytes, random.Random], bytes | None]
"""Another input, or None if the bytes mean nothing that could be changed."""


class Broken(AssertionError):
    """A promise that does not hold; the text says which."""


def need(holds: bool, promise: str) -> None:
    """Raises: Broken."""
    if not holds:
        raise Broken(promise)


class Target(NamedTuple):
    """A row of the table of targets."""

    name: str
    what: str
    """What is fed and what must hold, in one line."""
    run: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
    """Inputs to begin with."""
    bytes_max: int = 4_096
    """Longest input that the fuzzer makes up."""
    mutate: Mutator | None = None
    """Changes what an input means; None if its bytes are all there is."""

    @property
    def corpus(self) -> Path:
        return CORPORA / self.name

    def inputs(self) -> Iterator[Path]:
        """The inputs that are kept."""
        if not self.corpus.is_dir():
            return iter(())
        return iter(sorted(path for path in self.corpus.iterdir() if path.is_file()))


def replay(target: Target, data: bytes) -> None:
    """Give a target one input. Raises: Broken, if it took too long too; and what the target lets
    through."""
    began = time.process_time()
    target.run(data)
    took = time.process_time() - began
    need(took <= INPUT_SECONDS_MAX, f"an input of {len(data)} bytes took {took:.1f} s")
