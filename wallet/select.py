"""Which coins to spend: one asset at a time, deterministic but for the randomness passed in.

First a set that needs no change (branch and bound), then the smallest single coin that is enough,
then the fewest coins.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

TRIES_MAX = 20_000
"""Steps of the search for an exact set; about 10 ms."""


def select(values: Sequence[int], target: int, excess: int, rng: random.Random) -> list[int] | None:
    """Positions of `values` that add up to `target` or more; None if all together do not.

    `values` are what the coins are worth less what spending them costs; those worth nothing are
    never chosen. A sum up to `target + excess` is taken as exact: making change of so little would
    cost more than giving it away. `target` 0 or less needs no coin.
    """
    if target <= 0:
        return []
    # Shuffled before the sort, which is stable: among equal coins none is preferred.
    order = [position for position, value in enumerate(values) if value > 0]
    rng.shuffle(order)
    order.sort(key=lambda position: -values[position])
    sizes = [values[position] for position in order]
    if sum(sizes) < target:
        return None
    chosen = _exact(sizes, target, excess) or _single(sizes, target) or _fewest(sizes, target)
    return [order[position] for position in chosen]


def _exact(sizes: Sequence[int], target: int, excess: int) -> list[int] | None:
    """The positions of the set nearest above `target` within `excess`, found by depth-first search.

    `sizes` fall. Each step takes the next coin or, having failed with it, leaves it out; a branch
    ends when it is over, or when all that remains would not be enough.
    """
    rest = [0] * (len(sizes) + 1)
    for position in range(len(sizes) - 1, -1, -1):
        rest[position] = rest[position + 1] + sizes[position]
    best: list[int] | None = None
    best_sum = target + excess + 1
    taken: list[int] = []
    total = 0
    position = 0
    for _ in range(TRIES_MAX):
        if target <= total < best_sum:
            best, best_sum = list(taken), total
            if total == target:
                break
        if total >= target or total + rest[position] < target:
            if not taken:
                break
            position = taken.pop()
            total -= sizes[position]
            position += 1
            # Leaving out one coin leaves out its equals: they would lead to the same sums.
            while position < len(sizes) and sizes[position] == sizes[position - 1]:
                position += 1
            continue
        if position == len(sizes):
            break
        taken.append(position)
        total += sizes[position]
        position += 1
    return best


def _single(sizes: Sequence[int], target: int) -> list[int] | None:
    enough = [position for position, size in enumerate(sizes) if size >= target]
    return enough[-1:] or None


def _fewest(sizes: Sequence[int], target: int) -> list[int]:
    total = 0
    for position, size in enumerate(sizes):
        total += size
        if total >= target:
            return list(range(position + 1))
    raise AssertionError("the caller saw that all together are enough")
