"""`tael pay`: an id pays once, whatever happens between two calls."""

from __future__ import annotations

import pytest

from consensus.params import COIN
from tests.support.chain import DAVE
from tests.support.rpc_node import RpcFault, ToyNode
from tests.support.wallet_cli import Tael
from wallet.standing import FINAL_DEPTH


@pytest.fixture
def shop(bob: Tael) -> str:
    """An address to pay to."""
    return str(bob.json("address")["address"])


def pay(wallet: Tael, *args: str) -> dict[str, object]:
    """The first part of what `tael pay` says; it must succeed."""
    said = wallet.json("pay", *args, "--yes")
    part: dict[str, object] = said["parts"][0]
    return part


def exit_code(wallet: Tael, *args: str) -> int:
    return wallet.invoke(*args).exit_code


def test_same_id_pays_once_however_often_it_is_asked(node: ToyNode, alice: Tael, shop: str) -> None:
    first = pay(alice, shop, "1.5", "--request-id", "order-7")
    assert first["state"] == "waiting"
    assert pay(alice, shop, "1.5", "--request-id", "order-7")["txid"] == first["txid"]
    assert pay(alice, "--request-id", "order-7")["txid"] == first["txid"]
    node.mine()
    again = pay(alice, shop, "1.5", "--request-id", "order-7")
    assert (again["state"], again["confirmations"]) == ("confirmed", 1)
    assert again["height"] == node.chain.tip.height
    node.mine()
    assert node.balance_of(shop) == 3 * COIN // 2


def test_same_id_for_another_payment_is_refused_with_a_code_of_its_own(
    node: ToyNode, alice: Tael, shop: str
) -> None:
    pay(alice, shop, "1.5", "--request-id", "7")
    other = alice.json("address")["address"]
    for args in ((shop, "1.6"), (other, "1.5"), (shop, "1.5", "--memo", "x"), (shop, "1.5") * 2):
        told = alice.fails("pay", *args, "--request-id", "7", "--yes")
        assert "stands for another payment already (1.50000000 TAEL to" in told
        assert exit_code(alice, "pay", *args, "--request-id", "7", "--yes") == 3
    node.mine()
    assert node.balance_of(shop) == 3 * COIN // 2


def test_evicted_payment_is_sent_again_as_it_was(node: ToyNode, alice: Tael, shop: str) -> None:
    first = pay(alice, shop, "1", "--request-id", "7")
    node.mempool.clear()
    assert pay(alice, shop, "1", "--request-id", "7")["txid"] == first["txid"]
    assert len(node.mempool) == 1


def test_payment_that_the_node_never_heard_of_is_sent_when_it_is_back(
    node: ToyNode, alice: Tael, shop: str
) -> None:
    node.faults["sendrawtransaction"] = RpcFault(-26, "fee-below-floor: 1, 2")
    told = alice.fails("pay", shop, "1", "--request-id", "7", "--yes")
    assert "is recorded as" in told
    assert exit_code(alice, "pay", "--request-id", "7") == 5
    assert not node.mempool
    node.faults.clear()
    assert pay(alice, "--request-id", "7")["state"] == "waiting"
    node.mine()
    assert node.balance_of(shop) == COIN


def test_node_that_breaks_off_has_the_payment_only_once(
    node: ToyNode, alice: Tael, shop: str
) -> None:
    node.silent.add("sendrawtransaction")
    assert exit_code(alice, "pay", shop, "1", "--request-id", "7", "--yes") == 5
    node.silent.clear()
    assert pay(alice, shop, "1", "--request-id", "7")["state"] == "waiting"
    assert len(node.mempool) == 1


def test_expired_payment_is_signed_anew_only_when_nothing_can_revive_it(
    node: ToyNode, alice: Tael, shop: str
) -> None:
    first = pay(alice, shop, "1", "--request-id", "7", "--expiry", "+5")
    old = {spent for tx, _, _ in node.mempool.values() for spent in tx.body.inputs}
    node.mempool.clear()
    node.chain.mine_empty(5, DAVE.lock)
    told = alice.fails("pay", shop, "1", "--request-id", "7", "--yes", "--again")
    expiry = int(str(first["expiry"]))
    assert f"only from block {expiry + FINAL_DEPTH}" in told
    assert exit_code(alice, "pay", "--request-id", "7", "--again", "--yes") == 5
    node.chain.mine_empty(FINAL_DEPTH, DAVE.lock)
    assert exit_code(alice, "pay", shop, "1", "--request-id", "7", "--yes") == 4
    second = pay(alice, shop, "1", "--request-id", "7", "--again")
    assert second["state"] == "waiting"
    assert second["txid"] != first["txid"]
    assert second["attempts"] == [first["txid"], second["txid"]]
    # They spend a common coin: whatever becomes of the chain, one of the two can be mined.
    (tx, _, _) = next(iter(node.mempool.values()))
    assert set(tx.body.inputs) & old
