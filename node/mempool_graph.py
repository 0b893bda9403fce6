"""Who spends whom in the mempool, and every order and index that is kept of it.

A plain data structure: it decides nothing. Parents always enter before their children, and leave
either first (confirmed) or together with all their descendants.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from operator import attrgetter

from consensus.hashes import LockHash, Txid, Wtxid
from consensus.tx import BURN_LOCK, Coin, Height, OutPoint
from consensus.tx_rules import is_delayed
from node.mempool_entry import Entry, ancestors_of, with_descendants
from node.mempool_locks import ByLock
from node.ranking import Ranking

_STALE_MAX = 1_000
"""How many outdated records of worth are held beside twice the live ones."""
_Worth = tuple[int, int, int, Entry]
_sequence = attrgetter("sequence")


class Graph:
    """The entries with their links, sums, and indexes."""

    def __init__(self) -> None:
        self.entries: dict[Txid, Entry] = {}
        """In the order of arrival, so parents come before their children."""
        self.by_wtxid: dict[Wtxid, Entry] = {}
        self.by_expiry: dict[int, set[Entry]] = {}
        self.contextual: set[Entry] = set()
        self.size_bytes = 0
        self.cost = 0
        self.fees = 0
        self.version = 0
        """Another number whenever anything changed."""
        self._spenders: dict[OutPoint, Entry] = {}
        self._by_lock = ByLock()
        self._sequence = 0
        self.ranking = Ranking()
        """Best for a miner first."""
        self._worth: list[_Worth] | None = None
        """A heap, kept from the first time on that something had to be dropped."""
        self._weighings = 0

    def __len__(self) -> int:
        return len(self.entries)

    def spender(self, spent: OutPoint) -> Entry | None:
        return self._spenders.get(spent)

    def spenders(self, outpoints: Iterable[OutPoint]) -> list[Entry]:
        """Everyone who spends one of `outpoints`, without repetition, in a fixed order."""
        get = self._spenders.get
        found = [entry for spent in outpoints if (entry := get(spent)) is not None]
        return list(dict.fromkeys(found)) if found else found

    def touching(self, lock: LockHash) -> list[Entry]:
        """Everyone who pays to `lock` or spends from it, in order of arrival."""
        return sorted(self._by_lock.of(lock), key=_sequence)

    def coin(self, spent: OutPoint, height: int) -> Coin | None:
        """The coin that an entry makes, as if it were mined at `height`. Spent or not."""
        entry = self.entries.get(Txid(spent[:32]))
        index = int.from_bytes(spent[32:], "big")
        if entry is None or index >= len(entry.tx.body.outputs):
            return None
        output = entry.tx.body.outputs[index]
        if output.lock == BURN_LOCK:
            return None
        delayed = is_delayed(entry.tx.body, height)
        return Coin(output.asset, output.amount, output.lock, Height(height), delayed)

    def add(self, entry: Entry) -> None:
        """Put in `entry`, whose parents are in and whose children are not."""
        assert not entry.is_in
        tx = entry.tx
        self._sequence += 1
        entry.sequence = self._sequence
        entry.is_in = True
        self.entries[tx.txid] = entry
        self.by_wtxid[tx.wtxid] = entry
        for spent in tx.body.inputs:
            assert spent not in self._spenders
            self._spenders[spent] = entry
        self._by_lock.add(entry)
        if tx.body.expiry:
            self.by_expiry.setdefault(tx.body.expiry, set()).add(entry)
        if entry.contextual:
            self.contextual.add(entry)
        self.size_bytes += entry.size_bytes
        self.cost += entry.cost
        self.fees += entry.fee
        for parent in entry.parents:
            assert parent.is_in
            parent.children += (entry,)
        if entry.parents:
            for ancestor in ancestors_of(entry.parents):
                ancestor.descendant_count += 1
                ancestor.descendant_cost += entry.cost
                ancestor.descendant_fee += entry.fee
                self._weigh(ancestor)
        entry.rank = (-entry.mining_score, entry.sequence)
        self._weigh(entry)
        self.ranking.add(entry)
        self.version += 1

    def confirm(self, entry: Entry) -> None:
        """Take out `entry`, which was mined; its children now spend a confirmed coin.

        `ranking` shows it until `settle`: for a block at once that takes a tenth of the time.
        """
        assert not entry.parents, "a block holds parents before their children"
        self._forget(entry)
        self._by_lock.remove_later(entry)
        if not entry.children:
            return
        for child in entry.children:
            child.parents = tuple(parent for parent in child.parents if parent is not entry)
        for descendant in with_descendants(entry.children):
            self.ranking.remove(descendant)
            descendant.ancestor_count -= 1
            descendant.ancestor_cost -= entry.cost
            descendant.ancestor_fee -= entry.fee
            descendant.rank = (-descendant.mining_score, descendant.sequence)
            self.ranking.add(descendant)
        entry.children = ()

    def tidy(self, count: int) -> bool:
        """Do some of what was left undone of entries that were confirmed; whether more is left."""
        return self._by_lock.tidy(count)

    def settle(self) -> None:
        """Every entry of a block was confirmed."""
        self.ranking.drop(lambda entry: not entry.is_in)

    def remove(self, roots: Iterable[Entry]) -> list[Entry]:
        """Take out `roots` with all their descendants; returns them, parents first."""
        gone = with_descendants(roots)
        for entry in gone:
            outside = ancestors_of(entry.parents) - gone if entry.parents else ()
            for ancestor in outside:
                ancestor.descendant_count -= 1
                ancestor.descendant_cost -= entry.cost
                ancestor.descendant_fee -= entry.fee
                self._weigh(ancestor)
        for entry in gone:
            for parent in entry.parents:
                if parent not in gone:
                    parent.children = tuple(c for c in parent.children if c is not entry)
            self._forget(entry)
            self._by_lock.remove(entry)
            self.ranking.remove(entry)
        for entry in gone:  # they refer to each other, and would wait for the cycle collector
            entry.parents = entry.children = ()
        return sorted(gone, key=_sequence)

    def _forget(self, entry: Entry) -> None:
        assert entry.is_in
        tx = entry.tx
        entry.is_in = False
        del self.entries[tx.txid]
        del self.by_wtxid[tx.wtxid]
        body = tx.body
        for spent in body.inputs:
            del self._spenders[spent]
        if body.expiry:
            ending = self.by_expiry[body.expiry]
            ending.discard(entry)
            if not ending:
                del self.by_expiry[body.expiry]
        if entry.contextual:
            self.contextual.remove(entry)
        self.size_bytes -= entry.size_bytes
        self.cost -= entry.cost
        self.fees -= entry.fee
        self.version += 1

    def _weigh(self, entry: Entry) -> None:
        """Write down anew what the mempool would lose by dropping `entry`."""
        if self._worth is None:
            return
        self._weighings += 1
        record = (entry.keeping_score, -entry.sequence, self._weighings, entry)
        heapq.heappush(self._worth, record)
        if len(self._worth) > 2 * len(self.entries) + _STALE_MAX:
            self._worth = self._weigh_all()

    def _weigh_all(self) -> list[_Worth]:
        records = [(e.keeping_score, -e.sequence, 0, e) for e in self.entries.values()]
        heapq.heapify(records)
        return records

    def least_worth(self) -> Entry:
        """The entry to drop first, with its descendants; of equal ones the youngest."""
        if self._worth is None:
            self._worth = self._weigh_all()
        while True:
            worth, _, _, entry = self._worth[0]
            if entry.is_in and worth == entry.keeping_score:
                return entry
            heapq.heappop(self._worth)
