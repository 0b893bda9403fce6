"""Has aiohttp see one large piece of a connection at a time, and work on it before the next comes.

The event loop reads for as long as there is something, and aiohttp notes an error for each piece behind
bytes that are no HTTP. Each holds its piece and is held by its own traceback, so a stranger's megabytes
would stay until the collector comes to them. It ends a connection at its first error, once it has a turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

LARGE_BYTES = 16 << 10
"""A smaller piece may be followed by another at once: nearly all requests are."""
TURNS = 10
"""Of the event loop, between two large pieces. aiohttp needs four to answer what it cannot read."""


class Taker(Protocol):
    """What the connections of aiohttp do."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...
    def connection_lost(self, exc: BaseException | None) -> None: ...
    def data_received(self, data: bytes) -> None: ...
    def eof_received(self) -> bool | None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def resume_reading(self) -> None: ...


class Sips:
    """The reads of one connection."""

    def __init__(self) -> None:
        self._next: asyncio.Handle | None = None
        self._is_writable = True
        self._waiting: asyncio.Transport | None = None
        """What to read from when the client has taken what it was sent: its last answer, perhaps."""

    def taken(self, size: int, transport: asyncio.Transport) -> None:
        """A piece was handed over: if it was large, the next one waits, unless aiohttp waits anyhow."""
        if size < LARGE_BYTES or transport.is_closing() or not transport.is_reading():
            return
        transport.pause_reading()
        self._read_later(transport, TURNS)

    def _read_later(self, transport: asyncio.Transport, turns: int) -> None:
        # By turns, not by time: a loop that is late would read before it has done what is to be done.
        if turns:
            loop = asyncio.get_running_loop()
            self._next = loop.call_soon(self._read_later, transport, turns - 1)
            return
        self._next = None
        if not self._is_writable:
            self._waiting = transport
        elif not transport.is_closing():
            transport.resume_reading()

    def pause_writing(self) -> None:
        self._is_writable = False

    def resume_writing(self) -> None:
        self._is_writable = True
        if self._waiting is not None:
            self._read_later(self._waiting, TURNS)
            self._waiting = None

    def end(self) -> bool:
        """The connection is gone, or needs no sips any more. Returns whether a piece was waiting."""
        was_waiting = self._waiting is not None or self._next is not None
        self._waiting = None
        if self._next is not None:
            self._next.cancel()
            self._next = None
        return was_waiting


class Sipping(asyncio.Protocol):
    """Hands everything on, large pieces one at a time."""

    def __init__(self, taker: Taker, lost: Callable[[], None]) -> None:
        """`lost` is called when the connection has ended."""
        self._taker = taker
        self._lost = lost
        self._sips = Sips()
        self._transport: asyncio.Transport | None = None

    def stop(self) -> None:
        """Hand all pieces on as they come: aiohttp reads frames now, and holds back too many itself."""
        self._transport = None
        if self._sips.end():
            # By aiohttp, not by the transport: it may have asked for a pause of its own meanwhile.
            self._taker.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # By its word: the transports of uvloop are not derived from asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._taker.connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._sips.end()
        self._transport = None
        self._taker.connection_lost(exc)
        self._lost()

    def data_received(self, data: bytes) -> None:
        self._taker.data_received(data)
        if self._transport is not None:
            self._sips.taken(len(data), self._transport)

    def eof_received(self) -> bool | None:
        return self._taker.eof_received()

    def pause_writing(self) -> None:
        self._sips.pause_writing()
        self._taker.pause_writing()

    def resume_writing(self) -> None:
        self._sips.resume_writing()
        self._taker.resume_writing()
