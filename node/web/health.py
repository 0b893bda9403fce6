"""Whether the node lives, and whether it is ready for users: for whoever restarts or routes to it."""

from __future__ import annotations

from aiohttp import web

from node.web.site import SITE, Route


async def health(request: web.Request) -> web.Response:
    """Answered as long as the event loop turns."""
    return web.json_response({"status": "ok"})


async def ready(request: web.Request) -> web.Response:
    """200 if users can be sent here, else 503 and every reason why not.

    To everybody the names of the reasons: how full the disk is concerns nobody else.
    """
    node = request.app[SITE].node
    reasons = node.watch.reasons()
    body = {
        "status": "not ready" if reasons else "ready",
        "reasons": [reason.name for reason in reasons],
        "blocks": node.ledger.tip.height,
        "headers": node.ledger.tree.best_header.height,
    }
    return web.json_response(body, status=503 if reasons else 200)


ROUTES = (Route("GET", "/health", health), Route("GET", "/ready", ready))
