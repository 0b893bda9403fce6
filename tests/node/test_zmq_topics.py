"""News over ZeroMQ, heard by pyzmq from a real node."""

from __future__ import annotations

import socket
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest
import zmq

from consensus.hashes import to_text
from consensus.tx import NATIVE, Tx, TxOut
from node import zmq_topics
from node.config import ConfigError
from tests.support.chain import ALICE, BOB, ToyChain
from tests.support.daemon import Daemon, feed, running, wait_for
from tests.support.economy import blocks_of, rewind, ripe_chain

TOPICS = ("hashblock", "hashtx", "rawblock", "rawtx", "sequence")
SILENCE_MS = 300


class Message(NamedTuple):
    topic: str
    body: bytes
    number: int


class Ear:
    """A subscriber, and everything it heard."""

    def __init__(self, port: int, topics: tuple[str, ...] = TOPICS) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        for topic in topics:
            self._socket.subscribe(topic)
        self._socket.connect(f"tcp://127.0.0.1:{port}")
        self.heard: list[Message] = []

    def hear(self, limit_ms: int = 0) -> bool:
        """Take what has come; False if there is nothing within the limit."""
        if not self._socket.poll(limit_ms):
            return False
        topic, body, count = self._socket.recv_multipart()
        self.heard.append(Message(topic.decode(), body, int.from_bytes(count, "little")))
        return True

    def wait_for(self, topic: str, body: bytes) -> None:
        def has_come() -> bool:
            while self.hear():
                pass
            return any((each.topic, each.body) == (topic, body) for each in self.heard)

        wait_for(has_come, f"{topic} {body.hex()} is told")

    def bodies(self, topic: str) -> list[bytes]:
        return [each.body for each in self.heard if each.topic == topic]

    def close(self) -> None:
        self._context.destroy(linger=0)


