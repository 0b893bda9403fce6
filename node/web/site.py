"""What handlers of the web server are handed, and how a module adds its paths."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

from aiohttp import web

from node.rpc import ports
from node.rpc.auth import Authenticator


class Site(NamedTuple):
    """What a handler may ask."""

    node: ports.Node
    users: Authenticator
    """For paths that show more than everybody may see."""


SITE: web.AppKey[Site] = web.AppKey("site", Site)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Route(NamedTuple):
    """A row of a module's table of paths. HEAD is answered where GET is."""

    method: str
    path: str
    handler: Handler


Routes = Iterable[Route]
