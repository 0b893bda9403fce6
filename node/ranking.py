"""The waiting transactions in the order in which a miner wants them.

A sorted list in pieces: coming and going moves a piece at most, and a template reads from the front
without touching the rest.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator
from itertools import chain
from operator import attrgetter

from node.mempool_entry import Entry, Rank

PIECE_MAX = 1_000
_rank = attrgetter("rank")


class Ranking:
    """Entries by `rank`, the lowest first. Ranks are unique, and stay while an entry is here."""

    def __init__(self) -> None:
        self._pieces: list[list[Entry]] = []
        self._lasts: list[Rank] = []
        """The last rank of each piece."""

    def __iter__(self) -> Iterator[Entry]:
        return chain.from_iterable(self._pieces)

    def __len__(self) -> int:
        return sum(map(len, self._pieces))

    def add(self, entry: Entry) -> None:
        if not self._pieces:
            self._pieces.append([entry])
            self._lasts.append(entry.rank)
            return
        at = min(bisect_right(self._lasts, entry.rank), len(self._pieces) - 1)
        piece = self._pieces[at]
        insort(piece, entry, key=_rank)
        self._lasts[at] = piece[-1].rank
        if len(piece) > PIECE_MAX:
            half = len(piece) // 2
            self._pieces.insert(at + 1, piece[half:])
            self._lasts.insert(at, piece[half - 1].rank)
            del piece[half:]

    def remove(self, entry: Entry) -> None:
        at = bisect_left(self._lasts, entry.rank)
        piece = self._pieces[at]
        place = bisect_left(piece, entry.rank, key=_rank)
        assert piece[place] is entry
        del piece[place]
        if piece:
            self._lasts[at] = piece[-1].rank
        else:
            del self._pieces[at], self._lasts[at]

    def drop(self, is_gone: Callable[[Entry], bool]) -> None:
        """Remove many at once."""
        kept = ([e for e in piece if not is_gone(e)] for piece in self._pieces)
        self._pieces = [piece for piece in kept if piece]
        self._lasts = [piece[-1].rank for piece in self._pieces]
