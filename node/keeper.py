"""Has the next template ready before anybody asks for it.

What a template shows of a payment takes a microsecond to make; the choice, the root and the answer
that holds 3 MB take about as long: with 5,000 payments, whoever asks first would wait 15 ms for it. It
is made when the mempool is at rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from node.connector import pause
from node.events import EventBus, TipChanged, TxAdded
from node.mempool import Mempool
from node.mempool_entry import Entry

REST_S = 0.05
"""Time without a change after which the mempool is at rest."""
EVERY_S = 0.3
"""Least time between two templates that nobody asked for: with 5,000 payments, one takes 15 ms. After a
longer one, what came in two waves would be missed by who asks right after the second."""
SHOWN_PER_TURN = 200
"""Payments made ready before others get a turn: a quarter of a millisecond."""
READY_MAX = 6_000
"""With more that wait, the choice is left to who asks: it is made in one turn."""


class TemplateKeeper:
    """Follows the mempool from afar."""

    def __init__(
        self, mempool: Mempool, show: Callable[[Entry], object], prepare: Callable[[], None]
    ) -> None:
        """`show` makes what is kept of an entry that has none yet, `prepare` all the rest."""
        self._mempool = mempool
        self._show = show
        self._prepare = prepare
        self._changed = asyncio.Event()

    def listen(self, bus: EventBus) -> None:
        bus.subscribe(TxAdded, self._note)
        bus.subscribe(TipChanged, self._note)

    def _note(self, _: object) -> None:
        self._changed.set()

    async def run(self) -> None:
        """Work in moments of rest until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            await asyncio.sleep(REST_S)
            await self._tidy()
            if self._changed.is_set():
                continue
            await self._show_new()
            if not self._changed.is_set() and len(self._mempool) <= READY_MAX:
                self._prepare()
            await asyncio.sleep(EVERY_S)

    async def _tidy(self) -> None:
        """Whether at rest or not, or what was mined would never leave the indexes in a flood."""
        while self._mempool.tidy():
            await pause()

    async def _show_new(self) -> None:
        new = [entry for entry in self._mempool.entries() if not entry.shown]
        for number, entry in enumerate(new, 1):
            self._show(entry)
            if number % SHOWN_PER_TURN == 0:
                await asyncio.sleep(0)
