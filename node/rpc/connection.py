"""A connection to the RPC, and the short way of a request whose very head was let in before.

A program sends the same head again and again: its user, its host, its length. What aiohttp and the
checks of `node.rpc.server` made of it is remembered, so the next request with that head goes from
the socket to the method and back in one call, without a task. That takes some 20 µs, where aiohttp
takes 150. Everything else goes to aiohttp just as it came: heads that are new, that come in pieces
or were refused, bodies in chunks, long bodies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, cast

from node.later import Later
from node.rpc.dispatch import Dispatcher, Reply
from node.rpc.heads import AnswerHeads, Head, KnownHeads
from node.rpc.limits import Limits
from node.rpc.method import Role
from p2p.sips import Sips

HEAD_BYTES_MAX = 8_192
"""Longer heads are not remembered."""
WAITING_BYTES_MAX = 64 << 10
"""Bytes that wait for the rest of a request, or for an answer that must leave first."""
REQUESTS_PER_TURN = 8
"""Requests that came at once on one connection answered before other connections get a turn."""
RESTS = 5
"""Looks at a connection, each a quarter of the longest rest apart, that all find it resting."""
NEVER = -1
_END = b"\r\n\r\n"


class LongWay(Protocol):
    """What a connection asks of aiohttp's own protocol, which takes every request."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...
    def connection_lost(self, exc: BaseException | None) -> None: ...
    def data_received(self, data: bytes) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...


class Desk:
    """What the connections of one server share."""

    def __init__(
        self, dispatcher: Dispatcher[Any], limits: Limits, clock: Callable[[], float],
        long_way: Callable[[], LongWay],
    ) -> None:  # fmt: skip
        """`clock` gives seconds since 1970."""
        self.begin = dispatcher.begin
        self.limits = limits
        self.heads = KnownHeads()
        self.answers = AnswerHeads(clock)
        self.long_way = long_way
        self.connections: dict[Connection, None] = {}
        """Those that are open, in the order in which they came."""
        self.arrivals = 0
        """How many connections there ever were."""
        self.by_long_way: dict[object, Connection] = {}
        self.calls = 0
        """Requests worked on, and answers that their clients do not take."""

    @property
    def is_busy(self) -> bool:
        return self.calls >= self.limits.calls

    def make_room(self) -> bool:
        """Whether one more connection may begin. If there are as many as may be, who never showed a
        password gives way, the oldest first; then who has been let in and rests the longest."""
        if len(self.connections) < self.limits.connections:
            return True
        idle = (connection for connection in self.connections if not connection.is_at_work)
        stale = min(idle, key=lambda connection: connection.last_let_in, default=None)
        if stale is None:
            return False
        stale.give_way()
        return True


