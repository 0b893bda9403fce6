"""The event log of a node, put together: opened with the chain, told of everything, closed after all else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from node.eventlog.desk import KEEPING, Desk, Keeping, Page, Stopping
from node.eventlog.follower import Follower
from node.eventlog.journal import Journal
from node.eventlog.layout import Kinds
from node.eventlog.log import EventLog, Place
from node.eventlog.webhooks import Poster, Spawn, Webhooks
from node.ledger import Ledger
from p2p.ports import RandomSource

NAME_BYTES = 8


class Events:
    """What methods and paths ask, and the node starts and ends."""

    def __init__(
        self, journal: Journal, ledger: Ledger, clock: Callable[[], float],
        secret: Callable[[int], bytes], poster: Poster, rng: RandomSource,
        keeping: Keeping = KEEPING,
    ) -> None:  # fmt: skip
        """Raises: StorageError."""
        self._journal = journal
        place = Place(ledger.tip.hash, ledger.tip.height)
        self.log = EventLog(
            journal, ledger.params, clock, place, ledger.chain_id, lambda: secret(NAME_BYTES).hex()
        )
        self.desk = Desk(self.log, clock, lambda: ledger.is_syncing, keeping)
        self.follower = Follower(self.log, self.desk, ledger)
        self.webhooks = Webhooks(self.log, self.desk, poster, clock, rng, secret)
        self.desk.others = lambda: [row.acknowledged for row in self.webhooks.rows.values()]
        self.waiters = 0
        """Who waits in `wait` at present."""
        self.streams = 0
        """Clients that follow by Server-Sent Events or WebSocket at present."""
        self._ledger = ledger
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, spawn: Spawn) -> None:
        """Catch up with the ledger and follow it from now on. Raises: StorageError."""
        self._tasks.append(spawn(self.desk.run()))
        self.follower.listen(self._ledger.bus)
        with suppress(Stopping):  # then the node ends with what the disk said
            await self.follower.catch_up()
        self._tasks.append(spawn(self._follow()))
        self.webhooks.start(spawn)

    async def _follow(self) -> None:
        with suppress(Stopping):
            await self.follower.run()

    async def wait(self, after: int, limit: int, kinds: Kinds, seconds: float) -> Page:
        """Like `Desk.wait`, and counted. Raises: like it."""
        self.waiters += 1
        try:
            return await self.desk.wait(after, limit, kinds, seconds)
        finally:
            self.waiters -= 1

    def end_waits(self) -> None:
        """Have nobody wait for events any more."""
        self.desk.end_waits()

    async def close(self) -> None:
        """Write what is left. Raises: StorageError."""
        self.end_waits()
        for task in self._tasks:
            task.cancel()
            await asyncio.wait([task])
        await self.webhooks.close()
        await self._journal.finish()
        if self.log.changed.is_set():
            await self.desk.write()
