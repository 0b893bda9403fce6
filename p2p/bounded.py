"""What cannot grow without end, and what cannot happen without end."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class RecentSet(Generic[T]):
    """Holds the items added last, up to `size_max`; the oldest are forgotten."""

    def __init__(self, size_max: int) -> None:
        self._items: dict[T, None] = {}
        self._size_max = size_max

    def __contains__(self, item: T) -> bool:
        return item in self._items

    def __iter__(self) -> Iterator[T]:
        """Oldest first."""
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: T) -> None:
        self._items[item] = None
        if len(self._items) > self._size_max:
            del self._items[next(iter(self._items))]

    def discard(self, item: T) -> None:
        self._items.pop(item, None)

    def take(self, count: int) -> list[T]:
        """Remove and return up to `count` of the oldest."""
        taken = [item for item, _ in zip(self._items, range(count), strict=False)]
        for item in taken:
            del self._items[item]
        return taken


class TokenBucket:
    """Allows something so often in the long run, and `burst` times at once."""

    def __init__(self, per_second: float, burst: float, now: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left = burst
        self._seen = now

    def take(self, now: float) -> bool:
        """Whether it is allowed once more."""
        earned = (now - self._seen) * self._per_second
        self._left = min(self._left + earned, self._burst)
        self._seen = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
