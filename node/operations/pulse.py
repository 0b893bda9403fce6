"""The pulse of the event loop: how late it is with what is due."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from node.histogram import Histogram

EVERY_S = 0.25
LAG_BOUNDS_S = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


class Pulse:
    """Asks to be woken now and then, and notes how late that was."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """`monotonic` gives seconds."""
        self.lag = Histogram(LAG_BOUNDS_S)
        self._monotonic = monotonic

    async def run(self) -> None:
        """Runs until it is cancelled."""
        while True:
            due = self._monotonic() + EVERY_S
            await asyncio.sleep(EVERY_S)
            self.lag.note(max(0.0, self._monotonic() - due))
