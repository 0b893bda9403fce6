"""The web server: for reading, by everybody who reaches it, so it changes nothing.

A request must name this machine as Host, as for the JSON-RPC; what browsers get tells them to run nothing
that did not come from here. Whoever opens connections and says nothing gives way to who comes
(`node.web.room`). Whoever may see more says who he is, by path (`node.web.site`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping

from aiohttp import web

from node.hosts import HostNames
from node.rpc import ports
from node.rpc.auth import Authenticator
from node.rpc.heads import SERVER_NAME
from node.rpc.listener import Listener
from node.web import assets, events, explorer, health, live, metrics
from node.web.live import LIVE_SHARE, PULSE, Pulse, close_pulse
from node.web.pages import dress_faults, set_up
from node.web.room import Room
from node.web.site import SITE, Routes, Site
from p2p.http_log import HttpLog
from p2p.ports import Endpoint

log = logging.getLogger(__name__)

ROUTES: tuple[Routes, ...] = (
    health.ROUTES, metrics.ROUTES, events.ROUTES, explorer.ROUTES, assets.ROUTES, live.ROUTES,
)  # fmt: skip
"""Every path, by the module that answers it."""
BODY_BYTES_MAX = 64 << 10
IDLE_S = 30
SEND_S = 10.0
LINGER_S = 2.0
"""For what comes behind a request that was answered without it."""
CLOSING_S = 2.0
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def _protect(request: web.Request, response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["Server"] = SERVER_NAME


class WebServer:
    """Serves the tables of paths over HTTP."""

    option = "web"

    def __init__(
        self, node: ports.Node, endpoint: Endpoint, users: Authenticator, hosts: Iterable[str],
        connections_max: int,
    ) -> None:  # fmt: skip
        """`hosts`: names by which browsers may call this machine."""
        self.endpoint = endpoint
        self._hosts = HostNames(hosts)
        self._room = Room(connections_max)
        self._app = web.Application(
            middlewares=[self._answer, self._guard, dress_faults], client_max_size=BODY_BYTES_MAX
        )
        self._app.on_response_prepare.append(_protect)
        self._app[SITE] = Site(node, users)
        self._app[PULSE] = Pulse(node.ledger, max(1, connections_max // LIVE_SHARE))
        self._app.on_shutdown.append(close_pulse)
        set_up(self._app)
        for routes in ROUTES:
            self._app.add_routes(
                web.get(route.path, route.handler) if route.method == "GET"
                else web.route(route.method, route.path, route.handler)
                for route in routes
            )  # fmt: skip
        self._runner: web.AppRunner | None = None
        self._listener: Listener | None = None

    async def start(self) -> None:
        """Raises: OSError (the port is taken)."""
        self._runner = web.AppRunner(
            self._app, access_log=None, keepalive_timeout=IDLE_S, shutdown_timeout=CLOSING_S,
            auto_decompress=False, lingering_time=LINGER_S, logger=HttpLog(log, "the web server"),
        )  # fmt: skip
        await self._runner.setup()
        server = self._runner.server
        assert server is not None
        self._room.open(server)
        self._listener = Listener(self._room.make, self._room.arrive)
        port = await self._listener.start(*self.endpoint)
        self.endpoint = self.endpoint._replace(port=port)

    async def close(self) -> None:
        if self._listener is not None:
            await self._listener.close()
        if self._runner is not None:
            await self._runner.cleanup()

    @web.middleware
    async def _answer(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Send an answer here, under a deadline: who asks and does not read holds a place."""
        self._room.begin(request.protocol)
        try:
            response = await handler(request)
            if isinstance(response, web.Response):  # others have sent what they have by now
                async with asyncio.timeout(SEND_S):
                    await response.prepare(request)
                    await response.write_eof()
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError("an answer is not taken") from None
        finally:
            self._room.end(request.protocol)
        return response

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        if not self._hosts.is_own(request.headers.get("Host")):
            raise web.HTTPForbidden(text="this server does not go by that name (see web-host)")
        return await handler(request)
