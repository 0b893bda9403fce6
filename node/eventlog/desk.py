"""Where events are read: pages of what lies on the disk, who has come how far, and how long is kept.

Nothing is shown before it was synced, and what was acknowledged is written before that is answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import NamedTuple

from consensus.errors import StorageError
from node.eventlog import layout
from node.eventlog.layout import Consumer, Kinds
from node.eventlog.log import EventLog

PAGE_MAX = 1_000
"""Events of one page."""
PAGE_BYTES_MAX = 1 << 20
LOOKED_AT_MAX = 2_000
"""Events that one page passes over because they are of other kinds."""
CONSUMERS_MAX = 100
NAME_LENGTH_MAX = 64
WRITE_EVERY_SYNCING_S = 0.25
"""Least time between two batches while the node catches up: each costs the disk a sync."""
PRUNED_PER_BATCH = 500
"""And two for each event that comes with it, or a flood would grow faster than it goes."""


class Keeping(NamedTuple):
    """How many events are kept, and how long."""

    acknowledged: int = 100_000
    """So many newest ones are kept though everybody has acknowledged them."""
    most: int = 1_000_000
    """Not more, whoever has not acknowledged them: 400 MB."""
    age_s: int = 90 * 24 * 3_600
    """Not longer, whoever has not acknowledged them."""


KEEPING = Keeping()


class Lost(Exception):
    """Events that somebody has not seen are not kept any more."""

    def __init__(self, first: int, last: int) -> None:
        super().__init__(f"events {first} to {last} are not kept any more")
        self.first = first
        self.last = last


class Refused(ValueError):
    """What was asked for cannot be; the text says why."""


class Stopping(Exception):
    """The node stops, or its disk has failed."""


class Page(NamedTuple):
    """A part of the log."""

    events: Sequence[bytes]
    """Each as JSON."""
    next: int
    """Number of the last one that was looked at: go on behind it."""


class Desk:
    """Writes what the log puts, and shows it."""

    def __init__(
        self, log: EventLog, clock: Callable[[], float], is_syncing: Callable[[], bool],
        keeping: Keeping = KEEPING,
    ) -> None:  # fmt: skip
        """`clock` gives seconds since 1970. Raises: StorageError."""
        self.log = log
        self.written = log.last
        """Number of the newest event on the disk."""
        self.consumers: dict[str, Consumer] = {
            layout.name_of(key): layout.decode_row(Consumer, value)
            for key, value in log.journal.scan(layout.CONSUMER)
        }
        self._clock = clock
        self._is_syncing = is_syncing
        self._keeping = keeping
        self._begun = self._done = 0
        """Batches."""
        self._news = asyncio.Event()
        self._is_closed = False
        self.others: Callable[[], Iterable[int]] = tuple
        """What those have acknowledged who are no consumers: webhooks."""

    # Writing

    async def run(self) -> None:
        """Write until cancelled. Raises: StorageError."""
        try:
            while True:
                await self.log.changed.wait()
                await self.write()
                if self._is_syncing():
                    await asyncio.sleep(WRITE_EVERY_SYNCING_S)
        except StorageError:
            self.end_waits()
            raise

    async def write(self) -> None:
        """Write everything that was put. Raises: StorageError."""
        log = self.log
        log.changed.clear()
        self._prune()
        log.put_head()
        last = log.last
        self._begun += 1
        await log.journal.write()
        self._done, self.written = self._begun, last
        self._tell()

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    def end_waits(self) -> None:
        """Have everybody who waits go home: the node stops."""
        self._is_closed = True
        self._tell()

    async def news(self) -> None:
        """Wait for the next batch. Raises: Stopping."""
        if not self._is_closed:
            await self._news.wait()
        if self._is_closed:
            raise Stopping

    async def settled(self) -> None:
        """Wait until everything that was put before lies on the disk. Raises: Stopping."""
        batch = self._begun + self.log.changed.is_set()
        while self._done < batch:
            await self.news()

    async def has_room(self, rows_max: int) -> None:
        """Wait until not more than that many rows wait to be written. Raises: Stopping."""
        while self.log.journal.waiting > rows_max:
            await self.news()

    def _floor(self) -> int:
        """The number up to which everybody has acknowledged."""
        own = (row.acknowledged for row in self.consumers.values())
        return min(chain(own, self.others()), default=self.written)

    def _prune(self) -> None:
        """Have the next batch remove some of what need not be kept."""
        log, keeping = self.log, self._keeping
        end = max(min(self._floor(), self.written - keeping.acknowledged), log.last - keeping.most)
        oldest = int(self._clock()) - keeping.age_s
        count = PRUNED_PER_BATCH + 2 * (log.last - self.written)
        for number in range(log.first, min(log.first + count, self.written + 1)):
            if number > end and self._time_of(number) >= oldest:
                break
            log.journal.put(layout.event_key(number), None)
            log.first = number + 1

    def _time_of(self, number: int) -> int:
        value = self.log.journal.get(layout.event_key(number))
        if value is None:
            raise layout.damaged("hole between its events")
        return int.from_bytes(value[1 : layout.EVENT_HEAD_BYTES], "big")

    # Reading

    def check(self, after: int) -> int:
        """A number that events were told up to. Raises: Refused, if there is none such yet."""
        if after > self.written:
            raise Refused(
                f"the last event is {self.written}: {after} was read from another log, or from one "
                "that a disk has lost"
            )
        return after

    def read(
        self, after: int, limit: int = PAGE_MAX, kinds: Kinds = frozenset()
    ) -> Page:  # fmt: skip
        """Events behind number `after`, of these kinds only.

        Raises: Lost; Refused (there is no such number yet); StorageError.
        """
        if self.check(after) + 1 < self.log.first:
            raise Lost(after + 1, self.log.first - 1)
        found: list[bytes] = []
        size, expected = 0, after
        for key, value in self.log.journal.scan(layout.EVENT, layout.event_key(after)):
            expected += 1
            if key != layout.event_key(expected):
                raise layout.damaged("hole between its events")
            if layout.is_wanted(value[0], kinds):
                found.append(value[layout.EVENT_HEAD_BYTES :])
                size += len(value)
            if len(found) >= limit or size >= PAGE_BYTES_MAX or expected - after >= LOOKED_AT_MAX:
                break
        return Page(found, expected)

    async def wait(
        self, after: int, limit: int, kinds: Kinds, seconds: float
    ) -> Page:  # fmt: skip
        """Like `read`, but wait up to so many seconds for a first event. Raises: also Stopping."""
        page = self.read(after, limit, kinds)
        try:
            async with asyncio.timeout(seconds):
                while not page.events:
                    if page.next >= self.written:
                        await self.news()
                    else:
                        await asyncio.sleep(0)
                    page = self.read(page.next, limit, kinds)
        except TimeoutError:
            pass
        return page

    # Consumers

    def position(self, name: str) -> int:
        """How far a consumer has come. Raises: Refused."""
        row = self.consumers.get(name)
        if row is None:
            raise Refused(f"no consumer is called {name!r}: ackevents makes one")
        return row.acknowledged

    async def acknowledge(self, name: str, number: int) -> int:
        """Remember how far a consumer has come, who need not be known before; return the number.

        It never goes back. Raises: Refused, Stopping.
        """
        if number > self.written:
            raise Refused(f"the last event is {self.written}")
        known = self.consumers.get(name)
        if known is None and len(self.consumers) >= CONSUMERS_MAX:
            raise Refused(f"there are {CONSUMERS_MAX} consumers already: see removeconsumer")
        if known is None or number > known.acknowledged:
            known = Consumer(number, int(self._clock()))
            self.consumers[name] = known
            self.log.put(layout.CONSUMER + name.encode(), layout.encode_row(known))
        # Also for who names a number again: the first time may be on its way to the disk still.
        await self.settled()
        return known.acknowledged

    async def remove(self, name: str) -> bool:
        """Forget a consumer; False if there is none. Raises: Stopping."""
        if self.consumers.pop(name, None) is None:
            return False
        self.log.put(layout.CONSUMER + name.encode(), None)
        await self.settled()
        return True
