"""How a page comes to be: views say what stands on it, templates how, and this brings both together.

Pages are made one at a time, with a pause behind each in which the loop does the work of the node: a
crowd waits for its pages, and nobody else waits for the crowd.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp_jinja2
from aiohttp import web
from jinja2 import PackageLoader, StrictUndefined
from markupsafe import Markup

from consensus.errors import StorageError
from node.web import figures
from node.web.assets import ASSETS
from node.web.catalogue import CODES, Language, load
from node.web.foreign import foreign
from node.web.site import SITE, Handler
from node.web.visitor import THEMES, Ask, ask_of, language_code, theme_of

PAUSE_S = 0.004
"""Between two pages: about as long as one takes to make."""
WAITING_MAX = 96
"""Pages that are asked for and not made yet; who asks for another is told to come back."""
RETRY_S = 2
NAVIGATION = (
    ("/", "overview"), ("/blocks", "blocks"), ("/mempool", "mempool"), ("/assets", "assets"),
    ("/peers", "peers"),
)  # fmt: skip

log = logging.getLogger(__name__)
Middleware = Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]


class Page(NamedTuple):
    """What a view answers."""

    template: str
    """Its name, without the ending."""
    values: Mapping[str, Any]
    status: int = 200


View = Callable[[Ask], Awaitable[Page]]


class NotFound(Exception):
    """There is nothing to be shown; holds the key of the text that says what is missing."""


class Elsewhere(Exception):
    """The answer has a page of its own; holds its path."""


class Busy(Exception):
    """Too many wait already."""


class Turns:
    """Lets one page be made at a time, first come, first served."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_taken = False

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Raises: Busy."""
        await self._take()
        try:
            yield
        finally:
            # The pause comes behind the page, so that it does not wait for its own.
            asyncio.get_running_loop().call_later(PAUSE_S, self._pass_on)

    async def _take(self) -> None:
        if not self._is_taken:
            self._is_taken = True
            return
        if len(self._waiting) >= WAITING_MAX:
            raise Busy
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self._pass_on()  # it was its turn when it went away
            else:
                self._waiting.remove(mine)
            raise

    def _pass_on(self) -> None:
        while self._waiting:
            following = self._waiting.popleft()
            if not following.done():
                following.set_result(None)
                return
        self._is_taken = False


TURNS: web.AppKey[Turns] = web.AppKey("turns", Turns)
LANGUAGES: web.AppKey[Mapping[str, Language]] = web.AppKey("languages", dict)


def _count(number: int) -> str:
    return f"{number:,}"


FILTERS: Mapping[str, Callable[..., str]] = {
    "foreign": foreign, "moment": figures.moment, "iso": figures.iso, "count": _count,
}  # fmt: skip


def set_up(app: web.Application) -> None:
    """Prepare an application for pages: templates are read and made ready here, once."""
    app[TURNS] = Turns()
    app[LANGUAGES] = {code: load(code) for code in CODES}
    environment = aiohttp_jinja2.setup(
        app, loader=PackageLoader(__package__), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, auto_reload=False, default_helpers=False,
        filters=FILTERS,
    )  # fmt: skip
    environment.globals |= {"assets": ASSETS, "themes": THEMES, "navigation": NAVIGATION}
    for name in environment.list_templates():
        environment.get_template(name)


def page(view: View) -> Handler:
    """A handler that shows what a view answers."""

    async def handler(request: web.Request) -> web.StreamResponse:
        async def show(language: Language) -> web.Response:
            try:
                return _respond(request, language, await view(ask_of(request, language)))
            except NotFound as missing:
                return _fault(request, language, 404, str(missing))
            except Elsewhere as elsewhere:
                raise web.HTTPSeeOther(str(elsewhere)) from None

        return await _in_turn(request, show)

    return handler


async def _in_turn(
    request: web.Request, show: Callable[[Language], Awaitable[web.Response]]
) -> web.Response:  # fmt: skip
    """What `show` makes when its turn has come; a line of text if too many wait before it."""
    language = _language(request)
    try:
        async with request.app[TURNS].turn():
            return await show(language)
    except Busy:
        retry = {"Retry-After": str(RETRY_S)}
        return web.Response(status=503, text=language.say("fault_busy"), headers=retry)


def _language(request: web.Request) -> Language:
    return request.app[LANGUAGES][language_code(request)]


def _respond(request: web.Request, language: Language, shown: Page) -> web.Response:
    values = {**_surroundings(request, language), **shown.values}
    text = aiohttp_jinja2.render_string(f"{shown.template}.html", request, values)
    body = text.encode("utf-8", "replace")
    mark = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    headers = {"Vary": "Accept-Language, Cookie", "Cache-Control": "no-cache", "ETag": mark}
    if shown.status == 200 and mark in request.headers.get("If-None-Match", ""):
        return web.Response(status=304, headers=headers)
    return web.Response(
        body=body, status=shown.status, content_type="text/html", charset="utf-8", headers=headers
    )


def _surroundings(request: web.Request, language: Language) -> dict[str, Any]:
    """What every template may ask for."""
    node = request.app[SITE].node
    now = int(node.clock())
    params = node.ledger.params

    def span(seconds: int) -> Markup:
        key, number = figures.span(seconds)
        return language.say(key, n=number)

    return {
        "say": language.say,
        "language": language.code,
        "other_languages": [code for code in CODES if code != language.code],
        "theme": theme_of(request),
        "here": request.path_qs,
        "section": request.path.split("/")[1],
        "network": params.name.decode(),
        "ticker": params.ticker.decode(),
        "version": node.version,
        "span": span,
        "ago": lambda seconds: language.say("ago", span=span(now - seconds)),
        "query": "",
    }


def _fault(request: web.Request, language: Language, status: int, key: str) -> web.Response:
    return _respond(request, language, Page("fault", {"key": key, "code": status}, status))


_FAULTS = {404: "fault_path", 405: "fault_method", 413: "fault_size"}
_OF_THE_BODY = ("Content-Type", "Content-Length")


@web.middleware
async def dress_faults(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Show browsers a page where something is missing or went wrong; programs get a line of text."""
    headers: Mapping[str, str]
    is_browser = "text/html" in request.headers.get("Accept", "")
    try:
        return await handler(request)
    except web.HTTPException as fault:
        if fault.status < 400 or not is_browser:
            raise
        key, status, headers = _FAULTS.get(fault.status, "fault_other"), fault.status, fault.headers
    except ConnectionError:
        raise  # whoever asked went away
    except Exception as error:
        # What the disk does is told in a line; anything else is a bug, whose place counts.
        bug = None if isinstance(error, StorageError) else error
        log.error("cannot show %r: %s", request.path[:200], error, exc_info=bug)
        if not is_browser:
            raise web.HTTPInternalServerError(text="something went wrong here") from None
        key, status, headers = "fault_own", 500, {}

    async def show(language: Language) -> web.Response:
        response = _fault(request, language, status, key)
        # A password that is asked for, methods that are allowed: what programs of browsers go by.
        response.headers.extend(
            (name, value) for name, value in headers.items() if name not in _OF_THE_BODY
        )
        return response

    return await _in_turn(request, show)
