"""Many at once at the web server: readers that rest, that leave, that ask for everything."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from node.descriptors import WEB_MAX
from node.web.live import LIVE_SHARE
from tests.support.chain import BOB
from tests.support.daemon import wait_for
from tests.web.site import Site, serving

STREAM = b"GET /live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(tmp_path_factory.mktemp("crowd")) as found:
        found.daemon.call("generatetoaddress", 60, BOB.address())
        yield found


def dial(site: Site, stack: ExitStack, data: bytes = b"") -> socket.socket:
    """A connection that has sent `data`, and stays open as long as `stack`."""
    connection = stack.enter_context(socket.create_connection(("127.0.0.1", site.port), 10))
    connection.sendall(data)
    return connection


def status(connection: socket.socket) -> int:
    """Of the answer that comes; 0 if the connection is closed instead."""
    try:
        line = connection.recv(4_096).split(b" ")
    except ConnectionError:
        return 0
    return int(line[1]) if len(line) > 1 else 0


@pytest.mark.parametrize(
    "data", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "]
)
def test_connections_that_never_ask_leave_room_for_readers(site: Site, data: bytes) -> None:
    with ExitStack() as stack:
        for _ in range(WEB_MAX + 20):
            dial(site, stack, data)
        for _ in range(5):
            assert site.get("/").status == 200


def test_open_pages_are_counted_and_leave_room_for_readers(site: Site) -> None:
    most = WEB_MAX // LIVE_SHARE
    with ExitStack() as stack:
        open_pages = [dial(site, stack, STREAM) for _ in range(most)]
        assert {status(each) for each in open_pages} == {200}
        assert status(dial(site, stack, STREAM)) == 503
        assert site.get("/").status == 200
        open_pages.pop().close()
        wait_for(lambda: status(dial(site, stack, STREAM)) == 200, "its place is free again")


def test_open_page_hears_of_blocks_and_many_at_once_are_few(site: Site) -> None:
    with ExitStack() as stack:
        page = wait_for(lambda: listening(site, stack), "there is a place")
        assert page is not None
        heard = b""

        def hears(count: int) -> bool:
            nonlocal heard
            heard += page.recv(4_096)
            return heard.count(b"data: ") >= count

        wait_for(lambda: hears(1), "the present state is told")
        for _ in range(10):
            site.daemon.call("generatetoaddress", 4, BOB.address())
        wait_for(lambda: hears(2), "the new blocks are told")
        site.daemon.call("generatetoaddress", 1, BOB.address())
        wait_for(lambda: hears(3), "the last block is told")
        assert heard.count(b"data: ") <= 6


def listening(site: Site, stack: ExitStack) -> socket.socket | None:
    """An open page, if there is a place for one."""
    page = dial(site, stack, STREAM)
    return page if page.recv(len(b"HTTP/1.1 200"))[-3:] == b"200" else None


def test_crowd_waits_for_its_pages_and_nobody_for_the_crowd(site: Site) -> None:
    answers: Counter[int] = Counter()
    ends = time.monotonic() + 3

    def read() -> None:
        while time.monotonic() < ends:
            try:
                answers[site.get("/").status] += 1
            except OSError:
                answers[0] += 1

    readers = [threading.Thread(target=read) for _ in range(24)]
    for reader in readers:
        reader.start()
    waits: list[float] = []
    while time.monotonic() < ends:
        began = time.monotonic()
        site.daemon.call("getblockcount")
        waits.append(time.monotonic() - began)
        time.sleep(0.01)
    for reader in readers:
        reader.join()
    assert set(answers) <= {200, 503}
    assert answers[200] > 50
    waits.sort()
    # On two busy cores: the page that is being made, this process's threads, and some to spare.
    assert waits[len(waits) // 2] < 0.25


def test_what_is_no_http_is_logged_now_and_then_and_not_each_time(site: Site) -> None:
    before = len(site.daemon.log)
    with ExitStack() as stack:
        for _ in range(40):
            connection = dial(site, stack, b"GET / HTTP/1.1\r\nno header\r\n\r\n")
            assert status(connection) in (0, 400)
    wait_for(lambda: len(site.daemon.log) > before, "it is logged")
    new = site.daemon.log[before:]
    assert all("not HTTP, on the web server" in line for line in new)
    assert len(new) < 8
    assert not any("Traceback" in line for line in new)


def test_readers_that_leave_in_the_middle_leave_no_trace(site: Site) -> None:
    before = len(site.daemon.log)
    for data in (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", STREAM):
        for _ in range(50):
            with ExitStack() as stack:
                dial(site, stack, data)
    assert site.get("/").status == 200
    assert site.daemon.log[before:] == []


def test_node_with_open_pages_stops_at_once(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with serving(tmp_path_factory.mktemp("stopping")) as site, ExitStack() as stack:
        assert status(dial(site, stack, STREAM)) == 200
        began = time.monotonic()
        assert site.daemon.stop() == 0
        assert time.monotonic() - began < 20
        assert not any("Traceback" in line for line in site.daemon.log)
