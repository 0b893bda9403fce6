"""What tests of pages share: one node with a showcase, and how to ask it."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element

import html5lib

from tests.support.daemon import Daemon, running, wait_for
from tests.support.showcase import Showcase, tell

NAMES = (
    "overview", "blocks", "block", "transaction", "address", "payment", "assets", "asset",
    "mempool", "peers", "search",
)  # fmt: skip
"""Of the pages of a showcase."""


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    text: str


class Site:
    """The web server of a node."""

    def __init__(self, daemon: Daemon, showcase: Showcase | None = None) -> None:
        self.daemon = daemon
        self.paths = showcase.paths if showcase else {}

    @property
    def port(self) -> int:
        return self.daemon.doors["web"]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, **headers: str) -> Answer:
        """Ask as a browser does; `accept_language` is the header of that name."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        sent = {"accept": "text/html"} | {k.replace("_", "-"): v for k, v in headers.items()}
        try:
            connection.request("GET", path, headers=sent)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read().decode())
        finally:
            connection.close()


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[Site]:
    """A node on regtest with pages."""
    daemon = Daemon(folder, "--web", "127.0.0.1:0", *options)
    with running(daemon):
        wait_for(lambda: "web" in daemon.doors, "the web server listens")
        yield Site(daemon)


@contextmanager
def showing(folder: Path) -> Iterator[Site]:
    """A node with the showcase on it, and another one that it is connected to."""
    showcase = tell(int(time.time()))
    network = showcase.network(folder)
    other = Daemon(folder / "other", network=network)
    with running(other):
        daemon = Daemon(
            folder / "node", "--web", "127.0.0.1:0", "--connect", other.p2p, network=network
        )
        with running(daemon):
            wait_for(lambda: "web" in daemon.doors, "the web server listens")
            showcase.play(daemon)
            wait_for(lambda: daemon.call("getconnectioncount"), "the nodes connect")
            yield Site(daemon, showcase)


def parse(text: str) -> Element:
    """The tree of a page. Raises: html5lib's ParseError where it is not valid."""
    tree: Element = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(text)
    return tree
