"""What happens in the ledger, as values, and who is told.

The ledger changes in one place and then says so; relay, miner, waiting RPC calls and logs listen.
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Callable
from typing import TypeVar

import msgspec

from consensus.block import Block
from consensus.errors import Violation
from consensus.hashes import Txid, Wtxid
from consensus.header_tree import HeaderNode
from consensus.tx import Tx


class Removal(enum.StrEnum):
    """Why a transaction left the mempool."""

    CONFIRMED = "confirmed"
    REPLACED = "replaced"
    CONFLICT = "conflict"
    """A block spends one of its coins otherwise."""
    EXPIRED = "expired"
    """Its expiry height has passed, or it waited too long."""
    EVICTED = "evicted"
    """The mempool was full and it paid least."""
    UNMINABLE = "unminable"
    """After a reorganisation it is not valid any more, or something it spends went away."""


class TxAdded(msgspec.Struct, frozen=True):
    """A transaction entered the mempool."""

    tx: Tx


class TxRemoved(msgspec.Struct, frozen=True):
    """A transaction left the mempool."""

    txid: Txid
    wtxid: Wtxid
    reason: Removal
    by: Txid | None = None
    """What took its place or its coins, if that is why."""


class BlockConnected(msgspec.Struct, frozen=True):
    """A block became part of the best chain."""

    node: HeaderNode
    block: Block


class BlockDisconnected(msgspec.Struct, frozen=True):
    """A block is no longer part of the best chain."""

    node: HeaderNode
    block: Block


class TipChanged(msgspec.Struct, frozen=True):
    """The best chain ends in another block. Comes once, after all blocks of a reorganisation."""

    tip: HeaderNode
    previous: HeaderNode


class HeaderAdded(msgspec.Struct, frozen=True):
    """A header with more work than any other became known; its block may still be missing."""

    node: HeaderNode


class BlockStored(msgspec.Struct, frozen=True):
    """A block passed every rule that needs no context. It is not connected, and may be invalid."""

    node: HeaderNode
    block: Block


class BlockInvalid(msgspec.Struct, frozen=True):
    """A stored block broke a rule when it was to be connected."""

    node: HeaderNode
    violation: Violation


Event = (
    TxAdded
    | TxRemoved
    | BlockConnected
    | BlockDisconnected
    | TipChanged
    | HeaderAdded
    | BlockStored
    | BlockInvalid
)
Emit = Callable[[Event], None]
E = TypeVar("E", bound=Event)


class EventBus:
    """Calls every listener of an event's kind, in the order in which they subscribed."""

    def __init__(self) -> None:
        self._listeners: defaultdict[type, list[Callable[[Event], None]]] = defaultdict(list)

    def subscribe(self, kind: type[E], listener: Callable[[E], None]) -> Callable[[], None]:
        """Have `listener` called for each event of `kind`; call the result to end that."""

        def deliver(event: Event) -> None:
            assert isinstance(event, kind)
            listener(event)

        self._listeners[kind].append(deliver)
        return lambda: self._listeners[kind].remove(deliver)

    def emit(self, event: Event) -> None:
        """Tell the listeners. They must not raise and must not change the ledger."""
        for listener in tuple(self._listeners.get(type(event), ())):
            listener(event)
