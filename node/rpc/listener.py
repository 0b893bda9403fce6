"""Accepts connections to the RPC, one at a time, after room was made for each.

When descriptors have run out, a connection waits where the system keeps it. The servers of the event
loops close it, and with it a call that had every right to be made.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import suppress

from p2p.sockets import listening_at

BACKLOG = 128
ACCEPT_RETRY_S = 0.05
"""Pause after a connection could not be accepted."""

_log = logging.getLogger(__name__)


class Listener:
    """Hands connections over to protocols."""

    def __init__(
        self, make_room: Callable[[], bool], make_protocol: Callable[[], asyncio.BaseProtocol]
    ) -> None:
        """`make_room` says whether one more connection may begin, before each."""
        self._make_room = make_room
        self._make_protocol = make_protocol
        self._sockets: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._beginning: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port. Raises: OSError (it is taken)."""
        self._sockets = await listening_at(host, port, BACKLOG)
        loop = asyncio.get_running_loop()
        self._accepting = [loop.create_task(self._accept(each)) for each in self._sockets]
        return int(self._sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Accept no more."""
        tasks = [*self._accepting, *self._beginning]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        while self._sockets:
            self._sockets.pop().close()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(listening)
            except OSError as error:
                _log.debug("cannot accept a connection: %s", error)
                await asyncio.sleep(ACCEPT_RETRY_S)
                continue
            if not self._make_room():
                accepted.close()
                continue
            task = loop.create_task(self._begin(accepted))
            self._beginning.add(task)
            task.add_done_callback(self._beginning.discard)

    async def _begin(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(self._make_protocol, accepted)
        except (OSError, asyncio.CancelledError) as error:
            _log.debug("a connection did not begin: %s", error)
            with suppress(OSError):
                accepted.close()
            if isinstance(error, asyncio.CancelledError):
                raise
