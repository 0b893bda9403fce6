"""The event log as it is pushed to clients that others wrote, and to some that mean no good."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sseclient
import websocket

from node.rpc.auth import make_user, user_line
from node.rpc.method import Role
from node.web.events import STREAMS_MAX
from tests.support.chain import ToyChain
from tests.support.daemon import Daemon, feed, running, wait_for
from tests.support.economy import ripe_chain

READER = user_line(make_user("reader", "word", "salt", Role.READ))
OPTIONS = (
    "--events", "--web", "127.0.0.1:0", "--verify-processes", "0", "--outbound", "0",
    "--rpc-user", READER,
)  # fmt: skip
LIMIT_S = 20


@pytest.fixture
def toy() -> ToyChain:
    return ripe_chain()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path / "node", *OPTIONS)
    with running(daemon):
        wait_for(lambda: "web" in daemon.doors, "the web server listens")
        yield daemon


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path_factory.mktemp("node"), *OPTIONS)
    with running(daemon):
        wait_for(lambda: "web" in daemon.doors, "the web server listens")
        yield daemon


def basic(user: str) -> str:
    return "Basic " + base64.b64encode(user.encode()).decode()


def cookie(node: Daemon) -> str:
    return basic((node.datadir / ".cookie").read_text())


def mine(node: Daemon, toy: ToyChain, count: int) -> None:
    height = node.call("getblockcount")
    feed(node, [toy.blocks[toy.tip.ancestor(height + n).hash] for n in range(1, count + 1)])
    node.call("geteventsinfo")  # answered when all of it lies on the disk


def get(node: Daemon, path: str, **headers: str) -> tuple[int, str]:
    with closing(http.client.HTTPConnection("127.0.0.1", node.doors["web"], timeout=LIMIT_S)) as c:
        c.request("GET", path, headers={name.replace("_", "-"): v for name, v in headers.items()})
        response = c.getresponse()
        is_endless = response.getheader("Content-Type") == "text/event-stream"
        return response.status, "" if is_endless else response.read().decode()


class Sse:
    """A stream, as sseclient reads it."""

    def __init__(self, node: Daemon, query: str = "", **headers: str) -> None:
        self._connection = http.client.HTTPConnection(
            "127.0.0.1", node.doors["web"], timeout=LIMIT_S
        )
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named.setdefault("Authorization", cookie(node))
        self._connection.request("GET", f"/events{query}", headers=named)
        self.response = self._connection.getresponse()
        assert self.response.status == 200, self.response.read()
        self.events = sseclient.SSEClient(self._chunks()).events()

    def _chunks(self) -> Iterator[bytes]:
        while chunk := self.response.read1(65_536):
            yield chunk

    def take(self, count: int) -> list[tuple[str | None, str, Any]]:
        """Id, name and data of the next events."""
        found = (next(self.events) for _ in range(count))
        return [(event.id, event.event, json.loads(event.data)) for event in found]

    def close(self) -> None:
        self._connection.close()


def ws(node: Daemon, query: str = "", **options: Any) -> websocket.WebSocket:
    options.setdefault("header", {"Authorization": cookie(node)})
    # A program is no page: unless told otherwise, it names no origin.
    options.setdefault("suppress_origin", "origin" not in options)
    url = f"ws://127.0.0.1:{node.doors['web']}/events/ws{query}"
    return websocket.create_connection(url, timeout=LIMIT_S, **options)


def test_an_event_source_goes_on_behind_the_last_id_that_it_saw(
    node: Daemon, toy: ToyChain
) -> None:
    mine(node, toy, 2)
    with closing(Sse(node, "?after=0")) as stream:
        assert [event[0] for event in stream.take(2)] == ["1", "2"]
        mine(node, toy, 1)
        number, name, event = stream.take(1)[0]
        assert (number, name, event["kind"]) == ("3", "message", "block_connected")
    mine(node, toy, 2)
    node.kill()
    node.doors.clear()  # the port is another one each time
    node.start()
    wait_for(lambda: "web" in node.doors, "the web server listens")
    with closing(Sse(node, "?after=0", Last_Event_ID="3")) as stream:
        assert [event[0] for event in stream.take(2)] == ["4", "5"]


def test_a_stream_without_a_number_begins_with_what_comes(node: Daemon, toy: ToyChain) -> None:
    mine(node, toy, 2)
    with closing(Sse(node, "?kinds=block_connected")) as stream:
        mine(node, toy, 1)
        assert [event[0] for event in stream.take(1)] == ["3"]


def test_a_consumer_follows_and_acknowledges_over_one_websocket(
    node: Daemon, toy: ToyChain
) -> None:
    mine(node, toy, 3)
    node.call("ackevents", "till", 1)
    with closing(ws(node, "?consumer=till")) as connection:
        assert [json.loads(connection.recv())["number"] for _ in range(2)] == [2, 3]
        connection.send('{"ack": 2}')
        assert json.loads(connection.recv()) == {"acknowledged": 2}
    with closing(ws(node, "?consumer=till")) as connection:
        assert json.loads(connection.recv())["number"] == 3


def test_streams_end_when_the_node_stops(node: Daemon, toy: ToyChain) -> None:
    with closing(Sse(node)) as stream, closing(ws(node)) as connection:
        began = time.monotonic()
        assert node.stop() == 0
        assert time.monotonic() - began < 5
        assert list(stream.events) == []
        assert connection.recv() == ""


@pytest.mark.parametrize("path", ["/events", "/events/ws"])
def test_strangers_are_told_nothing(shared: Daemon, path: str) -> None:
    assert get(shared, path)[0] == 401
    assert get(shared, path, Authorization=basic("reader:wrong"))[0] == 401


@pytest.mark.parametrize(
    "query",
    ["?after=-1", "?after=x", "?after=" + "9" * 16, "?after=5", "?kinds=x", "?consumer=x", "?x=1"],
)
def test_questions_that_make_no_sense_are_told_why(shared: Daemon, query: str) -> None:
    status, text = get(shared, f"/events{query}", Authorization=basic("reader:word"))
    assert (status, "\n" in text, bool(text)) == (400, False, True)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1"])
def test_a_page_from_elsewhere_cannot_follow_with_a_password_that_a_browser_knows(
    shared: Daemon, origin: str
) -> None:
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        ws(shared, origin=origin)
    assert refused.value.status_code == 403


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "null", "http://]["])
def test_an_origin_that_is_none_is_refused_and_leaves_no_trace(shared: Daemon, origin: str) -> None:
    before = len(shared.log)
    assert get(shared, "/events/ws", Origin=origin)[0] == 403
    assert shared.log[before:] == []


def test_a_page_of_this_node_can_follow(shared: Daemon) -> None:
    ws(shared, origin=f"http://127.0.0.1:{shared.doors['web']}").close()


@pytest.mark.parametrize(
    ("user", "query", "text"),
    [
        (None, "", '{"ack": 0}'),
        ("reader:word", "?consumer=till", '{"ack": 0}'),
        (None, "?consumer=till", '{"ack": -1}'),
        (None, "?consumer=till", '{"ack": 1000000}'),
        (None, "?consumer=till", '{"ack": "1"}'),
        (None, "?consumer=till", '{"ack": 0, "more": 1}'),
        (None, "?consumer=till", "not JSON"),
        (None, "?consumer=till", "[" * 500),
        (None, "?consumer=till", '{"ack": 1e400}'),
    ],
)
def test_who_says_something_else_on_a_websocket_is_shown_the_door(
    shared: Daemon, user: str | None, query: str, text: str
) -> None:
    shared.call("ackevents", "till", 0)
    header = {"Authorization": basic(user) if user else cookie(shared)}
    with closing(ws(shared, query, header=header)) as connection:
        connection.send(text)
        code, data = connection.recv_data()
        assert (code, data[:2]) == (websocket.ABNF.OPCODE_CLOSE, (1008).to_bytes(2, "big"))


def test_a_message_that_is_too_long_ends_the_websocket(shared: Daemon) -> None:
    with closing(ws(shared)) as connection:
        connection.send("x" * 2_000)
        code, data = connection.recv_data()
        assert (code, data[:2]) == (websocket.ABNF.OPCODE_CLOSE, (1009).to_bytes(2, "big"))


def test_there_are_places_for_so_many_and_no_more(shared: Daemon) -> None:
    streams = [Sse(shared) for _ in range(STREAMS_MAX)]
    try:
        status, text = get(shared, "/events", Authorization=cookie(shared))
        assert (status, str(STREAMS_MAX) in text) == (503, True)
    finally:
        for stream in streams:
            stream.response.close()
            stream.close()
    wait_for(lambda: _has_room(shared), "there is room again", 5)


def _has_room(node: Daemon) -> bool:
    try:
        Sse(node).close()
    except AssertionError:
        return False
    return True


def test_half_a_request_and_bytes_that_are_none_do_not_matter(shared: Daemon) -> None:
    for data in (b"GET /events HTTP/1.1\r\nHost: loc", b"\x00" * 4_000, b"GET /events/ws\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", shared.doors["web"])) as raw:
            raw.sendall(data)
    assert get(shared, "/health")[0] == 200
    assert not any("Traceback" in line for line in shared.log)


@pytest.mark.parametrize("frame", [b"\x89\x80\0\0\0\0", b"\x8a\x80\0\0\0\0"], ids=["ping", "pong"])
def test_who_sends_pings_without_end_is_cut_and_holds_nobody_up(
    shared: Daemon, frame: bytes
) -> None:
    with closing(ws(shared, header={"Authorization": basic("reader:word")})) as connection:
        opened = connection.sock
        assert opened is not None
        opened.settimeout(LIMIT_S)
        with pytest.raises(ConnectionError):
            opened.sendall(frame * 4_000_000)
    assert shared.call("getblockcount") == 0


def test_a_client_may_ping_now_and_then(shared: Daemon) -> None:
    with closing(ws(shared)) as connection:
        for number in range(20):
            connection.ping(str(number))
            assert connection.recv_data(control_frame=True) == (9 + 1, str(number).encode())
