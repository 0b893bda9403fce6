"""Transactions whose parents are not known here, kept for a while.

Source: docs/p2p.md, "inv, gettxs, txs".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec

from consensus.hashes import Txid, Wtxid
from consensus.tx import Tx

ORPHANS_MAX = 100
ORPHAN_S = 1_200.0
TXID_BYTES = 32


class Orphan(msgspec.Struct, frozen=True):
    """A transaction that waits for a parent."""

    tx: Tx
    peer: int
    """Who sent it."""
    expires_at: float


class Orphanage:
    """At most `ORPHANS_MAX` of them; where more come, those who sent most lose first."""

    def __init__(self) -> None:
        self._orphans: dict[Wtxid, Orphan] = {}
        self._by_parent: dict[Txid, dict[Wtxid, None]] = {}

    def __contains__(self, wtxid: Wtxid) -> bool:
        return wtxid in self._orphans

    def __iter__(self) -> Iterator[Orphan]:
        return iter(tuple(self._orphans.values()))

    def __len__(self) -> int:
        return len(self._orphans)

    def add(self, tx: Tx, peer: int, now: float) -> None:
        if tx.wtxid in self._orphans:
            return
        if len(self._orphans) >= ORPHANS_MAX:
            self._evict()
        self._orphans[tx.wtxid] = Orphan(tx, peer, now + ORPHAN_S)
        for parent in _parents(tx):
            self._by_parent.setdefault(parent, {})[tx.wtxid] = None

    def _evict(self) -> None:
        """Drop the oldest orphan of whoever sent most of them."""
        counts = Counter(orphan.peer for orphan in self._orphans.values())
        worst = max(counts, key=lambda peer: counts[peer])
        self.remove(next(w for w, orphan in self._orphans.items() if orphan.peer == worst))

    def remove(self, wtxid: Wtxid) -> None:
        orphan = self._orphans.pop(wtxid, None)
        if orphan is None:
            return
        for parent in _parents(orphan.tx):
            waiting = self._by_parent[parent]
            del waiting[wtxid]
            if not waiting:
                del self._by_parent[parent]

    def children_of(self, txid: Txid) -> list[Orphan]:
        return [self._orphans[wtxid] for wtxid in self._by_parent.get(txid, ())]

    def expire(self, now: float) -> None:
        for wtxid in [w for w, orphan in self._orphans.items() if now >= orphan.expires_at]:
            self.remove(wtxid)


def _parents(tx: Tx) -> set[Txid]:
    return {Txid(spent[:TXID_BYTES]) for spent in tx.body.inputs}
