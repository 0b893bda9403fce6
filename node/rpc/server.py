"""The HTTP side of the RPC: who is let in, in what form, and how much.

A browser on the operator's machine can be made to send requests here by any page it shows. So a
request with an Origin is refused, a Host must be an IP address, `localhost` or a configured name (a
page whose own name was pointed at 127.0.0.1 would send its name), the type of the body must be JSON
or unsaid, and there is no CORS header. All of that is checked before the credentials are.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
from collections.abc import Iterable
from functools import lru_cache
from http import HTTPStatus
from typing import Any, NoReturn

import msgspec
from aiohttp import web

from node.rpc.auth import Authenticator, User
from node.rpc.dispatch import Dispatcher, Reply

_log = logging.getLogger(__name__)
_PATH = re.compile(r"/(wallet/[^/]*)?")
_TYPES = frozenset({"", "application/json", "application/json-rpc"})
_SERVER_NAME = "tael"


@lru_cache(64)
def _host_name(host: str) -> str:
    """The name in a Host header, without port; empty for what is none."""
    match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]]*)(:[0-9]{1,5})?", host)
    return match[1].strip("[]").lower().removesuffix(".") if match else ""


@lru_cache(64)
def _is_ip_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class Limits(msgspec.Struct, frozen=True):
    """How much the server takes on."""

    body_bytes: int = 16 << 20
    """A request. The largest block in hex takes half of it."""
    connections: int = 256
    calls: int = 32
    """Requests worked on at once."""
    first_request_s: float = 30
    """Time from the connection to the end of the first request's headers."""
    body_s: float = 60
    """Time for the body to arrive."""
    send_s: float = 60
    """Time for the client to take the answer."""
    idle_s: float = 120
    """Time that a connection may rest between requests."""
    failure_delay_s: float = 0.25
    """Time before a wrong password is answered."""
    failures_waiting: int = 32
    """Wrong passwords whose answer is delayed at once; more are answered 429 at once."""


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
        self, dispatcher: Dispatcher[Any], users: Iterable[User],
        hosts: Iterable[str] = (), limits: Limits | None = None,
    ) -> None:  # fmt: skip
        """`hosts` are further names by which clients may call this machine."""
        self._dispatcher = dispatcher
        self._users = Authenticator(users)
        self._hosts = {"localhost", *(host.lower() for host in hosts)}
        self._limits = limits or Limits()
        self._http: web.Server | None = None
        self._listener: asyncio.Server | None = None
        self._silent: dict[object, asyncio.TimerHandle] = {}
        """Connections that have not sent a request yet, with what ends them."""
        self._calls = 0
        self._failures_waiting = 0
        self._failures = 0
        self.port = 0

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; `port` 0 takes a free one. Raises: OSError (the port is taken)."""
        self._http = web.Server(
            self._handle, access_log=None, keepalive_timeout=self._limits.idle_s,
            lingering_time=2,
            auto_decompress=False,  # a few bytes could grow to gigabytes
        )  # fmt: skip
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._connect, host, port, backlog=128)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening, and let what is being answered end for a moment."""
        if self._listener is not None:
            self._listener.close()
        for timer in self._silent.values():
            timer.cancel()
        self._silent.clear()
        if self._http is not None:
            self._http.pre_shutdown()
            await self._http.shutdown(timeout=2)

    def _connect(self) -> asyncio.Protocol:
        assert self._http is not None
        if len(self._http.connections) >= self._limits.connections:
            return _Closed()
        protocol = self._http()

        def end() -> None:
            del self._silent[protocol]
            protocol.force_close()

        loop = asyncio.get_running_loop()
        self._silent[protocol] = loop.call_later(self._limits.first_request_s, end)
        return protocol

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        timer = self._silent.pop(request.protocol, None)
        if timer is not None:
            timer.cancel()
        try:
            return await self._serve(request)
        except _Refused as refused:
            headers = {"Server": _SERVER_NAME, **refused.headers}
            response = web.Response(status=refused.status, text=refused.reason, headers=headers)
            response.force_close()
            return response

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        self._check_form(request)
        user = self._users.check(request.headers.get("Authorization"))
        if user is None:
            await self._fail(request)
        if self._calls >= self._limits.calls:
            raise _Refused(503, "too many calls at once", **{"Retry-After": "1"})
        self._calls += 1
        try:
            reply = await self._dispatcher.answer(await self._read(request), user.role)
            return await self._send(request, reply)
        finally:
            self._calls -= 1

    async def _send(self, request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
        """Send the answer here, under a deadline: one that nobody reads would stay in memory."""
        response = web.Response(status=reply.status, headers={"Server": _SERVER_NAME})
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
        if "Origin" in headers or "Sec-Fetch-Site" in headers:
            raise _Refused(403, "pages in a browser may not call this")
        if not self._is_own_name(headers.get("Host")):
            raise _Refused(403, "this server does not go by that name (see rpc hosts)")
        if request.method != "POST":
            raise _Refused(405, "JSON-RPC takes POST only", Allow="POST")
        if not _PATH.fullmatch(request.path):
            raise _Refused(404, "JSON-RPC is at / and /wallet/NAME")
        content_type = headers.get("Content-Type", "").partition(";")[0].strip().lower()
        encoding = headers.get("Content-Encoding", "identity").lower()
        if content_type not in _TYPES or encoding != "identity":
            raise _Refused(415, "the body must be application/json, not compressed")

    def _is_own_name(self, host: str | None) -> bool:
        if host is None:
            return True  # HTTP/1.0; every browser sends one
        name = _host_name(host)
        return name in self._hosts or _is_ip_address(name)

    async def _fail(self, request: web.BaseRequest) -> NoReturn:
        """Answer a wrong password: late, but never so many that others have to wait."""
        self._failures += 1
        if self._failures & (self._failures - 1) == 0:  # 1, 2, 4, 8 …: attackers fill no log
            _log.warning(
                "wrong RPC user or password from %s (%d so far)", request.remote, self._failures
            )
        challenge = {"WWW-Authenticate": 'Basic realm="tael"'}
        if self._failures_waiting >= self._limits.failures_waiting:
            raise _Refused(429, "too many wrong passwords")
        self._failures_waiting += 1
        try:
            await asyncio.sleep(self._limits.failure_delay_s)
        finally:
            self._failures_waiting -= 1
        raise _Refused(401, "wrong user or password", **challenge)

    async def _read(self, request: web.BaseRequest) -> bytes:
        limit = self._limits.body_bytes
        if (request.content_length or 0) > limit:
            raise _Refused(413, f"a request has at most {limit} bytes")
        if request.content_length is not None and request.content.is_eof():
            # As nearly always: it came with the headers.
            return request.content.read_nowait()
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.body_s):
                async for chunk in request.content.iter_any():
                    body += chunk
                    if len(body) > limit:
                        raise _Refused(413, f"a request has at most {limit} bytes")
        except TimeoutError:
            raise _Refused(408, "the request did not arrive in time") from None
        return bytes(body)


class _Closed(asyncio.Protocol):
    """A connection too many: closed before anything is read."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()
