"""The HTTP side of the RPC: who is let in, in what form, and how much.

A browser on the operator's machine can be made to send requests here by any page it shows. So a
request with an Origin is refused, a Host must be an IP address, `localhost` or a configured name (a
page whose own name was pointed at 127.0.0.1 would send its name), the type of the body must be JSON
or unsaid, and there is no CORS header. All of that is checked before the credentials are. What was let
in is remembered by its head, and goes a shorter way next time (`node.rpc.connection`).
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from http import HTTPStatus
from typing import Any, NoReturn

from aiohttp import HttpVersion10, HttpVersion11, web

from node.hosts import HostNames
from node.rpc.auth import Authenticator, User
from node.rpc.connection import RESTS, Connection, Desk, LongWay
from node.rpc.dispatch import Dispatcher, Reply
from node.rpc.heads import SERVER_NAME
from node.rpc.limits import Limits
from node.rpc.listener import Listener
from p2p.http_log import HttpLog

_log = logging.getLogger(__name__)
_PATH = re.compile(r"/(wallet/[^/]*)?")
_TYPES = frozenset({"", "application/json", "application/json-rpc"})
_UNUSUAL = ("Transfer-Encoding", "Expect", "Upgrade")
"""Headers of which more follows than an answer."""
NEVER_S = 365 * 86_400.0
"""aiohttp does not see what goes the short way, so it must not tell who rests."""
CLOSING_S = 2.0
"""Time for what is being answered to end when the server is closed."""


class _Refused(Exception):
    """An answer without a call."""

    def __init__(self, status: int, reason: str, **headers: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = headers


class RpcServer:
    """Serves a dispatcher over HTTP."""

    def __init__(
        self, dispatcher: Dispatcher[Any], users: Iterable[User], clock: Callable[[], float],
        hosts: Iterable[str] = (), limits: Limits | None = None,
    ) -> None:  # fmt: skip
        """`clock` gives seconds since 1970; `hosts` are further names by which clients may call
        this machine."""
        self._dispatcher = dispatcher
        self._users = Authenticator(users)
        self._hosts = HostNames(hosts)
        self._limits = limits or Limits()
        self._http: web.Server | None = None
        self._looking: asyncio.TimerHandle | None = None
        self._desk = Desk(dispatcher, self._limits, clock, self._long_way)
        self._listener = Listener(self._desk.make_room, lambda: Connection(self._desk))
        self._failures_waiting: Counter[str] = Counter()
        """Wrong passwords whose answer waits, by address."""
        self._failures = 0
        self.port = 0

    def set_users(self, users: Iterable[User]) -> None:
        """Let these in from now on, and no others, over connections that are open as well."""
        self._users.set_users(users)
        self._desk.heads.forget()

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; `port` 0 takes a free one. Raises: OSError (the port is taken)."""
        self._http = web.Server(
            self._handle, access_log=None, keepalive_timeout=NEVER_S, lingering_time=2,
            auto_decompress=False,  # a few bytes could grow to gigabytes
            logger=HttpLog(_log, "the RPC"),
        )  # fmt: skip
        self.port = await self._listener.start(host, port)
        self._look()

    async def close(self) -> None:
        """Stop listening, and let what is being answered end for a moment."""
        await self._listener.close()
        if self._looking is not None:
            self._looking.cancel()
        if self._http is not None:
            self._http.pre_shutdown()
            ending = [connection.finish() for connection in self._desk.connections]
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSING_S):
                    await asyncio.gather(*ending)
            await self._http.shutdown(timeout=CLOSING_S)
        for connection in tuple(self._desk.connections):
            connection.close()

    def _look(self) -> None:
        """Close connections that rest too long."""
        for connection in tuple(self._desk.connections):
            connection.look()
        pause_s = self._limits.idle_s / (RESTS - 1)
        self._looking = asyncio.get_running_loop().call_later(pause_s, self._look)

    def _long_way(self) -> LongWay:
        assert self._http is not None
        return self._http()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        # A client may be gone already. What it asked for is done all the same.
        connection = self._desk.by_long_way.get(request.protocol) or Connection(self._desk)
        connection.begin_request()
        try:
            return await self._serve(request, connection)
        except _Refused as refused:
            headers = {"Server": SERVER_NAME, **refused.headers}
            response = web.Response(status=refused.status, text=refused.reason, headers=headers)
            response.force_close()
            return response
        finally:
            connection.end_request()

    async def _serve(
        self, request: web.BaseRequest, connection: Connection
    ) -> web.StreamResponse:  # fmt: skip
        self._check_form(request)
        user = self._users.check(request.headers.get("Authorization"))
        if user is None:
            await self._fail(request)
        connection.admit()
        if self._desk.is_busy:
            raise _Refused(503, "too many calls at once", **{"Retry-After": "1"})
        self._desk.calls += 1
        try:
            reply = await self._dispatcher.answer(await self._read(request), user.role)
            response = await self._send(request, reply)
        finally:
            self._desk.calls -= 1
        length = request.content_length
        if length is not None and self._is_plain(request):
            connection.let_in(user.role, length)
        return response

    def _is_plain(self, request: web.BaseRequest) -> bool:
        """Whether all there is to know of such a request stands in its head."""
        is_usual = request.version == HttpVersion11 and request.keep_alive
        return is_usual and not any(name in request.headers for name in _UNUSUAL)

    async def _send(self, request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
        """Send the answer here, under a deadline: one that nobody reads would stay in memory."""
        response = web.Response(status=reply.status, headers={"Server": SERVER_NAME})
        if reply.status != HTTPStatus.NO_CONTENT:
            response.body = reply.body
            response.content_type = "application/json"
        try:
            async with asyncio.timeout(self._limits.send_s):
                await response.prepare(request)
                await response.write_eof()
        except (TimeoutError, ConnectionError):
            if request.transport is not None:
                request.transport.abort()
        return response

    def _check_form(self, request: web.BaseRequest) -> None:
        """Whether a program may have sent this, not a page in a browser."""
        headers = request.headers
        # Others have no version (0.9) or another framing (2), and would be answered as what they say.
        if request.version not in (HttpVersion10, HttpVersion11):
            raise _Refused(505, "this server speaks HTTP/1.1")
        if "Origin" in headers or "Sec-Fetch-Site" in headers:
            raise _Refused(403, "pages in a browser may not call this")
        if not self._hosts.is_own(headers.get("Host")):
            raise _Refused(403, "this server does not go by that name (see rpc hosts)")
        if request.method != "POST":
            raise _Refused(405, "JSON-RPC takes POST only", Allow="POST")
        if not _PATH.fullmatch(request.path):
            raise _Refused(404, "JSON-RPC is at / and /wallet/NAME")
        content_type = headers.get("Content-Type", "").partition(";")[0].strip().lower()
        encoding = headers.get("Content-Encoding", "identity").lower()
        if content_type not in _TYPES or encoding != "identity":
            raise _Refused(415, "the body must be application/json, not compressed")

    async def _fail(self, request: web.BaseRequest) -> NoReturn:
        """Answer a wrong password: late, but never so many that others have to wait."""
        self._failures += 1
        if self._failures & (self._failures - 1) == 0:  # 1, 2, 4, 8 …: attackers fill no log
            _log.warning(
                "wrong RPC user or password from %s (%d so far)", request.remote, self._failures
            )
        challenge = {"WWW-Authenticate": 'Basic realm="tael"'}
        waiting, address = self._failures_waiting, str(request.remote)
        if (
            waiting.total() >= self._limits.failures_waiting
            or waiting[address] >= self._limits.failures_waiting_per_address
        ):
            raise _Refused(429, "too many wrong passwords")
        waiting[address] += 1
        try:
            await asyncio.sleep(self._limits.failure_delay_s)
        finally:
            waiting[address] -= 1
            if not waiting[address]:
                del waiting[address]  # or every address that ever failed would be kept
        raise _Refused(401, "wrong user or password", **challenge)

    async def _read(self, request: web.BaseRequest) -> bytes:
        limit = self._limits.body_bytes
        if (request.content_length or 0) > limit:
            raise _Refused(413, f"a request has at most {limit} bytes")
        is_asking = request.headers.get("Expect", "").lower() == "100-continue"
        if is_asking and request.version == HttpVersion11 and request.transport is not None:
            # curl asks before it sends a long body, and waits a second if it hears nothing.
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if request.content_length is not None and request.content.is_eof():
            # As nearly always: it came with the headers.
            return request.content.read_nowait()
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.body_s):
                while chunk := await self._read_piece(request):
                    body += chunk
                    if len(body) > limit:
                        raise _Refused(413, f"a request has at most {limit} bytes")
        except TimeoutError:
            raise _Refused(408, "the request did not arrive in time") from None
        return bytes(body)

    async def _read_piece(self, request: web.BaseRequest) -> bytes:
        """What comes next of a body; nothing at its end. Raises: TimeoutError.

        What is no chunk ends the reading of aiohttp, which does not say so to who waits for the body.
        """
        async with asyncio.timeout(self._limits.piece_s):
            return await request.content.readany()
