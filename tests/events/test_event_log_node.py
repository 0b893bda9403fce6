"""The event log of a real node: what it tells, to whom, and what it remembers over a restart."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from consensus.address import encode_address
from consensus.hashes import LockHash
from node.rpc.methods_events import WAITING_MAX
from tests.support.chain import ALICE, BOB, CAROL, ToyChain
from tests.support.daemon import Daemon, RpcFailure, feed, running, wait_for
from tests.support.economy import blocks_of, rewind, ripe_chain

OPTIONS = ("--events", "--verify-processes", "0", "--outbound", "0")


@pytest.fixture
def toy() -> ToyChain:
    return ripe_chain()


@pytest.fixture
def node(tmp_path: Path, toy: ToyChain) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path / "node", *OPTIONS)
    with running(daemon):
        feed(daemon, blocks_of(toy))
        yield daemon


def told(node: Daemon, after: int, *kinds: str) -> list[dict[str, Any]]:
    """Events behind `after`, of these kinds."""
    last(node)
    page = node.call("getevents", after, 1000, 0, kinds)
    events: list[dict[str, Any]] = page["events"]
    return events


def last(node: Daemon) -> int:
    return int(node.call("geteventsinfo")["last"])


def test_a_payment_is_told_when_it_is_seen_confirmed_reversed_and_seen_again(
    node: Daemon, toy: ToyChain
) -> None:
    node.call("watchaddress", BOB.address(), "shop")
    start = last(node)
    tx = toy.pay(ALICE, BOB, 12_345)
    node.call("sendrawtransaction", tx.raw.hex())
    block = toy.mine([tx])
    feed(node, [block])
    rewind(toy, 1)
    others = [toy.mine(), toy.mine()]
    for other in others:
        node.call("submitblock", other.raw.hex())
    events = told(node, start)
    assert [event["kind"] for event in events] == [
        "payment_seen", "block_connected", "payment_confirmed", "block_disconnected",
        "payment_reversed", "block_connected", "block_connected", "payment_seen",
    ]  # fmt: skip
    assert [event["number"] for event in events] == list(range(start + 1, start + 9))
    seen, connected, confirmed, disconnected, reversal = events[:5]
    txid = tx.txid[::-1].hex()
    for event in (seen, confirmed, reversal, events[-1]):
        assert (event["txid"], event["vout"], event["units"]) == (txid, 0, 12_345)
        assert (event["address"], event["label"], event["asset"]) == (BOB.address(), "shop", "")
    block_hash = block.header.hash[::-1].hex()
    assert connected["hash"] == disconnected["hash"] == confirmed["blockhash"] == block_hash
    assert (connected["payments"], disconnected["reversals"]) == (1, 1)
    assert reversal["reverses"] == confirmed["number"]


def test_numbers_watches_and_acknowledgements_are_there_after_a_kill(
    node: Daemon, toy: ToyChain
) -> None:
    node.call("watchaddress", BOB.address(), "shop")
    tx = toy.pay(ALICE, BOB, 777)
    feed(node, [toy.mine([tx])])
    before = told(node, 0)
    assert node.call("ackevents", "till", 7) == 7
    name = node.call("geteventsinfo")["log"]
    node.kill()
    node.start()
    assert told(node, 0) == before
    assert node.call("getevents", None, 1, 0, None, "till")["events"] == before[7:8]
    assert node.call("geteventsinfo")["log"] == name
    assert node.call("listwatched")["addresses"] == [
        {"address": BOB.address(), "label": "shop", "since": 107, "scanning": False}
    ]
    assert node.stop() == 0


def test_the_past_of_an_address_is_told_and_reversed_like_all_else(
    node: Daemon, toy: ToyChain
) -> None:
    first = toy.pay(ALICE, CAROL, 1_000)
    feed(node, [toy.mine([first]), toy.mine()])
    start = last(node)
    node.call("watchaddress", CAROL.address(), "", 0)
    page = node.call("getevents", start, 10, 20)
    assert [(event["kind"], event["past"], event["height"]) for event in page["events"]] == [
        ("payment_confirmed", True, 107)
    ]
    rewind(toy, 2)
    for other in (toy.mine(), toy.mine(), toy.mine()):
        node.call("submitblock", other.raw.hex())
    reversals = told(node, start, "payment_reversed")
    assert [event["reverses"] for event in reversals] == [start + 1]


def test_what_was_told_is_taken_back_though_nobody_watches_any_more(
    node: Daemon, toy: ToyChain
) -> None:
    node.call("watchaddress", BOB.address())
    start = last(node)
    tx = toy.pay(ALICE, BOB, 5_000)
    node.call("sendrawtransaction", tx.raw.hex())
    node.call("unwatchaddress", BOB.address())
    feed(node, [toy.mine([tx])])
    rewind(toy, 1)
    for other in (toy.mine(), toy.mine()):
        node.call("submitblock", other.raw.hex())
    kinds = [event["kind"] for event in told(node, start) if "payment" in event["kind"]]
    assert kinds == ["payment_seen", "payment_confirmed", "payment_reversed"]


def test_a_replacement_names_what_took_its_place(node: Daemon, toy: ToyChain) -> None:
    node.call("watchaddress", BOB.address())
    start = last(node)
    first, second = toy.pay(ALICE, BOB, 5_000), toy.pay(ALICE, BOB, 6_000, fee=90_000)
    rival = toy.pay(ALICE, CAROL, 7_000)
    for tx in (first, second):
        node.call("sendrawtransaction", tx.raw.hex())
    feed(node, [toy.mine([rival])])
    dropped = told(node, start, "payment_dropped")
    assert [(event["reason"], event["by"], event["units"]) for event in dropped] == [
        ("replaced", second.txid[::-1].hex(), 5_000), ("conflict", rival.txid[::-1].hex(), 6_000),
    ]  # fmt: skip


def test_a_node_that_stops_keeps_nobody_waiting(node: Daemon) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(node.call, "getevents", -1, 10, 60)
        wait_for(lambda: not waiting.done(), "it waits")
        began = time.monotonic()
        assert node.stop() == 0
        assert time.monotonic() - began < 5
        with pytest.raises((RpcFailure, OSError)):
            waiting.result(10)


def test_crowd_that_waits_for_events_leaves_room_for_other_calls(node: Daemon) -> None:
    newest, crowd = last(node), 40
    with ThreadPoolExecutor(crowd) as pool:
        waiting = [pool.submit(node.call, "getevents", newest, 1, 60) for _ in range(crowd)]
        wait_for(lambda: sum(not each.done() for each in waiting) <= WAITING_MAX, "some wait")
        assert node.call("getblockcount") > 0
        node.call("stop")
        assert {tuple(each.result()["events"]) for each in waiting if not each.exception()} == {()}


def test_a_call_waits_until_there_is_something_to_tell(node: Daemon, toy: ToyChain) -> None:
    start = last(node)
    assert node.call("getevents", -1)["events"] == []
    feed(node, [toy.mine()])
    page = node.call("getevents", start, 10, 30, ["block_connected"])
    assert [event["height"] for event in page["events"]] == [107]


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("getevents", (10**6,), -8),
        ("getevents", (0, 10, 0, ["no_such_kind"]), -8),
        ("getevents", (None, 10, 0, None, "nobody"), -8),
        ("getevents", (0, 10, 61), -8),
        ("getevents", (0, 1001), -8),
        ("ackevents", ("a/b", 1), -8),
        ("ackevents", ("x" * 65, 1), -8),
        ("ackevents", ("till", 10**6), -8),
        ("ackevents", ("till", -1), -8),
        ("watchaddress", (BOB.address(), "x" * 101), -8),
        ("watchaddress", (BOB.address(), "", -1), -8),
        ("watchaddress", ("nonsense",), -5),
        ("listwatched", (10, "-1"), -22),
        ("addwebhook", ("ftp://example.com",), -8),
        ("addwebhook", ("http://user:word@example.com",), -8),
        ("addwebhook", ("http://",), -8),
        ("addwebhook", ("http://example.com:0",), -8),
        ("addwebhook", ("http://example.com:99999",), -8),
        ("addwebhook", ("http://exam ple.com",), -8),
        ("addwebhook", ("http://example.com/#part",), -8),
        ("addwebhook", ("http://example.com/" + "x" * 2000,), -8),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    shared: Daemon, method: str, params: tuple[object, ...], code: int
) -> None:
    with pytest.raises(RpcFailure) as failure:
        shared.call(method, *params)
    assert failure.value.code == code, failure.value.message


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path_factory.mktemp("node"), *OPTIONS)
    with running(daemon):
        yield daemon


def test_many_addresses_are_watched_at_once_and_listed_in_pages(tmp_path: Path) -> None:
    addresses = [encode_address("rtael", LockHash(n.to_bytes(32, "big"))) for n in range(1, 1_501)]
    daemon = Daemon(tmp_path / "node", *OPTIONS)
    with running(daemon):
        assert daemon.call("watchaddresses", addresses[:1000]) == {"count": 1_000}
        assert daemon.call("watchaddresses", addresses[1000:], "new") == {"count": 1_500}
        first = daemon.call("listwatched", 1000)
        second = daemon.call("listwatched", 1000, first["cursor"])
        assert second["cursor"] is None
        found = first["addresses"] + second["addresses"]
        assert {row["address"] for row in found} == set(addresses)
        assert len(found) == 1_500
        assert sum(row["label"] == "new" for row in found) == 500
        assert daemon.call("unwatchaddress", addresses[0]) is True
        assert daemon.call("geteventsinfo")["watched"] == 1_499


def test_what_is_not_there_is_not_removed(shared: Daemon) -> None:
    assert shared.call("unwatchaddress", BOB.address()) is False
    assert shared.call("removeconsumer", "nobody") is False
    assert shared.call("removewebhook", "nobody") is False


def test_a_node_without_the_log_says_how_to_have_one(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "node", "--outbound", "0")
    with running(daemon):
        with pytest.raises(RpcFailure, match="--events"):
            daemon.call("getevents")
        assert not (tmp_path / "node" / "events").exists()
