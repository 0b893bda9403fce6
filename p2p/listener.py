"""Accepts connections, plain and TLS at one port, and cuts those that take too long to begin.

The first byte tells which it is: a TLS ClientHello begins with 0x16, a request of HTTP with a letter.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from contextlib import suppress

from p2p.addrbook import network_of
from p2p.bounded import RecentSet, TokenBucket
from p2p.eviction import choose_beginner
from p2p.ports import Clock, Endpoint, endpoint_of
from p2p.sips import Sipping, Taker
from p2p.sockets import listening_at
from p2p.tls import Tls, distrust

TLS_HANDSHAKE = b"\x16"
BACKLOG = 100
REFUSALS_PER_S = 1 / 60
REFUSALS_BURST = 20
"""Lines of the log about who is refused before it could say anything: strangers come in numbers."""
TOLD_MAX = 1_000
"""Of whom that was told, and is not told again."""
ACCEPT_RETRY_S = 0.5
"""Pause after a connection could not be accepted, as when descriptors have run out."""
ACCEPT_WARN_S = 60.0
"""How often that is told of."""
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

log = logging.getLogger(__name__)


class _Arrival:
    """A connection that is not a WebSocket yet."""

    def __init__(self, accepted: socket.socket, host: str) -> None:
        self.socket = accepted
        self.host = host
        self.network = network_of(host)
        self.protocol: Taker | None = None
        self.reads: Sipping | None = None
        self.transport: asyncio.Transport | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.task: asyncio.Task[None] | None = None

    def cut(self) -> None:
        # Not by its class: those of uvloop are none of asyncio's.
        if self.transport is not None:
            self.transport.abort()
        elif self.task is not None:
            self.task.cancel()

    def let_go(self) -> None:
        """Hold nothing of the connection: it holds this, and half a megabyte of TLS."""
        if self.timer is not None:
            self.timer.cancel()
        self.protocol = self.reads = self.transport = self.timer = None


class Listener:
    """One deadline covers the first byte, TLS and the upgrade to a WebSocket."""

    def __init__(
        self,
        make_protocol: Callable[[], Taker],
        tls: Tls | None,
        handshake_s: float,
        handshaking_max: int,
        clock: Clock,
    ) -> None:
        """Beyond `handshaking_max` connections that are not settled, the oldest of the network that
        has the most is cut."""
        self._make_protocol = make_protocol
        self._tls = tls
        self._handshake_s = handshake_s
        self._handshaking_max = handshaking_max
        self._clock = clock
        self._sockets: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._pending: dict[_Arrival, None] = {}
        self._told: RecentSet[tuple[str, str]] = RecentSet(TOLD_MAX)
        self._log_budget = TokenBucket(REFUSALS_PER_S, REFUSALS_BURST, clock.monotonic())
        self._warn_at = 0.0

    async def start(self, endpoint: Endpoint) -> tuple[str, int]:
        """Listen; returns where. Raises: OSError."""
        self._sockets = await listening_at(endpoint.host, endpoint.port, BACKLOG)
        loop = asyncio.get_running_loop()
        self._accepting = [loop.create_task(self._accept(each)) for each in self._sockets]
        host, port = self._sockets[0].getsockname()[:2]
        return host, port

    async def close(self) -> None:
        """Listen no more, and cut what has not begun."""
        tasks = [*self._accepting, *(each.task for each in self._pending if each.task is not None)]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for arrival in tuple(self._pending):
            arrival.cut()
        while self._sockets:
            self._sockets.pop().close()

    def settle(self, protocol: Taker) -> None:
        """The connection became a WebSocket."""
        for arrival in self._pending:
            if arrival.protocol is protocol:
                if arrival.reads is not None:
                    arrival.reads.stop()
                self._forget(arrival)
                return

    def tell_refused(self, host: str, why: str) -> None:
        """Have whoever runs this node know why `host` finds no way in: once, and not too many."""
        if (host, why) in self._told:
            return
        if self._log_budget.take(self._clock.monotonic()):
            self._told.add((host, why))
            log.info("refused a connection from %s: %s", host, why)

    def _forget(self, arrival: _Arrival) -> None:
        self._pending.pop(arrival, None)
        arrival.let_go()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, address = await loop.sock_accept(listening)
            except OSError as error:
                self._tell(error, self._clock.monotonic())
                await asyncio.sleep(ACCEPT_RETRY_S)
                continue
            accepted.setblocking(False)
            if len(self._pending) >= self._handshaking_max:
                self._make_room()
            arrival = _Arrival(accepted, endpoint_of(address).host)
            self._pending[arrival] = None
            arrival.timer = loop.call_later(self._handshake_s, arrival.cut)
            arrival.task = loop.create_task(self._begin(arrival))

    def _tell(self, error: OSError, now: float) -> None:
        log.debug("cannot accept a connection: %s", error)
        if error.errno in _EXHAUSTED and now >= self._warn_at:
            self._warn_at = now + ACCEPT_WARN_S
            log.warning(
                "cannot accept connections of peers now: %s; the node goes on, and accepts again "
                "when it can. If this comes often, let it open more files (ulimit -n)",
                error.strerror,
            )

    def _make_room(self) -> None:
        pending = list(self._pending)
        stale = pending[choose_beginner([each.network for each in pending])]
        stale.cut()
        self._forget(stale)

    async def _begin(self, arrival: _Arrival) -> None:
        """Give the connection its protocol. Ends by itself or by `cut`."""
        loop, tls = asyncio.get_running_loop(), self._tls

        def make() -> asyncio.BaseProtocol:
            arrival.protocol = self._make_protocol()
            arrival.reads = Sipping(arrival.protocol, lambda: self._forget(arrival))
            return arrival.reads

        try:
            first = await _peek(arrival.socket)
            is_tls = first == TLS_HANDSHAKE and tls is not None
            if not first:
                raise ConnectionError("it ended")
            if tls is not None and tls.is_required and not is_tls:
                self.tell_refused(arrival.host, "it is not encrypted")
                raise ConnectionError("not encrypted")
            context = tls.server if is_tls and tls is not None else None
            transport, _ = await loop.connect_accepted_socket(make, arrival.socket, ssl=context)
            if arrival in self._pending:  # not gone meanwhile
                arrival.transport = transport
        except (OSError, asyncio.CancelledError) as error:
            log.debug("a connection did not begin: %s", error)
            if isinstance(error, OSError) and (why := distrust(error)):
                self.tell_refused(arrival.host, why)
            self._forget(arrival)
            with suppress(OSError):
                arrival.socket.close()
            if isinstance(error, asyncio.CancelledError):
                raise


async def _peek(accepted: socket.socket) -> bytes:
    """The first byte, which stays where it is; nothing if the connection ends. Raises: OSError."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(accepted.fileno(), readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(accepted.fileno())
    return accepted.recv(1, socket.MSG_PEEK)
