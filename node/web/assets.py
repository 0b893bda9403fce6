"""Files that pages need, read once at the start: style, script, icon.

A page names each by its content, so a browser keeps it for good and still never has an old one.
"""

from __future__ import annotations

import hashlib
import pkgutil
from typing import NamedTuple

from aiohttp import web

from node.web.site import Route

FILES = {
    "style.css": "text/css",
    "live.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
"""Each with its type."""


class Asset(NamedTuple):
    """One file."""

    body: bytes
    kind: str
    path: str


def _load(name: str, kind: str) -> Asset:
    body = pkgutil.get_data(__package__, f"static/{name}")
    assert body is not None
    return Asset(body, kind, f"/static/{hashlib.sha256(body).hexdigest()[:16]}/{name}")


ASSETS = {name: _load(name, kind) for name, kind in FILES.items()}


async def serve(request: web.Request) -> web.Response:
    """A file of `ASSETS`. Its old names lead to the new content, for pages of an older node."""
    asset = ASSETS.get(request.match_info["name"])
    if asset is None:
        raise web.HTTPNotFound
    is_current = request.path == asset.path
    return web.Response(
        body=asset.body,
        content_type=asset.kind,
        charset="utf-8",
        headers={
            "Cache-Control": "public, max-age=31536000, immutable" if is_current else "no-cache"
        },
    )


async def favicon(request: web.Request) -> web.Response:
    """Browsers ask for it where no page was shown, as for an address that a program answers."""
    raise web.HTTPSeeOther(ASSETS["icon.svg"].path)


ROUTES = (
    Route("GET", "/static/{mark:[0-9a-f]{16}}/{name}", serve),
    Route("GET", "/favicon.ico", favicon),
)