class Scene:
    """A node, and the same chain here."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.toy: ToyChain = ripe_chain(20)
        feed(daemon, blocks_of(self.toy))

    def send(self, tx: Tx) -> None:
        self.daemon.call("sendrawtransaction", tx.raw.hex())

    def mine(self, *txs: Tx) -> None:
        self.toy.mine(list(txs))
        feed(self.daemon, blocks_of(self.toy)[-1:])

    @contextmanager
    def listening(self, *topics: str) -> Iterator[Ear]:
        """A subscriber that hears already: a new one misses what was told before it was known."""
        ear = Ear(self.daemon.doors["zmq"], topics or TOPICS)
        try:
            wait_for(lambda: self._is_heard(ear), "the subscriber hears")
            while ear.hear(SILENCE_MS):
                pass
            ear.heard.clear()
            yield ear
        finally:
            ear.close()

    def _is_heard(self, ear: Ear) -> bool:
        self.mine()
        return ear.hear(100)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    daemon = Daemon(tmp_path_factory.mktemp("node"), "--zmq", "tcp://127.0.0.1:0")
    with running(daemon):
        wait_for(lambda: "zmq" in daemon.doors, "it publishes")
        yield Scene(daemon)


def text(tx: Tx) -> bytes:
    return bytes.fromhex(to_text(tx.txid))


def test_block_is_told_by_its_hash_its_bytes_and_its_transactions(scene: Scene) -> None:
    with scene.listening() as ear:
        scene.mine()
        tip = scene.daemon.tip
        block = scene.toy.blocks[scene.toy.tip.hash]
        ear.wait_for("rawblock", block.raw)
        assert [body.hex() for body in ear.bodies("hashblock")] == [tip]
        assert ear.bodies("hashtx") == [text(block.txs[0])]
        assert ear.bodies("rawtx") == [block.txs[0].raw]
        assert ear.bodies("sequence") == [bytes.fromhex(tip) + b"C"]


def test_payment_is_told_when_it_comes_and_when_it_is_mined(scene: Scene) -> None:
    with scene.listening() as ear:
        number = scene.daemon.call("getrawmempool", False, True)["mempool_sequence"]
        tx = scene.toy.pay(ALICE, BOB, 1_000)
        scene.send(tx)
        told = text(tx) + b"A" + number.to_bytes(8, "little")
        ear.wait_for("sequence", told)
        after = scene.daemon.call("getrawmempool", False, True)
        assert after == {"txids": [to_text(tx.txid)], "mempool_sequence": number + 1}
        scene.mine(tx)
        ear.wait_for("sequence", bytes.fromhex(scene.daemon.tip) + b"C")
        assert ear.bodies("rawtx").count(tx.raw) == 2
        assert ear.bodies("hashtx").count(text(tx)) == 2
        assert not [body for body in ear.bodies("sequence") if body[32:33] == b"R"]
        empty = scene.daemon.call("getrawmempool", False, True)
        assert empty == {"txids": [], "mempool_sequence": number + 1}


def test_payment_that_is_replaced_is_removed_before_the_other_comes(scene: Scene) -> None:
    (coin, *_) = scene.toy.coins_of(ALICE)
    amount = scene.toy.coins[coin].amount
    first, second = (
        scene.toy.spend([coin], [TxOut(NATIVE, amount - fee, BOB.lock)], (ALICE,))
        for fee in (10_000, 90_000)
    )
    with scene.listening("sequence") as ear:
        number = scene.daemon.call("getrawmempool", False, True)["mempool_sequence"]
        scene.send(first)
        scene.send(second)
        ear.wait_for("sequence", text(second) + b"A" + (number + 2).to_bytes(8, "little"))
        assert ear.bodies("sequence") == [
            text(first) + b"A" + number.to_bytes(8, "little"),
            text(first) + b"R" + (number + 1).to_bytes(8, "little"),
            text(second) + b"A" + (number + 2).to_bytes(8, "little"),
        ]
        scene.mine(second)


def test_reorganisation_takes_blocks_off_before_it_puts_others_on(scene: Scene) -> None:
    toy = scene.toy
    tx = toy.pay(ALICE, BOB, 2_000)
    scene.send(tx)
    scene.mine(tx)
    scene.mine()
    with scene.listening("sequence", "hashblock", "rawtx") as ear:
        top = toy.tip
        gone = [top.hash, top.ancestor(top.height - 1).hash]
        height = top.height - 2
        # The blocks that woke the subscriber stand on top of the one with the payment.
        while not any(each.txid == tx.txid for each in toy.blocks[gone[-1]].txs):
            gone.append(top.ancestor(height).hash)
            height -= 1
        rewind(toy, len(gone))
        toy.mine_empty(len(gone) + 1)
        come = blocks_of(toy, height)
        for block in come:
            scene.daemon.call("submitblock", block.raw.hex())
        assert scene.daemon.tip == to_text(toy.tip.hash)
        back = wait_for(lambda: scene.daemon.call("getrawmempool", False, True), "it is back")
        assert back["txids"] == [to_text(tx.txid)]
        number = back["mempool_sequence"] - 1
        ear.wait_for("sequence", text(tx) + b"A" + number.to_bytes(8, "little"))
        ear.wait_for("hashblock", bytes.fromhex(scene.daemon.tip))
        off = [block_hash[::-1] + b"D" for block_hash in gone]
        on = [block.header.hash[::-1] + b"C" for block in come]
        blocks = [body for body in ear.bodies("sequence") if len(body) == 33]
        assert blocks == off + on
        assert ear.bodies("hashblock") == [come[-1].header.hash[::-1]]
        assert ear.bodies("rawtx").count(tx.raw) == 2  # taken off, and come back
        scene.mine(tx)


def test_counters_of_a_topic_have_no_gap(scene: Scene) -> None:
    with scene.listening() as ear:
        txs = []
        for _ in range(5):
            tx = scene.toy.pay(ALICE, BOB, 1_000)
            scene.send(tx)
            txs.append(tx)
            scene.mine(tx)
        ear.wait_for("hashblock", bytes.fromhex(scene.daemon.tip))
        ear.wait_for("rawblock", scene.toy.blocks[scene.toy.tip.hash].raw)
        counts: dict[str, list[int]] = defaultdict(list)
        for message in ear.heard:
            counts[message.topic].append(message.number)
        for topic in TOPICS:
            first = counts[topic][0]
            assert counts[topic] == list(range(first, first + len(counts[topic]))), topic


def test_topics_are_listed_by_the_rpc(scene: Scene) -> None:
    address = f"tcp://127.0.0.1:{scene.daemon.doors['zmq']}"
    assert scene.daemon.call("getzmqnotifications") == [
        {"type": f"pub{topic}", "address": address, "hwm": 1_000} for topic in TOPICS
    ]


def test_subscriber_that_never_reads_and_strangers_hold_nothing_up(scene: Scene) -> None:
    port = scene.daemon.doors["zmq"]
    deaf = zmq.Context()
    ear = deaf.socket(zmq.SUB)
    ear.setsockopt(zmq.RCVHWM, 1)
    ear.subscribe("")
    ear.connect(f"tcp://127.0.0.1:{port}")
    strangers = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
    try:
        for each in strangers:
            each.sendall(b"GET / HTTP/1.1\r\n\r\n" + bytes(100_000))
        for _ in range(30):
            scene.mine()
        assert scene.daemon.call("getblockcount") == scene.toy.tip.height
    finally:
        deaf.destroy(linger=0)
        for each in strangers:
            each.close()
    assert not [line for line in scene.daemon.log if "Traceback" in line]


def test_peers_of_the_first_protocol_are_refused(scene: Scene) -> None:
    # They show nothing, and what they send is kept without a limit.
    with socket.create_connection(("127.0.0.1", scene.daemon.doors["zmq"]), 10) as old:
        old.sendall(b"a" * 1_000)
        with suppress(ConnectionError):
            while old.recv(4_096):
                pass
    assert [line for line in scene.daemon.log if "Traceback" in line] == []


def test_topic_that_is_far_too_long_ends_its_subscriber(scene: Scene) -> None:
    def subscribe(topic: bytes) -> bool:
        context = zmq.Context()
        ear = context.socket(zmq.SUB)
        monitor = ear.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        ear.connect(f"tcp://127.0.0.1:{scene.daemon.doors['zmq']}")
        ear.subscribe(topic)
        try:
            return not monitor.poll(1_000)
        finally:
            context.destroy(linger=0)

    assert subscribe(b"hashblock")
    assert not subscribe(b"x" * 200)


def test_node_that_publishes_stops_in_good_order(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, "--zmq", "localhost:0")
    with running(daemon):
        wait_for(lambda: any("zmq at" in line for line in daemon.log), "it publishes")
        assert daemon.stop() == 0


def test_port_that_is_taken_is_told_by_the_name_of_its_option(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        daemon = Daemon(tmp_path, "--zmq", f"127.0.0.1:{port}").start(ready=False)
        assert daemon.wait() == 1
    assert daemon.log[-1] == (
        f"taeld: cannot listen at 127.0.0.1:{port}: Address already in use; give another --zmq"
    )


def test_node_without_pyzmq_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", fail)
    with pytest.raises(ConfigError) as caught:
        zmq_topics._load()
    # No package of an index is named tael: who took the name would be run with the node's rights.
    assert str(caught.value).endswith(f": {sys.executable} -m pip install pyzmq")
