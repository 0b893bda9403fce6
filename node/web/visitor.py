"""Who looks at a page, as far as it matters: language, theme, and the question asked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from aiohttp import web

from node.rpc import ports
from node.web.catalogue import CODES, Language, choose
from node.web.site import SITE

THEMES = ("auto", "light", "dark")
COOKIE_S = 365 * 86_400
BACK_MAX = 2_000
QUERY_MAX = 300
"""Characters of one value in a query that are looked at."""
_OWN_PATH = re.compile(r"/(?![/\\])[!-\[\]-~]*")
"""A path of this server: neither `//host` nor `/\\host`, which browsers take for another one."""


class Ask(NamedTuple):
    """One question to a view."""

    node: ports.Node
    path: Mapping[str, str]
    """The parts of the path that have names."""
    query: Mapping[str, str]
    language: Language

    def get(self, name: str, most: int = QUERY_MAX) -> str:
        """A value of the query, cut to a bearable length; empty if it is absent."""
        return self.query.get(name, "")[:most].strip()

    def number(self, name: str, most: int) -> int | None:
        """A value of the query from 0 to `most`; None if it is no such number."""
        text = self.get(name)
        if not (text.isascii() and text.isdigit() and len(text) <= 12):
            return None
        return int(text) if int(text) <= most else None


def language_code(request: web.Request) -> str:
    return choose(request.cookies.get("language"), request.headers.get("Accept-Language", ""))


def theme_of(request: web.Request) -> str:
    """Which of `THEMES` was chosen by hand; auto follows the system."""
    chosen = request.cookies.get("theme")
    return chosen if chosen in THEMES else THEMES[0]


def ask_of(request: web.Request, language: Language) -> Ask:
    return Ask(request.app[SITE].node, request.match_info, request.query, language)


async def set_view(request: web.Request) -> web.Response:
    """Remember a theme or a language in a cookie, and go back to where the visitor was."""
    back = request.query.get("back", "/")
    if len(back) > BACK_MAX or not _OWN_PATH.fullmatch(back):
        back = "/"
    response = web.Response(
        status=303, headers={"Location": back, "Cache-Control": "no-store"}
    )  # fmt: skip
    for name, known in (("theme", THEMES), ("language", CODES)):
        chosen = request.query.get(name)
        if chosen in known:
            response.set_cookie(
                name, str(chosen), max_age=COOKIE_S, samesite="Lax", httponly=True
            )  # fmt: skip
    return response
