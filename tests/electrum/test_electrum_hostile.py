"""Clients that mean no good: the node goes on answering, and its memory stays."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.alive import memory_bytes
from tests.support.chain import ALICE, BOB, ToyChain
from tests.support.daemon import Daemon, feed, running, wait_for
from tests.support.economy import blocks_of, ripe_chain
from tests.support.electrum import (
    ElectrumFailure,
    Wire,
    electrum_port,
    scripthash_of_lock,
    status_of,
    wire,
)

ANSWER_S_MAX = 1.0
GROWTH_BYTES_MAX = 96 << 20
CLIENTS_MAX = 96


@pytest.fixture(scope="module")
def toy() -> ToyChain:
    """Whose blocks the node has."""
    return ripe_chain(5)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, toy: ToyChain) -> Iterator[Daemon]:
    found = Daemon(
        tmp_path_factory.mktemp("node"), "--electrum", "127.0.0.1:0", "--verify-processes", "0"
    )
    with running(found):
        electrum_port(found)
        feed(found, blocks_of(toy))
        yield found


def expect_quick(daemon: Daemon) -> None:
    """Both doors answer in good time, and nothing failed."""
    began = time.monotonic()
    daemon.call("getblockcount")
    with wire(daemon) as client:
        client.call("server.ping")
    assert time.monotonic() - began < ANSWER_S_MAX
    assert not [line for line in daemon.log if "Traceback" in line or "ERROR" in line]


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.1\r\n\r\n", b"\x00\xff\xfe\n", b"[" * 100_000 + b"\n", b'"' + b"x" * 300_000,
        b'{"a":' * 50_000 + b"\n", b"\n", b"\xc3\x28\n", b"x" * 300_000 + b"\n",
    ],
)  # fmt: skip
def test_what_is_no_request_ends_the_connection(daemon: Daemon, line: bytes) -> None:
    with wire(daemon) as client, contextlib.suppress(ConnectionError):
        client.send(line)
        while (answer := client.read()) is not None:
            assert answer["error"]["code"] == -32700
    expect_quick(daemon)


@pytest.mark.parametrize(
    "request_line",
    [
        b"7", b"1e999999999",
        b'"x"', b"null", b"{}", b'{"id":{},"method":"server.ping"}', b'{"id":1,"method":7}',
        b'{"id":1,"method":"server.ping","params":"x"}', b'{"id":1,"method":"server.ping","params":[1]}',
        b'{"id":1,"method":"server.version","params":[{},{"a":[]}]}',
        b'{"id":1,"method":"server.ping","params":{"x":1}}',
        b'{"id":1,"method":"blockchain.block.headers","params":[0,1e400]}',
        b'{"id":1,"method":"blockchain.block.headers","params":[0,99999999999999999999999]}',
    ],
)  # fmt: skip
def test_what_is_a_wrong_request_gets_an_error(daemon: Daemon, request_line: bytes) -> None:
    with wire(daemon) as client:
        client.send(request_line + b"\n")
        assert client.read()["error"]["code"] in (1, -32600, -32602, -32700)
    expect_quick(daemon)


def test_subscriptions_of_one_client_have_an_end(daemon: Daemon) -> None:
    before = memory_bytes(daemon.pid)
    with wire(daemon) as client:
        for first in range(0, 10_000, 500):
            batch = [
                {"id": n, "method": "blockchain.scripthash.subscribe", "params": [f"{n:064x}"]}
                for n in range(first, first + 500)
            ]
            client.send(json.dumps(batch).encode() + b"\n")
            answers = client.read()
            if first == 0:
                assert all(each["result"] is None for each in answers)
            elif first >= 5_000:
                assert all(each["error"]["code"] == 1 for each in answers)
                break
        expect_quick(daemon)
        with pytest.raises(ElectrumFailure, match="at most 5000"):
            client.call("blockchain.scripthash.subscribe", "ff" * 32)
    assert memory_bytes(daemon.pid) - before < GROWTH_BYTES_MAX


def test_client_that_asks_too_much_waits_and_others_do_not(daemon: Daemon) -> None:
    ping = {"id": 1, "method": "server.ping"}
    with wire(daemon) as client:
        batch = json.dumps([ping] * 500).encode() + b"\n"
        began = time.monotonic()
        for _ in range(11):
            client.send(batch)
            client.read()
            expect_quick(daemon)
        assert time.monotonic() - began > 0.7


def test_clients_that_never_read_are_dropped_or_held_back(daemon: Daemon) -> None:
    before = memory_bytes(daemon.pid)
    ask = {"id": 1, "method": "blockchain.block.headers", "params": [0, 2_016]}
    line = json.dumps(ask).encode() + b"\n"
    deaf = [socket.create_connection(("127.0.0.1", electrum_port(daemon))) for _ in range(60)]
    try:
        for each in deaf:
            each.settimeout(0.05)
            with contextlib.suppress(TimeoutError, ConnectionError):
                for _ in range(200):
                    each.sendall(line * 50)
        for _ in range(5):
            expect_quick(daemon)
    finally:
        for each in deaf:
            each.close()
    assert memory_bytes(daemon.pid) - before < GROWTH_BYTES_MAX


def test_client_that_reads_nothing_keeps_no_news_from_others(daemon: Daemon, toy: ToyChain) -> None:
    with wire(daemon) as deaf, wire(daemon) as client:
        deaf.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        for each in (deaf, client):
            each.call("blockchain.scripthash.subscribe", scripthash_of_lock(BOB.lock))
        tx = toy.pay(ALICE, BOB, 1_000)
        daemon.call("sendrawtransaction", tx.raw.hex())
        history = client.call("blockchain.scripthash.get_history", scripthash_of_lock(BOB.lock))
        client.wait_for_status(scripthash_of_lock(BOB.lock), status_of(history))


def test_idle_clients_give_way_to_new_ones(daemon: Daemon) -> None:
    with wire(daemon) as busy, contextlib.ExitStack() as stack:
        busy.call("server.version", "test", "1.4")
        idle = [
            socket.create_connection(("127.0.0.1", electrum_port(daemon)))
            for _ in range(CLIENTS_MAX + 30)
        ]
        for each in idle:
            stack.callback(each.close)
        for _ in range(5):
            expect_quick(daemon)
        # Who has asked before outlasts who never did.
        assert busy.call("server.ping") is None

        def is_ended(each: socket.socket) -> bool:
            each.settimeout(0.01)
            with contextlib.suppress(TimeoutError):
                try:
                    return each.recv(1) == b""
                except ConnectionError:
                    return True
            return False

        wait_for(lambda: is_ended(idle[0]), "the oldest idle client is gone")


def test_half_a_line_keeps_nobody_waiting(daemon: Daemon) -> None:
    halves = [Wire(electrum_port(daemon)) for _ in range(20)]
    try:
        for each in halves:
            each.send(b'{"id":1,"method":"server.')
        halves[0].socket.shutdown(socket.SHUT_WR)
        assert halves[0].read() is None
        expect_quick(daemon)
        halves[1].send(b'ping"}\n')
        assert halves[1].read()["result"] is None
    finally:
        for each in halves:
            each.close()


def test_port_that_is_taken_is_told_by_the_name_of_its_option(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        daemon = Daemon(tmp_path, "--electrum", f"127.0.0.1:{port}").start(ready=False)
        assert daemon.wait() == 1
    assert daemon.log[-1] == (
        f"taeld: cannot listen at 127.0.0.1:{port}: Address already in use; give another --electrum"
    )


def confirmed(daemon: Daemon) -> list[dict[str, Any]]:
    with wire(daemon) as client:
        rows = client.call("blockchain.scripthash.get_history", scripthash_of_lock(ALICE.lock))
    return [row for row in rows if row["height"] > 0]


def test_node_that_was_killed_answers_for_all_addresses_again(daemon: Daemon) -> None:
    before = confirmed(daemon)
    daemon.kill()
    daemon.doors.clear()
    daemon.start()
    assert confirmed(daemon) == before != []


def test_server_without_an_index_is_refused(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, "--electrum", "127.0.0.1", "--no-index").start(ready=False)
    assert daemon.wait() != 0
    assert "electrum: addresses cannot be looked up without the index" in daemon.log[-1]
