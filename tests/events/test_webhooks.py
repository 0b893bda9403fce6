"""Webhooks of a real node: signed, in order, again until taken, and from where they were after a kill."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.chain import ToyChain
from tests.support.daemon import Daemon, RpcFailure, feed, running, wait_for
from tests.support.economy import ripe_chain

OPTIONS = ("--events", "--verify-processes", "0", "--outbound", "0")
PART_S = 0.5


class Receiver:
    """A web server that takes webhooks as `behave` says, and remembers all that came."""

    def __init__(self) -> None:
        self.posts: list[tuple[dict[str, str], bytes]] = []
        self.taken: list[dict[str, Any]] = []
        """Events that were answered with 204."""
        self.behave: Callable[[Handler], None] = take
        receiver = self

        class Bound(Handler):
            owner = receiver

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def numbers(self) -> list[int]:
        return [event["number"] for event in self.taken]


class Handler(BaseHTTPRequestHandler):
    owner: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.owner.posts.append((dict(self.headers.items()), body))
        self.body = body
        self.owner.behave(self)

    do_GET = do_POST

    def log_message(self, format: str, *args: object) -> None:
        """Tests say what they need to know."""


def take(handler: Handler) -> None:
    handler.owner.taken += json.loads(handler.body)["events"]
    answer(204)(handler)


def answer(status: int, **headers: str) -> Callable[[Handler], None]:
    def act(handler: Handler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return act


def break_off(handler: Handler) -> None:
    handler.connection.close()


def flood(handler: Handler) -> None:
    """An answer without an end."""
    handler.send_response(200)
    handler.end_headers()
    handler.owner.taken += json.loads(handler.body)["events"]
    try:
        while True:
            handler.wfile.write(b"x" * 65_536)
    except OSError:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.close()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path / "node", *OPTIONS)
    with running(daemon):
        yield daemon


@pytest.fixture
def toy() -> ToyChain:
    return ripe_chain()


def mine(node: Daemon, toy: ToyChain, count: int) -> None:
    height = node.call("getblockcount")
    feed(node, [toy.blocks[toy.tip.ancestor(height + n).hash] for n in range(1, count + 1)])


def hook_of(node: Daemon) -> dict[str, Any]:
    (found,) = node.call("listwebhooks")
    assert isinstance(found, dict)
    return found


def test_a_receiver_can_tell_by_the_signature_that_the_node_sent_it(
    node: Daemon, toy: ToyChain, receiver: Receiver
) -> None:
    hook = node.call("addwebhook", receiver.url)
    mine(node, toy, 2)
    wait_for(lambda: receiver.numbers == [1, 2], "both events are taken")
    headers, body = receiver.posts[0]
    wanted = hmac.new(
        hook["secret"].encode(), headers["Tael-Timestamp"].encode() + b"." + body, hashlib.sha256
    )
    assert headers["Tael-Signature"] == f"sha256={wanted.hexdigest()}"
    assert headers["Tael-Webhook"] == hook["webhook"] == json.loads(body)["webhook"]
    assert abs(int(headers["Tael-Timestamp"]) - time.time()) < 60
    assert headers["Content-Type"] == "application/json"
    assert "secret" not in hook_of(node)


@pytest.mark.parametrize(
    ("fails", "told"),
    [
        (answer(500), "answered 500"),
        (answer(302, Location="/elsewhere"), "answered 302"),
        (break_off, "disconnected"),
    ],
    ids=["500", "redirect", "broken off"],
)
def test_what_was_not_taken_is_sent_again_in_order(
    node: Daemon, toy: ToyChain, receiver: Receiver, fails: Callable[[Handler], None], told: str
) -> None:
    receiver.behave = fails
    node.call("addwebhook", receiver.url)
    mine(node, toy, 3)
    wait_for(lambda: len(receiver.posts) >= 2, "it is tried again")
    failing = hook_of(node)
    assert failing["state"] == "failing"
    assert told in failing["error"].lower()
    receiver.behave = take
    wait_for(lambda: receiver.numbers == [1, 2, 3], "all events are taken")
    wait_for(lambda: hook_of(node)["acknowledged"] == 3, "that is known")
    assert hook_of(node)["error"] is None


def test_no_redirect_is_followed(node: Daemon, toy: ToyChain, receiver: Receiver) -> None:
    other = Receiver()
    try:
        receiver.behave = answer(307, Location=other.url)
        node.call("addwebhook", receiver.url)
        mine(node, toy, 1)
        wait_for(lambda: len(receiver.posts) >= 2, "it is tried again")
        assert other.posts == []
    finally:
        other.close()


def test_an_answer_without_an_end_counts_by_its_status(
    node: Daemon, toy: ToyChain, receiver: Receiver
) -> None:
    receiver.behave = flood
    node.call("addwebhook", receiver.url)
    mine(node, toy, 1)
    wait_for(lambda: hook_of(node)["acknowledged"] == 1, "the event counts as taken")
    mine(node, toy, 1)
    wait_for(lambda: receiver.numbers == [1, 2], "the next comes on another connection")


def test_a_receiver_that_hangs_keeps_nobody_else_waiting(
    node: Daemon, toy: ToyChain, receiver: Receiver
) -> None:
    ends = threading.Event()
    slow = Receiver()
    slow.behave = lambda handler: (ends.wait(30), None)[1]
    try:
        node.call("addwebhook", slow.url)
        node.call("addwebhook", receiver.url)
        mine(node, toy, 2)
        wait_for(lambda: receiver.numbers == [1, 2], "the other receiver is served")
        began = time.monotonic()
        assert node.stop() == 0
        assert time.monotonic() - began < 5
    finally:
        ends.set()
        slow.close()


def test_after_a_kill_a_webhook_goes_on_where_it_was(
    node: Daemon, toy: ToyChain, receiver: Receiver
) -> None:
    node.call("addwebhook", receiver.url, ["block_connected"])
    mine(node, toy, 3)
    wait_for(lambda: hook_of(node)["acknowledged"] == 3, "three are taken")
    node.call("geteventsinfo")
    node.kill()
    receiver.behave = answer(503)
    node.start()
    mine(node, toy, 2)
    node.kill()
    receiver.behave = take
    node.start()
    wait_for(lambda: receiver.numbers[-1:] == [5], "the rest is taken")
    assert receiver.numbers == [1, 2, 3, 4, 5]


def test_kinds_that_were_not_asked_for_are_passed_over(
    node: Daemon, toy: ToyChain, receiver: Receiver
) -> None:
    node.call("addwebhook", receiver.url, ["payment_confirmed"])
    mine(node, toy, 3)
    wait_for(lambda: hook_of(node)["acknowledged"] == 3, "they are passed over")
    assert receiver.posts == []


def test_a_webhook_that_was_removed_gets_nothing_any_more(
    node: Daemon, toy: ToyChain, receiver: Receiver
) -> None:
    receiver.behave = answer(500)
    hook = node.call("addwebhook", receiver.url)["webhook"]
    mine(node, toy, 1)
    wait_for(lambda: receiver.posts, "it is tried")
    assert node.call("removewebhook", hook) is True
    assert node.call("listwebhooks") == []
    tried = len(receiver.posts)
    receiver.behave = take
    mine(node, toy, 1)
    node.call("geteventsinfo")
    time.sleep(PART_S)
    assert len(receiver.posts) == tried


def test_a_seventeenth_webhook_is_refused(node: Daemon, receiver: Receiver) -> None:
    for _ in range(16):
        node.call("addwebhook", receiver.url)
    with pytest.raises(RpcFailure, match="16 webhooks"):
        node.call("addwebhook", receiver.url)
