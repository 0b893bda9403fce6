"""The event log pushed: Server-Sent Events at `/events`, a WebSocket at `/events/ws`.

Both begin behind the number that the client names, so one that was away, or was dropped because it read
too slowly, goes on where it was. Users are those of the JSON-RPC; what anybody is sent lies on the disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from node.eventlog.desk import Lost, Page, Refused, Stopping
from node.eventlog.layout import KINDS, Kinds
from node.eventlog.service import Events
from node.rpc import json
from node.rpc.auth import User
from node.rpc.method import Role
from node.web.site import SITE, Route
from p2p.bounded import TokenBucket

STREAMS_MAX = 32
"""Clients that follow at once."""
PAGE = 100
"""Events that are sent before it is seen whether the client reads."""
HEARTBEAT_S = 15.0
LOOK_S = 1.0
"""Until it is noticed that a client has gone while nothing happened."""
BEATS = int(HEARTBEAT_S / LOOK_S)
CLOSING_S = 1.0
"""For the last word of a WebSocket."""
SLOW_S = 20.0
"""A client that has not read for so long is dropped."""
MESSAGE_BYTES_MAX = 1 << 10
"""Of a client."""
PINGS_PER_S = 1.0
PINGS_BURST = 60.0
"""Pings and pongs of a client. One read holds 40,000, and aiohttp handles all of them in one turn."""
NUMBER_DIGITS_MAX = 15
REASON_BYTES_MAX = 123
"""What a WebSocket may carry as the reason of its end."""
QUERY_KEYS = frozenset({"after", "kinds", "consumer"})


class _Number(msgspec.Struct):
    number: int


class _Acknowledged(msgspec.Struct, forbid_unknown_fields=True):
    """What a client may say on a WebSocket."""

    ack: int


class _Flooded(Exception):
    """A client sends more pings than anybody needs."""


class Question(NamedTuple):
    """What a client asks for."""

    after: int
    kinds: Kinds
    consumer: str


def _user_of(request: web.Request) -> User:
    user = request.app[SITE].users.check(request.headers.get("Authorization"))
    if user is None:
        raise web.HTTPUnauthorized(
            text="give a name and a password of the JSON-RPC",
            headers={"WWW-Authenticate": 'Basic realm="tael"'},
        )
    return user


def _log_of(request: web.Request) -> Events:
    events = request.app[SITE].node.events
    if events is None:
        raise web.HTTPNotFound(text="the event log is off: start the node with --events")
    return events


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > NUMBER_DIGITS_MAX:
        raise web.HTTPBadRequest(text="a number of an event is made of digits")
    return int(text)


def _question_of(request: web.Request, events: Events, header: str | None) -> Question:
    """`header`: the number that the client's browser remembers, which counts more than the query."""
    query = request.query
    if not set(query) <= QUERY_KEYS:
        raise web.HTTPBadRequest(text=f"known are {', '.join(sorted(QUERY_KEYS))}")
    names = [name for name in query.get("kinds", "").split(",") if name]
    if not set(names) <= set(KINDS):
        raise web.HTTPBadRequest(text=f"kinds are {', '.join(KINDS)}")
    consumer = query.get("consumer", "")
    try:
        if header or "after" in query:
            after = _number(header or query["after"])
        elif consumer:
            after = events.desk.position(consumer)
        else:
            after = events.desk.written
        return Question(
            events.desk.check(after), frozenset(KINDS[name] for name in names), consumer
        )
    except Refused as refused:
        raise web.HTTPBadRequest(text=str(refused)) from None


async def _follow(events: Events, question: Question) -> AsyncIterator[Page | Lost]:
    """What to send, page by page; an empty one when nothing came for a moment. Ends when the node stops."""
    after = question.after
    while True:
        try:
            page = await events.desk.wait(after, PAGE, question.kinds, LOOK_S)
        except Lost as lost:
            yield lost
            after = lost.last
            continue
        except Stopping:
            return
        yield page
        after = page.next


def _show_lost(lost: Lost) -> bytes:
    return json.encode({"first": lost.first, "last": lost.last})


@contextmanager
def _place_for(request: web.Request, events: Events) -> Iterator[None]:
    """One of the places for clients that follow; who does not read is cut off and loses it."""
    if events.streams >= STREAMS_MAX:
        raise web.HTTPServiceUnavailable(text=f"{STREAMS_MAX} clients follow already")
    events.streams += 1
    try:
        yield
    except (TimeoutError, ConnectionError):
        if request.transport is not None:
            request.transport.abort()
    finally:
        events.streams -= 1


# Server-Sent Events