class Connection(asyncio.Protocol):
    """One client. Its bytes go the short way, or to aiohttp until that has answered one whole
    request and has no byte left."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._transport: asyncio.Transport | None = None
        self._long_way: LongWay | None = None
        self._sips = Sips()
        self._is_short = True
        self._passed = b""
        """How the bytes that aiohttp has of the present request begin."""
        self._passed_bytes = 0
        self._waiting = b""
        self._is_reading = self._is_writable = True
        self._is_held = False
        """Whether an answer that the client does not take counts as a call."""
        self._answering: asyncio.Task[None] | Later | None = None
        self._next_turn: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._awaits_body = False
        self._is_in_request = False
        """Whether aiohttp has a request that is being answered."""
        self._rests = 0
        self.last_let_in = NEVER
        """How many connections there were by the last request that was let in."""

    # Life

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # By its word: the transports of uvloop are not derived from asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._desk.connections[self] = None
        self._desk.arrivals += 1
        self._start_timer(self._desk.limits.first_request_s, self.close)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._transport = None
        self._waiting = b""
        self._desk.connections.pop(self, None)
        self._stop_timer()
        self._release()
        if self._long_way is not None:
            self._desk.by_long_way.pop(self._long_way, None)
            self._sips.end()
            self._long_way.connection_lost(exc)

    def close(self) -> None:
        """End it when what was written has left."""
        if self._transport is not None:
            self._transport.close()

    def give_way(self) -> None:
        """End it at once, for another."""
        self._desk.connections.pop(self, None)
        self._abort()

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def finish(self) -> None:
        """Return when no call of it runs on the short way."""
        if isinstance(self._answering, Later):
            await self._answering
        elif self._answering is not None:
            await asyncio.wait([self._answering])

    @property
    def is_at_work(self) -> bool:
        """Whether something is done for somebody who was let in. A wrong password is waited for, but
        worth no place."""
        return self.last_let_in != NEVER and self._is_working()

    def _is_working(self) -> bool:
        return self._is_in_request or self._is_held or self._answering is not None

    def look(self) -> None:
        """Close it if it has rested all the while that the last looks were made."""
        self._rests = 0 if self._is_working() else self._rests + 1
        if self._rests >= RESTS:
            self.close()

    def _start_timer(self, seconds: float, call: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(seconds, call)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # The short way

    def data_received(self, data: bytes) -> None:
        if not self._is_short:
            self._pass(data)
            return
        self._waiting = self._waiting + data if self._waiting else data
        if self._is_free():
            self._work()
        elif len(self._waiting) > WAITING_BYTES_MAX:
            assert self._transport is not None
            self._is_reading = False
            self._transport.pause_reading()

    def _is_free(self) -> bool:
        """Whether the next request may be answered; each waits for the answers before it."""
        return self._is_writable and self._answering is None and self._next_turn is None

    def _work(self) -> None:
        """Answer what is there, in order, and leave a turn to others now and then."""
        for _ in range(REQUESTS_PER_TURN):
            if not self._waiting or not self._answer_next():
                return
        if self._waiting:
            self._next_turn = asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        """Work on after a pause."""
        self._next_turn = None
        if self._transport is None or self._transport.is_closing() or not self._is_free():
            return
        if not self._is_reading:
            self._is_reading = True
            self._transport.resume_reading()
        self._work()

    def _answer_next(self) -> bool:
        """Answer one request; False if no other can be answered now."""
        desk, waiting = self._desk, self._waiting
        start = waiting.find(_END, 0, HEAD_BYTES_MAX) + len(_END)
        head = desk.heads.find(waiting[:start]) if start >= len(_END) else None
        if head is None or desk.is_busy:
            self._hand_over()
            return False
        end = start + head.body_bytes
        if len(waiting) < end:
            self._await_body(end)
            return False
        if self._timer is not None:
            self._awaits_body = False
            self._stop_timer()
        self._rests = 0
        self.last_let_in = desk.arrivals
        self._waiting = waiting[end:]
        reply = desk.begin(waiting[start:end], head.role)
        if isinstance(reply, Reply):
            self._send(reply)
            return self._is_writable
        if isinstance(reply, Later):  # no call: one that a connection has costs next to nothing
            self._answering = reply.then(self._answer_settled)
            return False
        desk.calls += 1
        self._answering = asyncio.create_task(self._answer_later(reply))
        return False

    async def _answer_later(self, reply: Coroutine[Any, Any, Reply]) -> None:
        try:
            self._send(await reply)
        finally:
            self._desk.calls -= 1
            self._answering = None
            self._go_on()

    def _answer_settled(self, reply: Reply) -> None:
        self._answering = None
        self._send(reply)
        # Not at once: what comes next may have to wait for the very queue that is being emptied.
        if self._waiting and self._is_free():
            self._next_turn = asyncio.get_running_loop().call_soon(self._go_on)

    def _send(self, reply: Reply) -> None:
        if self._transport is not None:
            head = self._desk.answers.write(reply.status, reply.size)
            self._transport.writelines((head, *reply.pieces))

    def _await_body(self, end: int) -> None:
        if end > WAITING_BYTES_MAX:
            self._hand_over()
        elif not self._awaits_body:
            self._awaits_body = True
            self._start_timer(self._desk.limits.body_s, self._refuse_late)

    def _refuse_late(self) -> None:
        assert self._transport is not None
        self._waiting = b""
        self._transport.write(self._desk.answers.refuse(408, "the request did not arrive in time"))
        self._transport.close()

    # A client that does not take its answer

    def pause_writing(self) -> None:
        self._is_writable = False
        self._sips.pause_writing()
        if self._long_way is not None:
            self._long_way.pause_writing()
        if self._is_short:
            # It counts as a call, or many such clients would fill the memory with answers.
            self._is_held = True
            self._desk.calls += 1
            self._awaits_body = False  # nothing is awaited before the answer has left
            self._start_timer(self._desk.limits.send_s, self._abort)

    def resume_writing(self) -> None:
        self._is_writable = True
        self._sips.resume_writing()
        if self._long_way is not None:
            self._long_way.resume_writing()
        if self._is_held:
            self._release()
            self._stop_timer()
        if self._is_short and self._next_turn is None:
            self._next_turn = asyncio.get_running_loop().call_soon(self._go_on)

    def _release(self) -> None:
        if self._is_held:
            self._is_held = False
            self._desk.calls -= 1

    # The long way

    def _hand_over(self) -> None:
        """Give what waits, and what comes, to aiohttp."""
        assert self._transport is not None
        if self._long_way is None:
            self._long_way = self._desk.long_way()
            self._desk.by_long_way[self._long_way] = self
            self._long_way.connection_made(self._transport)
        data, self._waiting = self._waiting, b""
        self._is_short = False
        self._passed, self._passed_bytes = b"", 0
        self._pass(data)

    def _pass(self, data: bytes) -> None:
        assert self._long_way is not None
        if len(self._passed) < HEAD_BYTES_MAX:
            self._passed += data[:HEAD_BYTES_MAX]
        self._passed_bytes += len(data)
        self._long_way.data_received(data)
        if self._transport is not None and not self._is_short:
            self._sips.taken(len(data), self._transport)

    def begin_request(self) -> None:
        """aiohttp has parsed a head."""
        self._stop_timer()
        self._awaits_body = False
        self._rests = 0
        self._is_in_request = True

    def admit(self) -> None:
        """The password of the request that aiohttp has is right."""
        self.last_let_in = self._desk.arrivals

    def end_request(self) -> None:
        """aiohttp has nothing to answer any more."""
        self._is_in_request = False

    def let_in(self, role: Role, body_bytes: int) -> None:
        """A request with a body of so many bytes was let in and is answered: remember its head, if
        its bytes are all that aiohttp was given, and take the short way again."""
        start = self._passed.find(_END, 0, HEAD_BYTES_MAX) + len(_END)
        if start >= len(_END) and self._passed_bytes == start + body_bytes:
            self._desk.heads.learn(self._passed[:start], Head(role, body_bytes))
            self._passed = b""
            self._is_short = True
