"""Which waiting transactions to mine: those that pay best per cost, parents counted in.

Greedy by packages: a transaction is taken together with the unconfirmed ancestors that it needs, and
ranked by what they all pay. Taking a package makes the rest of its family cheaper to take, so these
are ranked anew.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence

from consensus.hashes import AssetId
from consensus.params import AMOUNT_MAX
from consensus.tx import Reissue
from consensus.tx_rules import COST_PER_SIGCHECK
from node.mempool_entry import Entry, Rank, ancestors_of, score, with_descendants

MISSES_MAX = 500
"""Packages in a row that may not fit before the block counts as full."""


class Selection:
    """One choice, in the making. `chosen` holds parents before children."""

    def __init__(
        self, ranked: Iterable[Entry], cost_max: int, supply: Callable[[AssetId], int]
    ) -> None:
        """`ranked`: every entry, best first. `supply`: of an asset before the block."""
        self.chosen: list[Entry] = []
        self.room = cost_max
        """Cost that is left."""
        self._ranked = ranked
        self._read_supply = supply
        self._supplies: dict[AssetId, int] = {}
        self._settled: set[Entry] = set()
        """Taken, given up, or ranked anew: not to be looked at in `ranked` any more."""
        self._taken: set[Entry] = set()
        self._left: dict[Entry, tuple[int, int]] = {}
        """Fee and cost of those that lost an ancestor to the block, with what is left of them."""
        self._renewed: list[tuple[Rank, Entry]] = []
        self._misses = 0

    def run(self) -> None:
        """Choose until nothing fits any more."""
        for entry in self._ranked:
            while self._renewed and self._renewed[0][0] < entry.rank:
                self._take_renewed()
            if self._is_full():
                return
            if entry.is_alone:  # nearly all are, and then there is nothing to keep book of
                if entry.cost <= self.room:
                    self.chosen.append(entry)
                    self.room -= entry.cost
                    self._misses = 0
                else:
                    self._misses += 1
            elif entry not in self._settled:
                self._take(entry)
        while self._renewed and not self._is_full():
            self._take_renewed()

    def _is_full(self) -> bool:
        return self.room < COST_PER_SIGCHECK or self._misses > MISSES_MAX

    def _take_renewed(self) -> None:
        rank, entry = heapq.heappop(self._renewed)
        if not self._is_stale(rank, entry):
            self._take(entry)

    def _is_stale(self, rank: Rank, entry: Entry) -> bool:
        return entry in self._taken or rank != self._rank(entry)

    def _rank(self, entry: Entry) -> Rank:
        fee, cost = self._left[entry]
        return -min(score(entry.fee, entry.cost), score(fee, cost)), entry.sequence

    def _take(self, entry: Entry) -> None:
        """Take `entry` with what it needs, if that fits."""
        self._settled.add(entry)
        if entry.ancestor_count == 1:
            package = [entry]
        else:
            needed = ancestors_of(entry.parents) - self._taken
            package = sorted(needed, key=lambda other: other.sequence)
            package.append(entry)
        cost = sum(other.cost for other in package)
        if cost > self.room or not self._supplies_fit(package):
            self._misses += 1
            return
        self._misses = 0
        self.room -= cost
        for taken in package:
            self.chosen.append(taken)
            self._taken.add(taken)
            self._settled.add(taken)
        for taken in package:
            if taken.children:
                self._renew_descendants(taken)

    def _renew_descendants(self, taken: Entry) -> None:
        for entry in with_descendants(taken.children) - self._taken:
            fee, cost = self._left.get(entry, (entry.ancestor_fee, entry.ancestor_cost))
            self._left[entry] = fee - taken.fee, cost - taken.cost
            self._settled.add(entry)
            heapq.heappush(self._renewed, (self._rank(entry), entry))

    def _supplies_fit(self, package: Sequence[Entry]) -> bool:
        """Whether no asset gets more than can be counted. Each entry was seen to fit after its
        ancestors; here it comes after everything that is in the block."""
        if not any(entry.supplies for entry in package):
            return True
        supplies = dict(self._supplies)
        for entry in package:
            for asset in entry.supplies:
                supplies.setdefault(asset, self._read_supply(asset))
            for issuance in entry.tx.body.issuances:
                if isinstance(issuance, Reissue):
                    asset = AssetId(issuance.asset)
                    if supplies[asset] + issuance.amount > AMOUNT_MAX:
                        return False
            for asset, change in entry.supplies.items():
                supplies[asset] += change
        self._supplies = supplies
        return True
