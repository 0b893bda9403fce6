"""Who is told of what: new blocks, and script hashes whose status changed.

Events of the ledger are gone through in slices: they name locks, and those somebody watches are marked. A
moment later the marked ones get a new status, however many events there were, and whoever watches one that
differs is told. So a payment costs a look-up for each of its locks, and nothing for the other watched ones.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

from consensus.errors import StorageError
from consensus.hashes import LockHash, Txid, to_text
from consensus.header_tree import HeaderNode
from consensus.tx import outpoint
from node.electrum.history import Prefix, Status, status_of
from node.electrum.limits import (
    COALESCE_S,
    EVENT_BYTES_MAX,
    HISTORY_MAX,
    OUTPUTS_PER_TURN,
    PAUSE_PER_ENTRY_S,
    SUBSCRIPTIONS_MAX,
    SUBSCRIPTIONS_TOTAL_MAX,
)
from node.electrum.scripts import LockIndex
from node.events import (
    BlockConnected,
    BlockDisconnected,
    EventBus,
    TipChanged,
    TxAdded,
    TxRemoved,
)
from node.ledger import Ledger
from node.mempool_entry import Entry
from node.rpc.errors import Code, RpcError
from node.rpc.json import Json, encode
from node.rpc.params import ScriptHash

_Event = TxAdded | TxRemoved | BlockConnected | BlockDisconnected | TipChanged
EVENTS_PER_TURN = 100
_EVENT_BYTES = 500
"""What an event takes beside the bytes of a transaction or a block."""
_NO_LIMIT = 1 << 62


class Subscriber(Protocol):
    """A client that wants to hear."""

    def tell(self, notice: bytes) -> None:
        """Send it a line. It may be gone already."""


class Watched:
    """A script hash, its status, and who watches it."""

    __slots__ = ("lock", "prefix", "scripthash", "status", "subscribers", "waiting")

    def __init__(self, scripthash: ScriptHash, lock: LockHash | None) -> None:
        self.scripthash = scripthash
        self.lock = lock
        """None while nothing was ever paid to it."""
        self.status: str | None = None
        self.prefix: Prefix | None = None
        self.subscribers: set[Subscriber] = set()
        self.waiting: tuple[Txid, ...] = ()
        """Transactions of the mempool that are in the status."""


def notice(method: str, *params: Json) -> bytes:
    return encode({"jsonrpc": "2.0", "method": method, "params": params}) + b"\n"


def show_header(node: HeaderNode) -> dict[str, Json]:
    return {"hex": node.header.raw.hex(), "height": node.height}


class Watch:
    """Subscriptions, and the work of keeping them true."""

    def __init__(self, ledger: Ledger, index: LockIndex, bus: EventBus) -> None:
        self._ledger = ledger
        self._index = index
        self._events: deque[_Event] = deque()
        self._event_bytes = 0
        self._wake = asyncio.Event()
        self._draining = asyncio.Lock()
        self._by_script: dict[ScriptHash, Watched] = {}
        self._by_lock: dict[LockHash, Watched] = {}
        self._by_txid: dict[Txid, set[Watched]] = {}
        self._marked: dict[Watched, None] = {}
        self._of: dict[Subscriber, set[Watched]] = {}
        self._for_headers: dict[Subscriber, HeaderNode] = {}
        """Who is told of new tips, and the last that each heard of."""
        self._is_busy = False
        """Whether news is being gathered or told."""
        self._in_doubt = False
        """Whether any status may have changed without being marked."""
        self._failure: StorageError | None = None
        self._ends: list[Callable[[], None]] = [
            bus.subscribe(TxAdded, self._on_event),
            bus.subscribe(TxRemoved, self._on_event),
            bus.subscribe(BlockConnected, self._on_event),
            bus.subscribe(BlockDisconnected, self._on_event),
            bus.subscribe(TipChanged, self._on_event),
        ]

    def close(self) -> None:
        """Hear no more of the ledger."""
        while self._ends:
            self._ends.pop()()

    @property
    def is_settled(self) -> bool:
        """Whether everything was told that happened until now."""
        return not (self._wake.is_set() or self._is_busy)

    @property
    def watched_count(self) -> int:
        """Script hashes that somebody watches."""
        return len(self._by_script)

    # Asking

    async def find(self, scripthash: ScriptHash) -> LockHash | None:
        """The lock of a script hash, if anything was ever paid to it. Raises: StorageError."""
        found = self._index.lock_of(scripthash)
        if found is None and self._events:
            await self.drain()
            found = self._index.lock_of(scripthash)
        return found

    async def subscribe(self, who: Subscriber, scripthash: ScriptHash) -> str | None:
        """Have `who` told when the status changes; returns it as it is now.

        Raises: RpcError (too many, or too long a history), StorageError.
        """
        await self.drain()
        own = self._of.get(who, ())
        watched = self._by_script.get(scripthash)
        if watched not in own and len(own) >= SUBSCRIPTIONS_MAX:
            raise RpcError(Code.TOO_LARGE, f"at most {SUBSCRIPTIONS_MAX} subscriptions")
        if watched is None:
            if len(self._by_script) >= SUBSCRIPTIONS_TOTAL_MAX:
                raise RpcError(Code.TOO_LARGE, "this server watches all that it can: try later")
            watched = Watched(scripthash, self._index.lock_of(scripthash))
            self._by_script[scripthash] = watched
            if watched.lock is not None:
                self._by_lock[watched.lock] = watched
        watched.subscribers.add(who)
        self._of.setdefault(who, set()).add(watched)
        if watched.prefix is None or watched in self._marked:
            try:
                await self._renew(watched, HISTORY_MAX, but=who)
            except BaseException:
                self.unsubscribe(who, scripthash)
                raise
        return watched.status

    def unsubscribe(self, who: Subscriber, scripthash: ScriptHash) -> bool:
        """Tell `who` no more; whether it was told before."""
        watched = self._by_script.get(scripthash)
        if watched is None or who not in watched.subscribers:
            return False
        self._part(who, watched)
        return True

    def _part(self, who: Subscriber, watched: Watched) -> None:
        watched.subscribers.remove(who)
        own = self._of[who]
        own.remove(watched)
        if not own:
            del self._of[who]
        if not watched.subscribers:
            self._register(watched, ())
            self._marked.pop(watched, None)
            del self._by_script[watched.scripthash]
            if watched.lock is not None:
                del self._by_lock[watched.lock]

    def subscribe_headers(self, who: Subscriber) -> HeaderNode:
        self._for_headers[who] = self._ledger.tip
        return self._ledger.tip

    def leave(self, who: Subscriber) -> None:
        """Forget a client."""
        self._for_headers.pop(who, None)
        for watched in tuple(self._of.get(who, ())):
            self._part(who, watched)

    # Events

    def _on_event(self, event: _Event) -> None:
        self._events.append(event)
        self._event_bytes += _size(event)
        self._wake.set()
        while self._event_bytes > EVENT_BYTES_MAX:
            # What steps aside for a reorganisation is not there to be marked, nor told when it is back.
            is_off = isinstance(self._events[0], BlockDisconnected)
            self._in_doubt = self._in_doubt or is_off or self._ledger.is_returning
            try:
                for _ in self._take_next():
                    pass
            except StorageError as error:  # `run` tells; nothing may be raised here
                self._failure = self._failure or error

    async def drain(self) -> None:
        """Go through all events, so that everything is marked that they change.

        Raises: StorageError.
        """
        async with self._draining:
            number = 0
            while self._events:
                await self._ledger.at_rest()
                for _ in self._take_next():
                    await asyncio.sleep(0)
                number += 1
                if number % EVENTS_PER_TURN == 0:
                    await asyncio.sleep(0)
            if self._failure is not None:
                raise self._failure
            if self._in_doubt and not self._ledger.is_returning:
                self._in_doubt = False
                self._marked.update(dict.fromkeys(self._by_script.values()))

    def _take_next(self) -> Iterator[None]:
        """Go through an event, a step at a time."""
        event = self._events.popleft()
        self._event_bytes -= _size(event)
        match event:
            case TxAdded():
                self._take_added(event)
            case TxRemoved():
                for watched in self._by_txid.get(event.txid, ()):
                    self._mark(watched)
            case BlockConnected():
                yield from self._take_block(event)
                self._index.passed(event.node.hash)
            case BlockDisconnected():
                yield from self._take_block(event)
            case TipChanged():
                pass  # it wakes whoever tells of the new tip

    def _take_added(self, event: TxAdded) -> None:
        for output in event.tx.body.outputs:
            self._note(output.lock)
        entry = self._ledger.mempool.get(event.tx.txid)
        if entry is not None and self._by_lock:  # else gone again, and that is an event too
            self._mark_entry(entry)

    def _take_block(self, event: BlockConnected | BlockDisconnected) -> Iterator[None]:
        done, mempool = 0, self._ledger.mempool
        if self._by_lock:
            for coins in self._ledger.read_undo(event.node) or ():
                for coin in coins:
                    self._mark_lock(coin.lock)
                done += len(coins)
                if done >= OUTPUTS_PER_TURN:
                    done = 0
                    yield
        for tx in event.block.txs:
            for index, output in enumerate(tx.body.outputs):
                self._note(output.lock)
                if self._by_txid:  # who spends it now has a parent more or less
                    entry = mempool.spender(outpoint(tx.txid, index))
                    if entry is not None:
                        self._mark_entry(entry)
            done += len(tx.body.outputs)
            if done >= OUTPUTS_PER_TURN:
                done = 0
                yield

    def _note(self, lock: LockHash) -> None:
        """Something is paid to `lock`, perhaps for the first time."""
        watched = self._by_lock.get(lock)
        if watched is None:
            watched = self._by_script.get(self._index.add(lock))
            if watched is None:
                return
            watched.lock = lock
            self._by_lock[lock] = watched
        self._mark(watched)

    def _mark_entry(self, entry: Entry) -> None:
        for coin in entry.coins:
            self._mark_lock(coin.lock)
        for output in entry.tx.body.outputs:
            self._mark_lock(output.lock)

    def _mark_lock(self, lock: LockHash) -> None:
        watched = self._by_lock.get(lock)
        if watched is not None:
            self._mark(watched)

    def _mark(self, watched: Watched) -> None:
        self._marked[watched] = None
        self._wake.set()

    # Telling

    async def run(self) -> None:
        """Tell whoever watches, until cancelled. Raises: StorageError."""
        gone_through = 0
        while True:
            await self._wake.wait()
            self._is_busy = True
            self._wake.clear()
            await asyncio.sleep(COALESCE_S + gone_through * PAUSE_PER_ENTRY_S)
            await self.drain()
            await self._index.write_if_due()
            self._tell_tip()
            gone_through = await self._tell_marked()
            self._is_busy = False

    def _tell_tip(self) -> None:
        tip = self._ledger.tip
        line = notice("blockchain.headers.subscribe", show_header(tip))
        for who, told in tuple(self._for_headers.items()):
            if told is not tip:
                self._for_headers[who] = tip
                who.tell(line)

    async def _tell_marked(self) -> int:
        """Renew what is marked; returns how many waiting transactions were gone through."""
        await self._ledger.at_rest()
        gone_through = 0
        for watched in list(self._marked):
            if watched in self._marked:
                await self._renew(watched, _NO_LIMIT)
                gone_through += len(watched.waiting)
                await asyncio.sleep(0)
        return gone_through

    async def _renew(
        self, watched: Watched, limit: int, but: Subscriber | None = None
    ) -> None:  # fmt: skip
        """Find the status out again, and if it is another one tell who watches, `but` for one."""
        # First: what is marked from here on may not be in what is read.
        self._marked.pop(watched, None)
        if watched.lock is None:
            return
        found = await status_of(self._ledger, watched.lock, watched.prefix, limit)
        if self._by_script.get(watched.scripthash) is not watched:
            return  # nobody watches any more
        self._adopt(watched, found, but)

    def _adopt(self, watched: Watched, found: Status, but: Subscriber | None) -> None:
        watched.prefix = found.prefix
        self._register(watched, tuple(entry.tx.txid for entry in found.entries))
        if found.text == watched.status:
            return
        watched.status = found.text
        line = notice(
            "blockchain.scripthash.subscribe", to_text(watched.scripthash), watched.status
        )
        for who in watched.subscribers - {but}:
            who.tell(line)

    def _register(self, watched: Watched, waiting: tuple[Txid, ...]) -> None:
        """Have the mempool's events about `waiting`, and no others, mark it."""
        for txid in watched.waiting:
            users = self._by_txid.get(txid)
            if users is not None:
                users.discard(watched)
                if not users:
                    del self._by_txid[txid]
        watched.waiting = waiting
        for txid in waiting:
            self._by_txid.setdefault(txid, set()).add(watched)


def _size(event: _Event) -> int:
    match event:
        case TxAdded():
            return _EVENT_BYTES + len(event.tx.raw)
        case BlockConnected() | BlockDisconnected():
            return _EVENT_BYTES + len(event.block.raw)
        case _:
            return _EVENT_BYTES
