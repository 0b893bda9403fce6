"""Tells pages that stay open when something changed, as server-sent events.

An event says that there is something new, not what: the page asks for itself again, in the language and
on the address that its reader has, and the script puts what is new in the place of what was old.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aiohttp import web

from node.events import TipChanged
from node.ledger import Ledger
from node.web.site import Route

LIVE_SHARE = 2
"""One of so many connections may stay open for this; the others are for pages."""
REST_S = 1.0
"""Between two events to one page: many changes in a short time are one."""
TELLING_PER_S = 8
"""Pages that are told in a second, all together: each of them then asks for itself again."""
MEMPOOL_LOOK_S = 3.0
"""How often the mempool is looked at. A new block is told at once."""
HEARTBEAT_RESTS = 20
"""Rests after which a line without meaning is sent, for what closes connections that are silent."""
SEND_S = 10.0
RETRY_MS = 5_000
"""After which a browser connects again."""


class Pulse:
    """Counts the changes of the ledger while anybody wants to know, and lets pages wait for the next."""

    def __init__(self, ledger: Ledger, live_max: int) -> None:
        self._ledger = ledger
        self._live_max = live_max
        self._live = 0
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._mempool_version = 0
        self._end = ledger.bus.subscribe(TipChanged, self._on_tip)
        self.number = 0
        """Of the last change."""
        self.is_closed = False

    def enter(self) -> bool:
        """A page begins to listen; False if too many do already."""
        if self._live >= self._live_max or self.is_closed:
            return False
        self._live += 1
        if self._task is None:
            self._mempool_version = self._ledger.mempool.version
            self._task = asyncio.create_task(self._look())
        return True

    @property
    def rest_s(self) -> float:
        """How long a page rests after it was told: the longer, the more of them there are."""
        return max(REST_S, self._live / TELLING_PER_S)

    def leave(self) -> None:
        """A page listens no more."""
        self._live -= 1
        if not self._live:
            self._stop_looking()

    def close(self) -> None:
        """Let everybody go, and ask the ledger no more."""
        self.is_closed = True
        self._end()
        self._stop_looking()
        self._tell()

    def _stop_looking(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _on_tip(self, event: TipChanged) -> None:
        self._tell()

    def _tell(self) -> None:
        self.number += 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _look(self) -> None:
        # Not told by the mempool: a payment should not pay for a listener each time.
        while True:
            await asyncio.sleep(MEMPOOL_LOOK_S)
            version = self._ledger.mempool.version
            if version != self._mempool_version:
                self._mempool_version = version
                self._tell()

    async def wait(self, seen: int) -> int:
        """The number of the last change, once it is not `seen`, or after a while all the same."""
        if self.number == seen:
            with suppress(TimeoutError):
                async with asyncio.timeout(REST_S):
                    await self._changed.wait()
        return self.number


PULSE: web.AppKey[Pulse] = web.AppKey("pulse", Pulse)


async def close_pulse(app: web.Application) -> None:
    """On the way down, or open pages would hold it up."""
    app[PULSE].close()


async def live(request: web.Request) -> web.StreamResponse:
    """The stream. Each event is the number of a change, and the first one that of the present state."""
    pulse = request.app[PULSE]
    if not pulse.enter():
        raise web.HTTPServiceUnavailable(
            text="too many pages are open", headers={"Retry-After": "60"}
        )
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",  # for a proxy, which would keep the events back
        }
    )
    try:
        await response.prepare(request)
        seen = pulse.number
        await _send(response, b"retry: %d\ndata: %d\n\n" % (RETRY_MS, seen))
        quiet = 0
        # Whoever went away is noticed within a rest, or a few hasty readers would take every place.
        while not pulse.is_closed and request.transport is not None:
            number = await pulse.wait(seen)
            quiet = quiet + 1 if number == seen else 0
            if number != seen:
                await _send(response, b"data: %d\n\n" % number)
                await asyncio.sleep(pulse.rest_s)
            elif quiet % HEARTBEAT_RESTS == 0:
                await _send(response, b":\n\n")
            seen = number
    except (TimeoutError, ConnectionError):
        if request.transport is not None:
            request.transport.abort()
    finally:
        pulse.leave()
    return response


async def _send(response: web.StreamResponse, data: bytes) -> None:
    """Raises: TimeoutError (it is not taken), ConnectionError."""
    async with asyncio.timeout(SEND_S):
        await response.write(data)


ROUTES = (Route("GET", "/live", live),)
