"""What cannot grow without end, and what cannot happen without end."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)
PAUSE_S_MAX = 10.0
"""Longest time for which a peer that took up too much of ours is not read from."""


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


class RecentCounts(Generic[T]):
    """How often each item was added; beyond `size_max` items the oldest is forgotten."""

    def __init__(self, size_max: int) -> None:
        self._counts: dict[T, int] = {}
        self._size_max = size_max

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, item: T) -> None:
        self._counts[item] = self._counts.get(item, 0) + 1
        if len(self._counts) > self._size_max:
            del self._counts[next(iter(self._counts))]

    def take(self, item: T) -> bool:
        """Take it away once; whether it was there."""
        count = self._counts.pop(item, 0)
        if count > 1:
            self._counts[item] = count - 1
        return count > 0


class TokenBucket:
    """Allows something so often in the long run, and `burst` times at once."""

    def __init__(self, per_second: float, burst: float, now: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left = burst
        self._seen = now

    def take(self, now: float, count: float = 1) -> bool:
        """Whether it is allowed once more, or `count` times."""
        earned = max(0.0, now - self._seen) * self._per_second  # a clock may be set back
        self._left = min(self._left + earned, self._burst)
        self._seen = now
        if self._left < count:
            return False
        self._left -= count
        return True


class WorkBudget:
    """Lets someone take up a share of our time in the long run, and `burst_s` at once."""

    def __init__(self, share: float, burst_s: float, now: float) -> None:
        self._share = share
        self._burst_s = burst_s
        self._left_s = burst_s
        self._seen = now

    def spend(self, spent_s: float, now: float) -> float:
        """`spent_s` were taken up, from `now` on. Returns how long the next has to wait."""
        earned = (now - self._seen) * self._share
        self._left_s = min(self._left_s + earned, self._burst_s) - spent_s
        self._seen = now
        if self._left_s >= 0:
            return 0.0
        return min(-self._left_s / self._share, PAUSE_S_MAX)