async def stream(request: web.Request) -> web.StreamResponse:
    """Events as `text/event-stream`, each with its number as id."""
    _user_of(request)
    events = _log_of(request)
    question = _question_of(request, events, request.headers.get("Last-Event-ID"))
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
    )
    with _place_for(request, events):
        await response.prepare(request)
        # With an id at once: who is cut off before the first event goes on from here too.
        await response.write(b"id: %d\n\n" % question.after)
        quiet = 0
        async for page in _follow(events, question):
            if request.transport is None:
                break
            frames = _frames(page)
            quiet = 0 if frames else quiet + 1
            if frames or quiet % BEATS == 0:
                async with asyncio.timeout(SLOW_S):
                    await response.write(frames or b": \n\n")
    return response


def _frames(page: Page | Lost) -> bytes:
    if isinstance(page, Lost):
        return b"id: %d\nevent: lost\ndata: %b\n\n" % (page.last, _show_lost(page))
    frames = [b"id: %d\ndata: %b\n\n" % (_NUMBER.decode(e).number, e) for e in page.events]
    return b"".join(frames)


# WebSocket


def _is_own_origin(request: web.Request) -> bool:
    """Whether the page that asks, if it is one, came from here."""
    origin = request.headers.get("Origin")
    try:
        return origin is None or urlsplit(origin).netloc == request.headers.get("Host")
    except ValueError:  # half an IPv6 address
        return False


async def socket(request: web.Request) -> web.StreamResponse:
    """Events as text messages; a consumer may acknowledge on the same connection."""
    # A page from elsewhere can open a WebSocket with the password that a browser remembers.
    if not _is_own_origin(request):
        raise web.HTTPForbidden(text="a page of another origin may not follow")
    user = _user_of(request)
    events = _log_of(request)
    question = _question_of(request, events, None)
    connection = web.WebSocketResponse(
        heartbeat=HEARTBEAT_S,
        max_msg_size=MESSAGE_BYTES_MAX,
        compress=False,
        timeout=CLOSING_S,
        autoping=False,
    )
    with _place_for(request, events):
        await connection.prepare(request)
        clock = request.app[SITE].node.clock
        listening = asyncio.create_task(_listen(connection, events, question.consumer, user, clock))
        sending = asyncio.create_task(_send(connection, events, question))
        try:
            await asyncio.wait([listening, sending], return_when=asyncio.FIRST_COMPLETED)
            for task in (listening, sending):
                if task.done():
                    task.result()
        except _Flooded:
            # At once: to close with a word would be to read on.
            if request.transport is not None:
                request.transport.abort()
            return connection
        finally:
            listening.cancel()
            sending.cancel()
            await asyncio.gather(listening, sending, return_exceptions=True)
        async with asyncio.timeout(SLOW_S):
            await connection.close(code=WSCloseCode.GOING_AWAY)
    return connection


async def _send(connection: web.WebSocketResponse, events: Events, question: Question) -> None:
    async for page in _follow(events, question):
        async with asyncio.timeout(SLOW_S):
            if isinstance(page, Lost):
                await connection.send_str(f'{{"lost":{_show_lost(page).decode()}}}')
            else:
                for event in page.events:
                    await connection.send_str(event.decode())


async def _listen(
    connection: web.WebSocketResponse, events: Events, consumer: str, user: User,
    clock: Callable[[], float],
) -> None:  # fmt: skip
    """Take acknowledgements until the client closes, or says something else. Raises: _Flooded."""
    pings = TokenBucket(PINGS_PER_S, PINGS_BURST, clock())
    async for message in connection:
        if message.type in (WSMsgType.PING, WSMsgType.PONG):
            if not pings.take(clock()):
                raise _Flooded
            if message.type is WSMsgType.PING:
                await connection.pong(message.data)
            continue
        try:
            number = _ACKNOWLEDGED.decode(message.data).ack
            if not consumer or user.role < Role.ADMIN or number < 0:
                raise Refused("only a consumer acknowledges, as a user of role admin")
            known = await events.desk.acknowledge(consumer, number)
            await connection.send_str(f'{{"acknowledged":{known}}}')
        except Stopping:
            return
        except (msgspec.DecodeError, UnicodeDecodeError, TypeError):
            await _refuse(connection, 'a client says {"ack": NUMBER} or nothing')
            return
        except Refused as refused:
            await _refuse(connection, str(refused))
            return


async def _refuse(connection: web.WebSocketResponse, reason: str) -> None:
    await connection.close(
        code=WSCloseCode.POLICY_VIOLATION, message=reason.encode()[:REASON_BYTES_MAX]
    )


_NUMBER = msgspec.json.Decoder(_Number)
_ACKNOWLEDGED = msgspec.json.Decoder(_Acknowledged)
ROUTES = (Route("GET", "/events", stream), Route("GET", "/events/ws", socket))
