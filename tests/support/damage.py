"""Ways in which a disk damages a file, and directories to try them on."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping
from pathlib import Path

SECTOR = 512


def flip(data: bytearray, rng: random.Random) -> None:
    """One bit."""
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def zero_sector(data: bytearray, rng: random.Random) -> None:
    """A sector that was never written."""
    at = rng.randrange(0, len(data), SECTOR)
    data[at : at + SECTOR] = bytes(len(data[at : at + SECTOR]))


def tear(data: bytearray, rng: random.Random) -> None:
    """The end is missing."""
    del data[rng.randrange(len(data)) :]


def garble(data: bytearray, rng: random.Random) -> None:
    """A sector of something else."""
    at = rng.randrange(0, len(data), SECTOR)
    data[at : at + SECTOR] = rng.randbytes(len(data[at : at + SECTOR]))


DAMAGES: Mapping[str, Callable[[bytearray, random.Random], None]] = {
    "flip": flip,
    "zero": zero_sector,
    "tear": tear,
    "garble": garble,
}


def damage(path: Path, kind: str, rng: random.Random) -> bool:
    """Damage a file; return whether it differs now."""
    before = path.read_bytes()
    data = bytearray(before)
    DAMAGES[kind](data, rng)
    path.write_bytes(data)
    return bytes(data) != before


def fingerprint(directory: Path) -> dict[str, tuple[str, int, int]]:
    """Every file below a directory: what is in it, its mode, and when it was changed."""
    found = {}
    for path in sorted(directory.rglob("*")):
        stat = path.stat()
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path.relative_to(directory))] = digest, stat.st_mode, stat.st_mtime_ns
    return found
