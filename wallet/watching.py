"""What changed between two looks at the payments to some addresses.

A look is a `Snapshot`; where it comes from is the business of a `Source`. `Watcher` compares it with the
one before and is pure, so a reorganisation is told like everything else: what was confirmed is reversed.

Source: docs/payments.md, "Watching live".
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from consensus.hashes import AssetId, Txid
from wallet.answers import ChainInfo, Node, ask
from wallet.scan import Incoming, Say, joined, mined_for, waiting_for


class Happening(enum.StrEnum):
    """What became of a payment."""

    SEEN = "seen"
    """It is in the mempool."""
    CONFIRMED = "confirmed"
    """It is in a block, or at another height than before."""
    REVERSED = "reversed"
    """Its block is none of the best chain any more; it waits again."""
    GONE = "gone"
    """The node knows it no more: replaced, evicted, expired or reorganised away."""


class Change(msgspec.Struct, frozen=True):
    """One thing that happened."""

    what: Happening
    payment: Incoming


class Snapshot(msgspec.Struct, frozen=True):
    """The payments to the addresses at one tip."""

    height: int
    block_hash: str
    payments: Sequence[Incoming]


class Source(Protocol):
    """Where snapshots come from: polling now; a log of events can take its place."""

    async def snapshot(self, node: Node) -> Snapshot:
        """Raises: NodeError."""
        ...


class Poll:
    """Asks the address index: for the mempool each time, for the blocks when the tip has changed."""

    def __init__(self, addresses: Sequence[str], say: Say) -> None:
        self._addresses = addresses
        self._say = say
        self._tip = ""
        self._mined: list[Incoming] = []

    async def snapshot(self, node: Node) -> Snapshot:
        # The mempool first: what is mined between the questions is in both answers, not in neither.
        waiting = await waiting_for(node, self._addresses)
        info = await ask(node, ChainInfo, "getblockchaininfo")
        mined = self._mined
        if info.bestblockhash != self._tip:
            found = await mined_for(node, self._addresses, self._say)
            # What came after the tip that was named is left for the next look, with the next tip.
            mined = [payment for payment in found if (payment.height or 0) <= info.blocks]
            after = await ask(node, ChainInfo, "getblockchaininfo")
            if after.bestblockhash == info.bestblockhash:  # else it may be of another branch
                self._tip, self._mined = info.bestblockhash, mined
        return Snapshot(info.blocks, info.bestblockhash, joined(waiting, mined))


_Key = tuple[Txid, str, AssetId]


class Watcher:
    """Turns snapshots into changes."""

    def __init__(self, since: int) -> None:
        """Payments in blocks up to `since` are taken as told."""
        self._since = since
        self._known: dict[_Key, Incoming] | None = None

    def look(self, now: Snapshot) -> list[Change]:
        """What happened since the last look; first what is undone, then as it was mined."""
        found = {(p.txid, p.address, p.asset): p for p in now.payments}
        if self._known is None:
            self._known = {
                key: p
                for key, p in found.items()
                if p.height is not None and p.height <= self._since
            }
        changes = [*_undone(self._known, found), *_done(self._known, found)]
        self._known = found
        return changes


def _undone(old: Mapping[_Key, Incoming], new: Mapping[_Key, Incoming]) -> list[Change]:
    changes = []
    for key, payment in old.items():
        current = new.get(key)
        if current is None:
            changes.append(Change(Happening.GONE, payment))
        elif payment.height is not None and current.height is None:
            changes.append(Change(Happening.REVERSED, payment))
    return changes


def _done(old: Mapping[_Key, Incoming], new: Mapping[_Key, Incoming]) -> list[Change]:
    changes = []
    for key, payment in new.items():
        before = old.get(key)
        if payment.height is None:
            if before is None:
                changes.append(Change(Happening.SEEN, payment))
        elif before is None or before.height != payment.height:
            changes.append(Change(Happening.CONFIRMED, payment))
    # sorted() keeps the order of equals, so those that wait stay as the node has them.
    return sorted(changes, key=lambda c: 2**32 if c.payment.height is None else c.payment.height)
