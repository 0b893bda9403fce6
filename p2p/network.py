"""WebSockets: the only part of the network that touches sockets.

aiohttp's defaults are for browsers; what is set here against them is listed in docs/p2p.md,
"Transport".
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from contextlib import suppress
from typing import Any, Protocol

import aiohttp
from aiohttp import WSMessage, WSMsgType, hdrs, web

from consensus.errors import DecodeError, Rule
from p2p.bounded import TokenBucket
from p2p.config import NetworkConfig
from p2p.http_log import HttpLog
from p2p.listener import Listener
from p2p.messages import FRAME_BYTES_MAX, is_printable
from p2p.peer import Reason
from p2p.ports import Accept, Clock, Endpoint, Wire, endpoint_of
from p2p.tls import Tls, shown_by

CLOSE_CODE = 4000
CLOSE_TIMEOUT_S = 2.0
"""How long the other side has to answer a close frame."""
FAREWELL_BYTES_MAX = 64
CONTROL_FRAMES_PER_S = 1.0
CONTROL_FRAMES_BURST = 60.0
HTTP_LINE_BYTES_MAX = 1_024
WS_BYTES_MAX = FRAME_BYTES_MAX + 1
"""aiohttp refuses a message of the size that it is given, so it is given one more."""

log = logging.getLogger(__name__)


class _Socket(Protocol):
    """What the two ends of an aiohttp WebSocket have in common."""

    async def receive(self) -> WSMessage: ...

    async def send_bytes(self, data: bytes) -> None: ...

    async def pong(self, message: bytes = b"") -> None: ...

    async def close(self, *, code: int, message: bytes) -> Any: ...

    def get_extra_info(self, name: str, default: Any = None) -> Any: ...


class WebSocketWire:
    """One WebSocket connection."""

    def __init__(self, ws: _Socket, clock: Clock) -> None:
        self._ws = ws
        self._clock = clock
        self.remote = endpoint_of(ws.get_extra_info("peername"))
        self.local = endpoint_of(ws.get_extra_info("sockname"))
        encrypted = ws.get_extra_info("ssl_object")
        self.is_encrypted = encrypted is not None
        self.certificate = "" if encrypted is None else shown_by(encrypted).hex()
        self.farewell = ""
        self._is_closed = False
        self._control_frames = TokenBucket(
            CONTROL_FRAMES_PER_S, CONTROL_FRAMES_BURST, clock.monotonic()
        )

    async def send(self, frame: bytes) -> None:
        await self._ws.send_bytes(frame)

    async def receive(self) -> bytes | None:
        while True:
            message = await self._ws.receive()
            match message.type:
                case WSMsgType.BINARY:
                    data: bytes = message.data
                    return data
                case WSMsgType.PING:
                    self._count_control_frame()
                    await self._ws.pong(message.data)
                case WSMsgType.PONG:
                    self._count_control_frame()
                case WSMsgType.TEXT:
                    raise DecodeError(Rule.MALFORMED, "text")
                case WSMsgType.CLOSE:
                    said = str(message.extra or "").encode("ascii", "replace")
                    if is_printable(said):
                        self.farewell = said[:FAREWELL_BYTES_MAX].decode("ascii")
                    return None
                case _:
                    return None

    def _count_control_frame(self) -> None:
        """Raises: DecodeError, if there are too many."""
        if not self._control_frames.take(self._clock.monotonic()):
            raise DecodeError(Rule.MALFORMED, "too many pings")

    async def close(self, reason: str) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        try:
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self._ws.close(code=CLOSE_CODE, message=reason.encode("ascii"))
        finally:
            self._cut()

    def _cut(self) -> None:
        """End the connection although the other side may not take what is queued."""
        open_socket = self._ws.get_extra_info("socket")
        if open_socket is None or open_socket.fileno() < 0:
            return
        # What the event loop hands out has no shutdown everywhere, so work on a copy.
        with suppress(OSError), socket.socket(fileno=os.dup(open_socket.fileno())) as copy:
            copy.shutdown(socket.SHUT_RDWR)


class WebSocketTransport:
    """Accepts and opens WebSocket connections."""

    def __init__(self, config: NetworkConfig, clock: Clock, tls: Tls | None = None) -> None:
        """Without `tls` everything is plain."""
        self._config = config
        self._clock = clock
        self._tls = tls
        self._client: aiohttp.ClientSession | None = None
        self._server: web.Server | None = None
        self._listener: Listener | None = None

    async def listen(self, endpoint: Endpoint, accept: Accept) -> Endpoint:
        config = self._config

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            # Browsers send an Origin, nodes never do: no web page may speak to a node.
            if hdrs.ORIGIN in request.headers:
                return _refuse(403)
            if request.method != hdrs.METH_GET or request.path != "/":
                return _refuse(404)
            encrypted = request.get_extra_info("ssl_object")
            refusal = "" if self._tls is None else self._tls.refusal(encrypted)
            if refusal:
                listener.tell_refused(endpoint_of(request.get_extra_info("peername")).host, refusal)
                return _refuse(403)
            ws: web.WebSocketResponse = web.WebSocketResponse(
                compress=False, max_msg_size=WS_BYTES_MAX, autoping=False,
                timeout=CLOSE_TIMEOUT_S,
            )  # fmt: skip
            if not ws.can_prepare(request):
                return _refuse(400)
            await ws.prepare(request)  # who is gone already costs nothing: see HttpLog
            listener.settle(request.protocol)
            await accept(WebSocketWire(ws, self._clock))
            return ws

        server = self._server = web.Server(
            handle, access_log=None, max_line_size=HTTP_LINE_BYTES_MAX,
            max_field_size=HTTP_LINE_BYTES_MAX, logger=HttpLog(log, "the port of peers"),
        )  # fmt: skip
        listener = self._listener = Listener(
            server, self._tls, config.handshake_s, config.handshaking_max, self._clock
        )
        return endpoint_of(await listener.start(endpoint))

    async def dial(self, endpoint: Endpoint, pin: bytes | None = None) -> Wire:
        tls = self._tls
        if tls is None:
            return await self._dial(endpoint, None)
        try:
            return await self._dial(endpoint, tls, pin)
        except ConnectionError as error:
            if pin is not None or tls.must_encrypt(endpoint) or not _is_no_tls(error.__cause__):
                raise
        return await self._dial(endpoint, None)

    async def _dial(
        self, endpoint: Endpoint, tls: Tls | None, pin: bytes | None = None
    ) -> Wire:  # fmt: skip
        if self._client is None:
            self._client = _make_client()
        try:
            ws = await self._client.ws_connect(
                f"{'wss' if tls else 'ws'}://{endpoint}/", compress=0,
                max_msg_size=WS_BYTES_MAX, autoping=False, ssl=tls.client if tls else True,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT_S),
            )  # fmt: skip
        except (aiohttp.ClientError, ValueError) as error:
            raise ConnectionError(_why(error, tls)) from error
        wire = WebSocketWire(ws, self._clock)
        encrypted = ws.get_extra_info("ssl_object")
        refusal = "" if tls is None else tls.refusal(encrypted, endpoint, pin)
        if refusal:
            await wire.close(Reason.REQUESTED)
            raise ConnectionError(refusal)
        return wire

    async def close(self) -> None:
        if self._listener is not None:
            await self._listener.close()
        if self._server is not None:
            await self._server.shutdown(CLOSE_TIMEOUT_S)
        if self._client is not None:
            await self._client.close()


def _is_no_tls(error: BaseException | None) -> bool:
    """Whether somebody answered a dial, but not with TLS."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return isinstance(error, aiohttp.ClientSSLError) or isinstance(
            error.os_error, ConnectionResetError | ConnectionAbortedError
        )
    return False


def _why(error: aiohttp.ClientError | ValueError, tls: Tls | None) -> str:
    """Why a dial failed, as far as this side can know it."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        why = getattr(error.certificate_error, "verify_message", "")
        return f"its certificate is not among the members, or not valid now ({why})"
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return "it does not encrypt, and that is required"
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error.strerror or str(error.os_error)
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError):
        # A handshake of TLS 1.3 ends for this side before the other has judged our certificate, and
        # Python sends no alert then.
        if tls is None:
            return "it hung up before it answered; perhaps it speaks with nodes that encrypt alone"
        return (
            "it hung up before it answered; if it speaks with members alone, its members file lacks "
            f"this node's certificate, {tls.certificate.fingerprint.hex()}"
        )
    return str(error)


def _refuse(status: int) -> web.Response:
    response = web.Response(status=status)
    response.force_close()
    return response


def _make_client() -> aiohttp.ClientSession:
    trace = aiohttp.TraceConfig()

    async def refuse_redirect(*_: Any) -> None:
        # A peer could otherwise send us anywhere in our own network.
        raise aiohttp.ClientError("redirected")

    trace.on_request_redirect.append(refuse_redirect)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, force_close=True),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
        trace_configs=[trace],
    )
