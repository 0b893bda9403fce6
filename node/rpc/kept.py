"""Answers, or parts of them, that do not change, kept for whoever asks again."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Kept(Generic[K, V]):
    """Values by key up to a size altogether; the one that was not used for longest goes first."""

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._size = 0
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def get(self, key: K) -> V | None:
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
        return found[0]

    def add(self, key: K, value: V, size: int) -> None:
        """Keep `value`, unless it is there or larger than all that may be kept."""
        if key in self._kept or size > self._size_max:
            return
        self._kept[key] = value, size
        self._size += size
        while self._size > self._size_max:
            _, (_, freed) = self._kept.popitem(last=False)
            self._size -= freed
