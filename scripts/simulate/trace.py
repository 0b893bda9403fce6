"""What happened, in order: short for people, and as a hash over everything for machines."""

from __future__ import annotations

import hashlib
from typing import NamedTuple


class Entry(NamedTuple):
    """Something worth a line."""

    at: float
    who: str
    kind: str
    detail: str

    def __str__(self) -> str:
        return f"{self.at:9.2f}  {self.who:<6} {self.kind:<16} {self.detail}"


class Trace:
    """The story of one seed."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._hash = hashlib.sha256()

    def tell(self, at: float, who: str, kind: str, detail: str = "") -> None:
        entry = Entry(at, who, kind, detail)
        self.entries.append(entry)
        self._hash.update(repr(entry).encode())

    def note(self, at: float, source: str, target: str, frame: bytes | None) -> None:
        """A message arrived: part of the hash alone."""
        self._hash.update(f"{at!r} {source} {target} ".encode())
        self._hash.update(frame if frame is not None else b"-")

    def digest(self) -> str:
        """Equal for equal runs."""
        return self._hash.hexdigest()
