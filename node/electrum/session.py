"""One client: its lines in, answers and news out, and what it may take of the node."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from node.electrum import limits
from node.electrum.calls import Answer, answer
from node.electrum.methods import Client, Service

log = logging.getLogger(__name__)


class Budget:
    """Requests that a client may make: many at once, and then so many a second."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives seconds; it may jump."""
        self._clock = clock
        self._left = float(limits.REQUESTS_BURST)
        self._at = clock()

    def spend(self, requests: float) -> float:
        """Take that many; returns for how many seconds whoever made them has to wait."""
        now = self._clock()
        self._left += max(0.0, now - self._at) * limits.REQUESTS_PER_S
        self._left = min(self._left, limits.REQUESTS_BURST) - requests
        self._at = now
        return max(0.0, -self._left / limits.REQUESTS_PER_S)


class Session(Client):
    """A client's connection."""

    def __init__(
        self, service: Service, reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
        may_send: Callable[[Session, int], bool],
    ) -> None:  # fmt: skip
        """`may_send`: whether there is room for so many bytes more that it may not take."""
        self.service = service
        self.protocol = ""
        self.is_busy = False
        """Whether a request is being answered."""
        self.has_asked = False
        self._reader = reader
        self._writer = writer
        self._may_send = may_send
        self._budget = Budget(service.node.clock)

    @property
    def unread_bytes(self) -> int:
        """What was sent and not taken from us yet."""
        return self._writer.transport.get_write_buffer_size()

    def drop(self) -> None:
        """End it at once."""
        self._writer.transport.abort()

    def tell(self, notice: bytes) -> None:
        """Send news, unless too much is unread: then it is dropped, and may come back."""
        if self._writer.transport.is_closing():
            return
        if self.unread_bytes > limits.NOTICE_BACKLOG_BYTES_MAX:
            self.drop()
        else:
            self._writer.write(notice)

    async def run(self, asked: Callable[[Session], None]) -> None:
        """Answer until the client leaves, or rests or reads for too long.

        `asked` is called with each request.
        """
        with suppress(ConnectionError, TimeoutError):
            while (line := await self._read()) is not None:
                asked(self)
                self.is_busy = self.has_asked = True
                try:
                    found = await answer(line, self, lambda: self._budget.spend(1))
                    await self._send(found)
                finally:
                    self.is_busy = False
                if found.is_over:
                    break

    async def end(self) -> None:
        """Let what is on its way arrive, for a moment: who never reads it must not hold the place."""
        self._writer.close()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(limits.CLOSING_S):
                await self._writer.wait_closed()

    async def _read(self) -> bytes | None:
        """The next line; None at the end, or where it is too long. Raises: TimeoutError."""
        rest_s = limits.IDLE_S if self.has_asked else limits.FIRST_LINE_S
        try:
            async with asyncio.timeout(rest_s):
                return await self._reader.readuntil(b"\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return None

    async def _send(self, found: Answer) -> None:
        """Raises: ConnectionError (dropped), TimeoutError (not read in time)."""
        line = found.line
        if not line:
            return
        if len(line) > limits.SMALL_BYTES and not self._may_send(self, len(line)):
            self.drop()
            raise ConnectionAbortedError
        self._writer.write(line)
        try:
            async with asyncio.timeout(limits.SEND_S):
                await self._writer.drain()
        except TimeoutError:
            self.drop()
            raise
        pause_s = self._budget.spend(len(line) / limits.BYTES_PER_REQUEST)
        if pause_s > 0:
            await asyncio.sleep(pause_s)
