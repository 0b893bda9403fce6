"""The Electrum server of a real node, asked on the wire: shapes, proofs, news."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from consensus.asset import asset_id
from consensus.hashes import hash_leaf, to_text
from consensus.tx import NATIVE, AssetDefinition, Issue, Tx, TxOut
from tests.support.chain import ALICE, BOB, CAROL, DAVE, Person, ToyChain
from tests.support.daemon import ROOT, Daemon, feed, running
from tests.support.economy import blocks_of, ripe_chain
from tests.support.electrum import (
    ElectrumFailure,
    Wire,
    fold,
    scripthash,
    scripthash_of_lock,
    sha256d,
    status_of,
    wire,
)

PAGE = ROOT / "docs" / "electrum.md"
HASH_OF_NOTHING = "00" * 32


class Scene:
    """A node, the same chain here, and a connection."""

    def __init__(self, daemon: Daemon, toy: ToyChain) -> None:
        self.daemon = daemon
        self.toy = toy
        self.fed = 0

    def feed(self) -> None:
        """Give the node what was mined here."""
        feed(self.daemon, blocks_of(self.toy, self.fed))
        self.fed = self.toy.tip.height

    def pay(self, payee: Person, amount: int = 1_000) -> Tx:
        """A payment of Alice that waits at the node."""
        tx = self.toy.pay(ALICE, payee, amount)
        self.daemon.call("sendrawtransaction", tx.raw.hex())
        return tx

    def mine(self, *txs: Tx) -> None:
        self.toy.mine(list(txs))
        self.feed()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    daemon = Daemon(tmp_path_factory.mktemp("node"), "--electrum", "127.0.0.1:0")
    with running(daemon):
        found = Scene(daemon, ripe_chain(40))
        found.feed()
        yield found


@pytest.fixture
def client(scene: Scene) -> Iterator[Wire]:
    with wire(scene.daemon) as found:
        yield found


def of(person: Person) -> str:
    return scripthash_of_lock(person.lock)


@pytest.mark.parametrize(
    ("asked", "agreed"),
    [
        ("1.4", "1.4"), (["1.2", "1.4.5"], "1.4.2"), (["1.4", "1.4.1"], "1.4.1"),
        (["1", "2"], "1.4.2"),
    ],
)  # fmt: skip
def test_version_is_the_highest_that_both_speak(client: Wire, asked: Any, agreed: str) -> None:
    assert client.call("server.version", "test", asked) == ["tael 0.1.0", agreed]


@pytest.mark.parametrize("asked", ["1.3", ["1.5", "1.6"], "new", 1.4, ["1.4"], "1.4.x", ["1", 2]])
def test_version_that_is_not_spoken_is_refused(client: Wire, asked: Any) -> None:
    with pytest.raises(ElectrumFailure):
        client.call("server.version", "test", asked)


def test_version_is_agreed_on_once(client: Wire) -> None:
    client.call("server.version", "test", "1.4")
    with pytest.raises(ElectrumFailure, match="already"):
        client.call("server.version", "test", "1.4")


def test_server_tells_which_chain_it_serves(client: Wire, scene: Scene) -> None:
    features = client.call("server.features")
    assert features["genesis_hash"] == to_text(scene.toy.chain_id)
    assert (features["protocol_min"], features["protocol_max"]) == ("1.4", "1.4.2")
    assert client.call("server.ping") is None
    assert client.call("server.peers.subscribe") == []
    assert client.call("server.add_peer", {}) is False
    assert client.call("server.donation_address") == ""
    assert "regtest" in client.call("server.banner")


def test_scripthash_is_that_of_every_script_that_the_rpc_shows(client: Wire, scene: Scene) -> None:
    tx = scene.pay(BOB)
    shown = scene.daemon.call("getrawtransaction", to_text(tx.txid), 1)
    by_output = {scripthash(output["scriptPubKey"]["hex"]) for output in shown["vout"]}
    address = scene.daemon.call("validateaddress", BOB.address())
    assert by_output == {of(ALICE), of(BOB)}
    assert scripthash(address["scriptPubKey"]) == of(BOB)
    found = client.call("blockchain.scripthash.get_mempool", of(BOB))
    assert found[-1] == {"tx_hash": to_text(tx.txid), "height": 0, "fee": 10_000}
    scene.mine(tx)


def test_payment_is_seen_at_once_and_then_with_its_height(client: Wire, scene: Scene) -> None:
    before = client.call("blockchain.scripthash.get_balance", of(CAROL))
    tx = scene.pay(CAROL, 5_000)
    txid = to_text(tx.txid)
    waiting = client.call("blockchain.scripthash.get_balance", of(CAROL))
    assert waiting == {"confirmed": before["confirmed"], "unconfirmed": 5_000}
    made = {"tx_hash": txid, "tx_pos": 0, "height": 0, "value": 5_000}
    assert made in client.call("blockchain.scripthash.listunspent", of(CAROL))
    spent = {
        coin["tx_hash"] for coin in client.call("blockchain.scripthash.listunspent", of(ALICE))
    }
    assert not {to_text(spends[:32]) for spends in tx.body.inputs} & spent
    scene.mine(tx)
    confirmed = client.call("blockchain.scripthash.get_balance", of(CAROL))
    assert confirmed == {"confirmed": before["confirmed"] + 5_000, "unconfirmed": 0}
    height = scene.toy.tip.height
    history = client.call("blockchain.scripthash.get_history", of(CAROL))
    assert history[-1] == {"tx_hash": txid, "height": height}
    assert made | {"height": height} in client.call("blockchain.scripthash.listunspent", of(CAROL))


def test_other_assets_are_in_the_history_and_in_no_sum(client: Wire, scene: Scene) -> None:
    person = Person(77)
    (coin, *_) = scene.toy.coins_of(ALICE)
    change = scene.toy.coins[coin].amount - 10_000
    definition = AssetDefinition(b"SHARE", b"shares", 0, b"", False)
    shares = TxOut(asset_id(coin, definition), 500, person.lock)
    outputs = [TxOut(NATIVE, change, ALICE.lock), shares]
    tx = scene.toy.spend([coin], outputs, (ALICE,), [Issue(0, definition, 500)])
    scene.daemon.call("sendrawtransaction", tx.raw.hex())
    scene.mine(tx)
    hashed = of(person)
    zero = {"confirmed": 0, "unconfirmed": 0}
    assert client.call("blockchain.scripthash.get_balance", hashed) == zero
    assert client.call("blockchain.scripthash.listunspent", hashed) == []
    found = client.call("blockchain.scripthash.get_history", hashed)
    assert found == [{"tx_hash": to_text(tx.txid), "height": scene.toy.tip.height}]


def test_address_that_nothing_was_paid_to_has_no_status_until_something_is(
    client: Wire, scene: Scene
) -> None:
    person = Person(78)
    assert client.call("blockchain.scripthash.subscribe", of(person)) is None
    assert client.call("blockchain.scripthash.get_history", of(person)) == []
    tx = scene.pay(person)
    waiting = status_of([{"tx_hash": to_text(tx.txid), "height": 0}])
    client.wait_for_status(of(person), waiting)
    scene.mine(tx)
    mined = status_of([{"tx_hash": to_text(tx.txid), "height": scene.toy.tip.height}])
    client.wait_for_status(of(person), mined)
    with wire(scene.daemon) as other:
        assert other.call("blockchain.scripthash.subscribe", of(person)) == mined


def test_who_unsubscribes_hears_no_more(client: Wire, scene: Scene) -> None:
    method = "blockchain.scripthash.subscribe"
    with wire(scene.daemon) as other:
        for each in (client, other):
            each.call(method, of(BOB))
        assert client.call("blockchain.scripthash.unsubscribe", of(BOB)) is True
        assert client.call("blockchain.scripthash.unsubscribe", of(BOB)) is False
        tx = scene.pay(BOB)
        history = other.call("blockchain.scripthash.get_history", of(BOB))
        other.wait_for_status(of(BOB), status_of(history))
        assert client.news_of(method, of(BOB)) == []
        scene.mine(tx)


def test_new_headers_are_told_to_who_asked(client: Wire, scene: Scene) -> None:
    method = "blockchain.headers.subscribe"
    tip = scene.toy.tip
    assert client.call(method) == {"hex": tip.header.raw.hex(), "height": tip.height}
    scene.mine()
    tip = scene.toy.tip
    client.wait_for_news(method, {"hex": tip.header.raw.hex(), "height": tip.height})


@pytest.mark.parametrize("height", [0, 1, 7, 64, 100])
@pytest.mark.parametrize("cp_height", [100, 101, 127])
def test_header_is_proved_to_lead_to_a_checkpoint(
    client: Wire, scene: Scene, height: int, cp_height: int
) -> None:
    found = client.call("blockchain.block.header", height, cp_height)
    header = bytes.fromhex(found["header"])
    assert header == scene.toy.tip.ancestor(height).header.raw
    hashes = [bytes(scene.toy.tip.ancestor(h).hash) for h in range(cp_height + 1)]
    while len(hashes) > 1:
        hashes += hashes[-1:] * (len(hashes) & 1)
        hashes = [sha256d(a + b) for a, b in zip(hashes[::2], hashes[1::2], strict=True)]
    assert found["root"] == to_text(hashes[0])
    assert fold(sha256d(header), found["branch"], height) == found["root"]


def test_headers_come_in_a_row_and_the_last_is_proved(client: Wire, scene: Scene) -> None:
    found = client.call("blockchain.block.headers", 5, 10, 100)
    raw = [scene.toy.tip.ancestor(h).header.raw for h in range(5, 15)]
    assert bytes.fromhex(found["hex"]) == b"".join(raw)
    assert (found["count"], found["max"]) == (10, 2_016)
    assert fold(sha256d(raw[-1]), found["branch"], 14) == found["root"]
    beyond = client.call("blockchain.block.headers", 10**6, 10)
    assert beyond == {"hex": "", "count": 0, "max": 2_016}
    assert client.call("blockchain.block.header", 5) == raw[0].hex()


@cache
def told() -> dict[str, Any]:
    """What the page for people who write clients defines."""
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(block, names)
    return names


def test_page_tells_how_a_scripthash_is_made(scene: Scene) -> None:
    address = scene.daemon.call("validateaddress", BOB.address())
    assert told()["scripthash"](address["scriptPubKey"]) == of(BOB)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 8])
def test_place_of_every_transaction_in_a_block_is_proved(
    client: Wire, scene: Scene, count: int
) -> None:
    txs: list[Tx] = []
    coins = scene.toy.coins_of(ALICE)
    for coin in coins[:count]:
        amount = scene.toy.coins[coin].amount - 10_000
        txs.append(scene.toy.spend([coin], [TxOut(NATIVE, amount, ALICE.lock)], (ALICE,)))
    scene.mine(*txs)
    height = scene.toy.tip.height
    block = scene.toy.blocks[scene.toy.tip.hash]
    for position, tx in enumerate(block.txs):
        proof = client.call("blockchain.transaction.get_merkle", to_text(tx.txid), height)
        assert (proof["pos"], proof["block_height"]) == (position, height)
        assert told()["root_of"](proof) == block.header.root
        leaf = hash_leaf(tx.txid + tx.wtxid) if position else sha256d(tx.raw)
        assert proof["leaf"] == to_text(leaf)
        found = client.call("blockchain.transaction.id_from_pos", height, position, True)
        assert found["tx_hash"] == to_text(tx.txid)
        assert found["merkle"] == proof["merkle"]
        plain = client.call("blockchain.transaction.id_from_pos", height, position)
        assert plain == to_text(tx.txid)
    with pytest.raises(ElectrumFailure, match="fewer"):
        client.call("blockchain.transaction.id_from_pos", height, len(block.txs))


def test_transaction_is_sent_and_found_again(client: Wire, scene: Scene) -> None:
    tx = scene.toy.pay(ALICE, DAVE, 1_000)
    txid = to_text(tx.txid)
    assert client.call("blockchain.transaction.broadcast", tx.raw.hex()) == txid
    assert client.call("blockchain.transaction.get", txid) == tx.raw.hex()
    assert client.call("blockchain.transaction.get", txid, True)["txid"] == txid
    assert client.call("mempool.get_fee_histogram")
    scene.mine(tx)


def test_transaction_that_is_refused_names_the_rule(client: Wire, scene: Scene) -> None:
    tx = scene.toy.pay(ALICE, DAVE, 1_000, fee=0)
    with pytest.raises(ElectrumFailure, match="rejected by network rules") as caught:
        client.call("blockchain.transaction.broadcast", tx.raw.hex())
    assert caught.value.code == 1


def test_fees_are_told_in_coins(client: Wire) -> None:
    assert client.call("blockchain.relayfee") == 0.00001
    assert client.call("blockchain.estimatefee", 6) >= 0.00001


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("blockchain.scripthash.get_balance", ["zz"], 1),
        ("blockchain.scripthash.get_balance", [], -32602),
        ("blockchain.scripthash.get_balance", [HASH_OF_NOTHING, 1], -32602),
        ("blockchain.block.header", [10**6], 1),
        ("blockchain.block.header", [-1], 1),
        ("blockchain.block.header", [50, 20], 1),
        ("blockchain.block.headers", [0, -1], 1),
        ("blockchain.transaction.get", [HASH_OF_NOTHING], 2),
        ("blockchain.transaction.get_merkle", [HASH_OF_NOTHING, 1], 2),
        ("blockchain.transaction.broadcast", ["00"], 1),
        ("blockchain.nothing", [], -32601),
    ],
)
def test_call_that_cannot_be_answered_gets_a_code(
    client: Wire, method: str, params: list[Any], code: int
) -> None:
    with pytest.raises(ElectrumFailure) as caught:
        client.call(method, *params)
    assert caught.value.code == code
    assert "Traceback" not in caught.value.message


def test_batch_is_answered_in_its_order(client: Wire) -> None:
    calls = [
        {"jsonrpc": "2.0", "id": "a", "method": "server.ping"},
        {"jsonrpc": "2.0", "method": "server.ping"},
        {"jsonrpc": "2.0", "id": 2, "method": "nothing"},
        7,
    ]
    client.send(json.dumps(calls).encode() + b"\n")
    found = client.read()
    assert [each["id"] for each in found] == ["a", 2, None]
    assert [each.get("error", {}).get("code") for each in found] == [None, -32601, -32600]


@pytest.mark.parametrize("batch", [[], [{"id": 1}] * 501])
def test_batch_of_no_or_too_many_calls_is_refused(client: Wire, batch: list[Any]) -> None:
    client.send(json.dumps(batch).encode() + b"\n")
    assert client.read()["error"]["code"] == -32600


def test_parameters_may_be_named_and_calls_without_an_id_are_not_answered(client: Wire) -> None:
    client.send(b'{"method":"server.ping"}\n')
    client.send(b'{"method":"blockchain.block.header","params":{"height":0},"id":"x"}\n')
    found = client.read()
    assert (found["id"], len(found["result"])) == ("x", 160)
