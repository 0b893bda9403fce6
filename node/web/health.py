"""Whether the node lives, and whether it is ready for users: for whoever restarts or routes to it."""

from __future__ import annotations

from aiohttp import web

from node.web.site import SITE, Route


async def health(request: web.Request) -> web.Response:
    """Answered as long as the event loop turns."""
    return web.json_response({"status": "ok"})


async def ready(request: web.Request) -> web.Response:
    """200 if the node has caught up with the best chain it knows, else 503 and why."""
    ledger = request.app[SITE].node.ledger
    body = {
        "status": "syncing" if ledger.is_syncing else "ready",
        "blocks": ledger.tip.height,
        "headers": ledger.tree.best_header.height,
    }
    return web.json_response(body, status=503 if ledger.is_syncing else 200)


ROUTES = (Route("GET", "/health", health), Route("GET", "/ready", ready))
