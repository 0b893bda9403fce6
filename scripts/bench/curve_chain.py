"""A chain for growth curves: a coin set of a wanted size, then blocks of a wanted size."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from consensus.block import Block
from consensus.tx import NATIVE, TxOut
from scripts.bench.workload import FEE, Owned, Paid, Workload

SHARED_OUT = 400
"""Outputs of a transaction that makes many coins of one."""
SHARED_PER_BLOCK = 40


class GrowthWorkload(Workload):
    """First `coins` coins, then a block for each of `sizes`, of so many payments.

    The coins that are spent are drawn from the whole set.
    """

    def __init__(self, coins: int, sizes: Sequence[int]) -> None:
        super().__init__(0)
        self._wanted = coins
        self._sizes = sizes

    def blocks(self) -> Iterator[Block]:
        yield from self._ripen()
        while len(self._coins) < self._wanted:
            missing = -(-(self._wanted - len(self._coins)) // SHARED_OUT)
            count = min(SHARED_PER_BLOCK, missing, len(self._coins))
            yield self._append([self._share_out() for _ in range(count)])
        mixed: list[Owned] = list(self._coins)
        self._random.shuffle(mixed)
        self._coins = deque(mixed)
        for size in self._sizes:
            yield self._append([self._pay() for _ in range(size)])

    def _share_out(self) -> Paid:
        owned = self._coins.popleft()
        owners = self._random.choices(self._people, k=SHARED_OUT)
        amount = (owned[1].amount - 100 * FEE) // SHARED_OUT
        outputs = tuple(TxOut(NATIVE, amount, owner.lock) for owner in owners)
        return self._sign(owned, outputs), owners
