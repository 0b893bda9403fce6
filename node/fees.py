"""What fee rate a transaction needs: to be let in, and to be mined in time.

Source: docs/protocol.md, "Policy".
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence

from consensus.params import BLOCK_COST_MAX
from node.policy import rate_of

BLOCKS_REMEMBERED = 240
"""Two hours at the usual interval."""
TARGET_BLOCKS_MAX = 120
FULL_PER_CENT = 90
"""A block that is at least this full had to leave something out."""
CONFIDENCE_PER_CENT = 90
"""Share of past moments at which the estimate would have been enough."""
LOW_SHARE = 20
"""The cheapest twentieth of a full block does not count: a miner may have own reasons for it."""


class Floor:
    """The fee rate below which nothing enters: zero, until the mempool overflows.

    It rises to what was dropped last and then halves again and again, the faster the emptier the
    mempool is. It holds until the next block, since only a block makes room.
    """

    def __init__(self, step: int, half_life_s: int) -> None:
        self._step = step
        self._half_life_ms = half_life_s * 1_000
        self._rate = 0
        self._since = 0.0
        self._falls = False

    def raise_to(self, rate: int, now: float) -> None:
        """Something that paid `rate` was dropped; from now on one has to pay more."""
        self._rate = max(self._rate, rate + self._step)
        self._since = now
        self._falls = False

    def block_connected(self, now: float) -> None:
        if not self._falls:
            self._since = now
            self._falls = True

    def rate(self, now: float, used: int, size_max: int) -> int:
        """Base units per 1 000 cost; `used` of `size_max` bytes of memory are taken."""
        if not self._rate or not self._falls:
            return self._rate
        half_life = self._half_life_ms
        if used < size_max // 4:
            half_life //= 4
        elif used < size_max // 2:
            half_life //= 2
        elapsed = max(0, int((now - self._since) * 1_000))
        halvings, rest = divmod(elapsed, max(1, half_life))
        rate = self._rate >> min(halvings, 64)
        rate -= rate * rest // (2 * max(1, half_life))  # a straight line from one half to the next
        if rate < self._step // 2 or rate == 0:
            self._rate = 0
            return 0
        return rate


def _edges() -> tuple[int, ...]:
    edges, rate = [0], 100
    while rate < 10**11:
        edges.append(rate)
        rate += rate // 8 + 1
    return tuple(edges)


class RateHistogram:
    """How much cost waits at which fee rate, in steps of an eighth."""

    EDGES = _edges()

    def __init__(self) -> None:
        self._costs = [0] * len(self.EDGES)

    def add(self, fee: int, cost: int, sign: int = 1) -> None:
        """Count a transaction, or with `sign` −1 count it no longer."""
        self._costs[bisect_right(self.EDGES, rate_of(fee, cost)) - 1] += sign * cost

    def costs(self) -> list[tuple[int, int]]:
        """Each step's least rate, and the cost that waits there."""
        return list(zip(self.EDGES, self._costs, strict=True))

    def rate_at_depth(self, depth: int) -> int:
        """The rate that has less than `depth` cost waiting above it; 0 if all waits above."""
        above = 0
        for index in range(len(self.EDGES) - 1, 0, -1):
            above += self._costs[index]
            if above >= depth:
                return self.EDGES[min(index + 1, len(self.EDGES) - 1)]
        return 0


class FeeEstimator:
    """Answers with the rate that would have been enough in the recent past.

    For each past block it keeps the cheapest rate that got in: nothing special if the block had room
    left. A transaction is mined within `n` blocks if it pays the least of these over the next `n`
    blocks; the estimate is what would have done so nine times out of ten.
    """

    def __init__(self) -> None:
        self._marginal: deque[int] = deque(maxlen=BLOCKS_REMEMBERED)

    def block_connected(self, cost: int, paid: Sequence[tuple[int, int]]) -> None:
        """A block of `cost`, in which `paid` (fee, cost) are transactions that stood alone."""
        if cost * 100 < BLOCK_COST_MAX * FULL_PER_CENT:
            self._marginal.append(0)
        elif paid:
            rates = sorted(rate_of(fee, cost) for fee, cost in paid)
            self._marginal.append(rates[len(rates) // LOW_SHARE])

    def rate(self, target_blocks: int) -> int:
        """Base units per 1 000 cost; 0 if blocks had room, or if nothing is known."""
        span = max(1, min(target_blocks, TARGET_BLOCKS_MAX, len(self._marginal)))
        past = list(self._marginal)
        needed = sorted(min(past[i : i + span]) for i in range(len(past) - span + 1))
        if not past:
            return 0
        return needed[(len(needed) - 1) * CONFIDENCE_PER_CENT // 100]


def estimate(
    target_blocks: int, waiting: RateHistogram, past: FeeEstimator, least_rate: int
) -> int:
    """The rate to pay for being mined within `target_blocks`, from what waits and what was mined.

    Half of the room is counted: more will come while one waits.
    """
    target = max(1, min(target_blocks, TARGET_BLOCKS_MAX))
    depth = target * BLOCK_COST_MAX // 2
    return max(least_rate, waiting.rate_at_depth(depth), past.rate(target))
