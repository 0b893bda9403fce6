"""Keeps the event log beside the ledger: by the ledger's own events, or from the blocks on the disk.

After a start, and whenever more waits to be written than has room, the log walks from its own last block
to the tip. Blocks that the ledger does not know any more, since a crash took them, are taken off by the
log's own rows; what waits in the mempool is compared as a whole. So nothing is missed, whoever lost what.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from itertools import groupby

from consensus.errors import StorageError
from consensus.hashes import LockHash
from node.connector import pause
from node.eventlog.desk import Desk, Refused
from node.eventlog.layout import REMEDY, Watch
from node.eventlog.log import GONE, WATCHED_MAX, EventLog
from node.events import (
    BlockConnected,
    BlockDisconnected,
    EventBus,
    Removal,
    TipChanged,
    TxAdded,
    TxRemoved,
)
from node.ledger import Ledger

log = logging.getLogger(__name__)
ROWS_MAX = 50_000
"""Rows waiting to be written beyond which the log lets the ledger go ahead: 20 MB."""
LOOKED_THROUGH = 20
"""Payments of the past read before others get a turn: about a millisecond."""


class _Step(enum.Enum):
    MOVED = enum.auto()
    ARRIVED = enum.auto()
    STUCK = enum.auto()


class Follower:
    """One event log and one ledger."""

    def __init__(self, event_log: EventLog, desk: Desk, ledger: Ledger) -> None:
        self._log = event_log
        self._desk = desk
        self._ledger = ledger
        self.is_beside = False
        """Whether the log stands where the ledger does, and hears of every change."""
        self._has_mempool = False
        """Whether what waited over the restart is back."""
        self._is_stuck = False
        """Whether it was told that the log waits for its block."""
        self._wake = asyncio.Event()
        self._failure: StorageError | None = None

    def listen(self, bus: EventBus) -> None:
        bus.subscribe(BlockConnected, self._on_connected)
        bus.subscribe(BlockDisconnected, self._on_disconnected)
        bus.subscribe(TxAdded, self._on_added)
        bus.subscribe(TxRemoved, self._on_removed)
        bus.subscribe(TipChanged, self._on_tip)

    def mempool_loaded(self) -> None:
        """What is told to wait and did not come back over the restart is gone."""
        self._has_mempool = True
        self._leave()

    # What the ledger says

    def _on_connected(self, event: BlockConnected) -> None:
        if self._may_go_on() and self._log.tip.hash == event.node.header.previous:
            self._log.connect(event.node, event.block)
        else:
            self._leave()

    def _on_disconnected(self, event: BlockDisconnected) -> None:
        try:
            if self._may_go_on() and self._log.tip.hash == event.node.hash:
                self._log.disconnect(event.node)
            else:
                self._leave()
        except StorageError as error:
            # Listeners must not raise: `run` does.
            self._failure = error
            self._leave()

    def _on_added(self, event: TxAdded) -> None:
        if self._may_go_on():
            self._log.tx_added(event.tx)

    def _on_removed(self, event: TxRemoved) -> None:
        # The block itself says what it confirms.
        if event.reason is not Removal.CONFIRMED and self._may_go_on():
            self._log.tx_removed(event.txid, event.reason.value, event.by)

    def _on_tip(self, _: TipChanged) -> None:
        if not self.is_beside:
            self._wake.set()

    def _may_go_on(self) -> bool:
        if self.is_beside and self._log.journal.waiting > ROWS_MAX:
            self._leave()
        return self.is_beside

    def _leave(self) -> None:
        self.is_beside = False
        self._wake.set()

    # Walking behind

    async def run(self) -> None:
        """Catch up whenever that is due, and look through the past, until cancelled.

        Raises: StorageError.
        """
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self.catch_up()
            while self.is_beside and self._log.scanning:
                self._look_back()
                await pause()
                await self._desk.has_room(ROWS_MAX // 2)

    async def catch_up(self) -> None:
        """Walk to the tip, unless there already. Raises: StorageError."""
        while not self.is_beside:
            if self._failure is not None:
                raise self._failure
            step = self._step()
            if step is _Step.STUCK:
                return  # the next tip may help
            if step is _Step.ARRIVED and not self._ledger.mempool.is_returning:
                self._compare_mempool()
                self.is_beside, self._is_stuck = True, False
                self._wake.set()
                return
            await pause()
            await self._desk.has_room(ROWS_MAX // 2)

    def _step(self) -> _Step:
        ledger, event_log = self._ledger, self._log
        if event_log.tip.hash == ledger.tip.hash:
            return _Step.ARRIVED
        node = ledger.tree.get(event_log.tip.hash)
        if node is not None and ledger.is_on_best_chain(node):
            following = ledger.tip.ancestor(node.height + 1)
            event_log.connect(following, ledger.chain.archive.read(following))
        elif not event_log.disconnect(node):
            self._wait_for_its_block()
            return _Step.STUCK
        return _Step.MOVED

    def _wait_for_its_block(self) -> None:
        """Neither side knows a way from the log's block: the ledger was made anew, and is behind."""
        place = self._log.tip
        if self._ledger.tip.height >= place.height:
            raise StorageError(
                f"the event log began at block {place.height}, {place.hash[::-1].hex()}, which is not "
                "in the chain of this node",
                REMEDY,
            )
        if not self._is_stuck:
            log.warning("the event log waits until the chain has its block %d again", place.height)
        self._is_stuck = True

    def _compare_mempool(self) -> None:
        if not self._has_mempool:
            return
        mempool = self._ledger.mempool
        for txid in [txid for txid in self._log.waiting if txid not in mempool]:
            self._log.tx_removed(txid, GONE)
        if self._log.watched:
            for entry in mempool.entries():
                self._log.tx_added(entry.tx)

    # Addresses

    def watch(self, lock: LockHash, label: str | None, since: int | None) -> Watch:
        """Watch an address from now on, or (`since`) from that height on. Raises: Refused."""
        event_log, ledger = self._log, self._ledger
        known = event_log.watched.get(lock)
        if known is None and len(event_log.watched) >= WATCHED_MAX:
            raise Refused(f"{WATCHED_MAX} addresses are watched already")
        height = event_log.tip.height
        watch = known or Watch("", height + 1)
        if label is not None:
            watch = Watch(label, watch.since, watch.cursor, watch.end)
        if since is not None and since < watch.since:
            if not ledger.is_indexed:
                raise Refused(
                    "the past of addresses is in the index, which this node does not keep"
                )
            # Above `end` everything was, or will be, told as it comes.
            end = min(height, max(watch.since - 1, watch.end))
            watch = Watch(watch.label, since, since.to_bytes(4, "big"), end)
        event_log.put_watch(lock, watch)
        if self.is_beside:
            # Else the log may stand at a block that confirms what waits by now; it compares later.
            for entry in ledger.mempool.touching(lock):
                event_log.tx_added(entry.tx)
        if ledger.mempool.is_returning:
            self._leave()
        self._wake.set()
        return watch

    def _look_back(self) -> None:
        """Tell some of what one address was paid in the past."""
        event_log, ledger = self._log, self._ledger
        lock = next(iter(event_log.scanning))
        watch = event_log.watched[lock]
        if not ledger.is_indexed:
            raise StorageError(
                "the event log is still looking through the past of addresses, for which it needs the "
                "indexes",
                "start with --index and --reindex once",
            )
        found = ledger.history(lock, watch.cursor, LOOKED_THROUGH)
        entries = [entry for entry in found if entry.height <= watch.end]
        for height, rows in groupby(entries, lambda entry: entry.height):
            txs = []
            for txid in dict.fromkeys(row.txid for row in rows if row.received):
                confirmed = ledger.read_tx(txid)
                assert confirmed is not None, "what has a history is confirmed"
                txs.append(confirmed.tx)
            event_log.add_past(ledger.tip.ancestor(height), txs, (lock,))
        is_done = len(entries) < LOOKED_THROUGH
        cursor = b"" if is_done else entries[-1].cursor
        end = -1 if is_done else watch.end
        event_log.put_watch(lock, Watch(watch.label, watch.since, cursor, end))
