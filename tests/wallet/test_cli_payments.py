"""Commands that look and pay, end to end over a socket."""

from __future__ import annotations

import pytest

from consensus.address import decode_address
from consensus.hashes import Txid, from_text
from consensus.params import COIN, COINBASE_MATURITY
from consensus.tx import BURN_LOCK
from consensus.tx_rules import check_tx
from tests.support.chain import DAVE
from tests.support.rpc_node import RpcFault, ToyNode, address_text, pay_from
from tests.support.wallet_cli import Tael


def test_balance_of_a_new_wallet_is_zero(bob: Tael) -> None:
    assert bob.balance() == {"confirmed": 0, "unconfirmed": 0, "immature": 0}


def test_payment_in_the_mempool_is_unconfirmed_and_then_confirmed(node: ToyNode, bob: Tael) -> None:
    address = bob.json("address")["address"]
    pay_from(node, address, 3 * COIN)
    assert bob.balance() == {"confirmed": 0, "unconfirmed": 3 * COIN, "immature": 0}
    node.mine()
    assert bob.balance() == {"confirmed": 3 * COIN, "unconfirmed": 0, "immature": 0}


def test_fresh_coinbase_is_immature_and_cannot_be_spent(node: ToyNode, bob: Tael) -> None:
    address = bob.json("address")["address"]
    node.chain.mine((), decode_address("rtael", address))
    assert bob.balance()["immature"] == 5 * COIN
    told = bob.fails("send", address, "1", "--yes")
    assert "not enough" in told
    matures = node.chain.tip.height + COINBASE_MATURITY
    assert told.endswith(f"5.00000000 TAEL more is immature, the first of it until block {matures}")
    assert "immature" in bob.fails("send", address, "all", "--yes")
    node.chain.mine_empty(COINBASE_MATURITY - 1, DAVE.lock)
    assert bob.json("send", address, "1", "--yes")["sent"]


def test_payment_that_waits_is_named_when_coins_are_short(node: ToyNode, bob: Tael) -> None:
    address = bob.json("address")["address"]
    pay_from(node, address, 3 * COIN)
    told = bob.fails("send", address, "1", "--yes")
    assert told.endswith("; 3.00000000 TAEL more waits to be mined")


def test_send_moves_the_amount_and_the_books_agree(node: ToyNode, alice: Tael, bob: Tael) -> None:
    address = bob.json("address")["address"]
    sent = alice.json("send", address, "2.5", "--yes")
    node.mine()
    assert node.balance_of(address) == 2 * COIN + COIN // 2
    fee = sent["fee"]["units"]
    assert alice.balance()["confirmed"] == 12 * COIN - 2 * COIN - COIN // 2 - fee
    assert fee >= sent["cost"]


def test_fee_is_the_cost_that_the_ledger_counts_times_the_rate(
    node: ToyNode, alice: Tael, bob: Tael
) -> None:
    address = bob.json("address")["address"]
    sent = alice.json("send", address, "1", "--yes", "--fee-rate", "0.00005")
    tx, _, fee = node.mempool[Txid(from_text(sent["txid"]))]
    cost = check_tx(tx).cost
    assert sent["cost"] == cost
    assert cost * 5 <= fee <= (cost + 8) * 5


def test_send_to_several_recipients_pays_each_of_them(
    node: ToyNode, alice: Tael, bob: Tael
) -> None:
    first = bob.json("address", "--new")["address"]
    second = bob.json("address", "--new")["address"]
    alice.run("send", first, "1", "--to", f"{second}=0.5", "--yes")
    node.mine()
    assert (node.balance_of(first), node.balance_of(second)) == (COIN, COIN // 2)


def test_send_of_all_leaves_nothing_behind(node: ToyNode, alice: Tael, bob: Tael) -> None:
    address = bob.json("address")["address"]
    sent = alice.json("send", address, "all", "--yes")
    node.mine()
    assert alice.balance()["confirmed"] == 0
    assert node.balance_of(address) == 12 * COIN - sent["fee"]["units"]


def test_change_that_is_not_mined_yet_can_be_spent(node: ToyNode, alice: Tael, bob: Tael) -> None:
    address = bob.json("address")["address"]
    alice.run("send", address, "11", "--yes")
    alice.run("send", address, "0.5", "--yes")
    node.mine()
    assert node.balance_of(address) == 11 * COIN + COIN // 2


def test_unconfirmed_payment_of_a_stranger_is_not_spent(
    node: ToyNode, alice: Tael, bob: Tael
) -> None:
    address = bob.json("address")["address"]
    alice.run("send", address, "3", "--yes")
    assert "not enough" in bob.fails("send", address, "1", "--yes")


def test_change_goes_to_a_new_address_each_time(node: ToyNode, alice: Tael, bob: Tael) -> None:
    address = bob.json("address")["address"]
    seen = set()
    for _ in range(2):
        sent = alice.json("send", address, "1", "--yes")
        node.mine()
        seen |= {output["address"] for output in sent["outputs"] if output["change"]}
    assert len(seen) == 2


def test_dry_run_sends_nothing(node: ToyNode, alice: Tael, bob: Tael) -> None:
    address = bob.json("address")["address"]
    shown = alice.json("send", address, "1", "--dry-run")
    assert shown["sent"] is False
    assert not node.mempool
    assert "testmempoolaccept" in node.calls


def test_without_yes_and_terminal_nothing_is_sent(node: ToyNode, alice: Tael, bob: Tael) -> None:
    address = bob.json("address")["address"]
    result = alice.invoke("send", address, "1")
    assert result.exit_code == 1
    assert "confirm with --yes" in result.stderr
    assert not node.mempool


def test_memo_is_seen_by_the_recipient(node: ToyNode, alice: Tael, bob: Tael) -> None:
    address = bob.json("address")["address"]
    alice.run("send", address, "1", address, "2", "--memo", "Rechnung 17 €", "--yes")
    node.mine()
    (event,) = bob.json("history")["transactions"]
    (memo,) = event["memos"]  # once, though both outputs carry it
    assert bytes.fromhex(memo).decode() == "Rechnung 17 €"
    assert "Rechnung 17 €" in bob.run("history")


def test_expiry_relative_to_the_tip_is_in_the_transaction(
    node: ToyNode, alice: Tael, bob: Tael
) -> None:
    address = bob.json("address")["address"]
    sent = alice.json("send", address, "1", "--expiry", "+30", "--yes")
    assert sent["expiry"] == node.chain.tip.height + 30


def test_expiry_in_the_past_is_refused(alice: Tael, bob: Tael) -> None:
    address = bob.json("address")["address"]
    assert "not ahead of the chain" in alice.fails("send", address, "1", "--expiry", "5", "--yes")


def test_bump_replaces_the_payment_and_pays_the_recipient_once(
    node: ToyNode, alice: Tael, bob: Tael
) -> None:
    address = bob.json("address")["address"]
    sent = alice.json("send", address, "1", "--yes")
    bumped = alice.json("bump", sent["txid"], "--yes")
    assert bumped["replaces"] == sent["txid"]
    assert bumped["fee"]["units"] > sent["fee"]["units"]
    assert list(node.mempool) == [from_text(bumped["txid"])]
    node.mine()
    assert node.balance_of(address) == COIN


def test_bump_of_a_payment_without_change_adds_a_coin(
    node: ToyNode, alice: Tael, bob: Tael
) -> None:
    address = bob.json("address")["address"]
    sent = alice.json("send", address, "3.9999", "--fee", "0.0001", "--yes")
    assert not any(output["change"] for output in sent["outputs"])
    alice.run("bump", sent["txid"], "--yes")
    node.mine()
    assert node.balance_of(address) == 399_990_000


def test_bump_twice_needs_the_newest(node: ToyNode, alice: Tael, bob: Tael) -> None:
    address = bob.json("address")["address"]
    sent = alice.json("send", address, "1", "--yes")
    bumped = alice.json("bump", sent["txid"], "--yes")
    assert "bumped already" in alice.fails("bump", sent["txid"], "--yes")
    alice.run("bump", bumped["txid"], "--yes")
    assert len(node.mempool) == 1


def test_bump_of_a_mined_payment_is_refused(node: ToyNode, alice: Tael, bob: Tael) -> None:
    sent = alice.json("send", bob.json("address")["address"], "1", "--yes")
    node.mine()
    assert "mined already" in alice.fails("bump", sent["txid"], "--yes")


def test_history_lists_what_came_and_went(node: ToyNode, alice: Tael, bob: Tael) -> None:
    address = bob.json("address")["address"]
    sent = alice.json("send", address, "2", "--yes")
    waiting = alice.json("history")["transactions"][0]
    assert (waiting["txid"], waiting["confirmations"]) == (sent["txid"], 0)
    node.mine()
    rows = alice.json("history")["transactions"]
    assert len(rows) == 4
    assert rows[0]["changes"][0]["units"] == -2 * COIN - sent["fee"]["units"]
    assert rows[0]["confirmations"] == 1
    assert [row["changes"][0]["units"] for row in rows[1:]] == [4 * COIN] * 3


def test_history_limit_shows_the_newest(node: ToyNode, alice: Tael) -> None:
    rows = alice.json("history")["transactions"]
    assert alice.json("history", "--limit", "1")["transactions"] == rows[:1]


def test_coins_are_listed_over_several_pages(node: ToyNode, bob: Tael) -> None:
    address = bob.json("address")["address"]
    for _ in range(10):
        pay_from(node, address, COIN // 10)
        node.mine()
    rows = bob.json("utxos")["utxos"]
    assert len(rows) == 10
    assert {row["state"] for row in rows} == {"spendable"}


def test_what_the_node_refuses_is_forgotten(node: ToyNode, alice: Tael, bob: Tael) -> None:
    address = bob.json("address")["address"]
    node.faults["sendrawtransaction"] = RpcFault(-26, "fee-below-floor: 1, 2")
    assert "asks 0.00000002 TAEL for this one" in alice.fails("send", address, "1", "--yes")
    assert alice.json("info")["sent"] == 0


def test_when_the_node_breaks_off_the_payment_is_remembered(
    node: ToyNode, alice: Tael, bob: Tael
) -> None:
    address = bob.json("address")["address"]
    node.silent.add("sendrawtransaction")
    line = alice.fails("send", address, "1", "--yes")
    assert "unknown" in line
    assert alice.json("info")["sent"] == 1
    assert next(iter(node.mempool))[::-1].hex() in line


def test_coin_whose_amount_the_node_hides_makes_a_worthless_signature_not_a_fee(
    node: ToyNode, alice: Tael, bob: Tael
) -> None:
    address = bob.json("address")["address"]
    page = node.getaddressutxos({"addresses": alice_addresses(alice)})
    for row in page["utxos"]:
        row["satoshis"] -= COIN
    node.overrides["getaddressutxos"] = page
    told = alice.fails("send", address, "1", "--yes", "--max-fee-rate", "0")
    assert "bad-signature" in told
    assert not node.mempool


def alice_addresses(wallet: Tael) -> list[str]:
    return [row["address"] for row in wallet.json("addresses")["addresses"]]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("rtael1qqqq", "1"), "is not usable"),
        (("{bob}", "0"), "above 0"),
        (("{bob}", "1,5"), "is not an amount"),
        (("{bob}", "-1"), "No such option"),
        (("{bob}", "0.000000001"), "more than 8 decimals"),
        (("{bob}", "1000"), "not enough spendable coins: 988"),
        (("{bob}",), "every recipient needs an amount"),
        ((), "nobody to pay"),
        (("{bob}", "1", "--asset", "GOLD"), "holds no asset called"),
        (("{bob}", "1", "--memo", "x" * 129), "at most 128 bytes"),
        (("{bob}", "1", "--memo", "0xzz"), "must be hex"),
        (("{bob}", "1", "--fee", "1", "--fee-rate", "1"), "not both"),
    ],
)
def test_wrong_send_is_one_line(
    alice: Tael, bob: Tael, words: tuple[str, ...], complaint: str
) -> None:
    address = bob.json("address")["address"]
    args = [word.replace("{bob}", address) for word in words]
    result = alice.invoke("send", *args, "--yes")
    assert result.exit_code != 0
    assert complaint in result.stderr
    assert "Traceback" not in result.output


def test_burning_by_mistake_is_visible_as_destroyed(node: ToyNode, alice: Tael) -> None:
    void = address_text(node, BURN_LOCK)
    assert "destroyed" in alice.run("send", void, "1", "--dry-run")


def test_mined_coins_of_dave_are_not_ours(node: ToyNode, bob: Tael) -> None:
    node.mine(1, DAVE.lock)
    assert bob.balance()["immature"] == 0


def test_estimate_of_the_node_that_is_far_too_high_is_not_followed(
    node: ToyNode, alice: Tael, bob: Tael
) -> None:
    address = bob.json("address")["address"]
    node.overrides["estimatesmartfee"] = {"feerate": 0.5, "blocks": 6}
    assert "very much" in alice.fails("send", address, "1", "--yes")
    sent = alice.json("send", address, "1", "--yes", "--fee-rate", "0.00001")
    assert sent["fee"]["units"] < 1_000


def test_estimate_of_the_node_is_the_default_rate(node: ToyNode, alice: Tael, bob: Tael) -> None:
    address = bob.json("address")["address"]
    node.overrides["estimatesmartfee"] = {"feerate": 0.00003, "blocks": 6}
    sent = alice.json("send", address, "1", "--yes")
    assert sent["fee"]["units"] == 3 * sent["cost"]


def test_payment_that_no_node_knows_is_told_of(node: ToyNode, alice: Tael, bob: Tael) -> None:
    sent = alice.json("send", bob.json("address")["address"], "1", "--yes")
    node.mempool.clear()
    (lost,) = alice.json("history")["unknown"]
    assert lost["txid"] == sent["txid"]
    assert "not known to the node" in alice.run("history")


def test_text_that_would_repaint_the_terminal_is_shown_harmless(
    node: ToyNode, alice: Tael, bob: Tael
) -> None:
    memo = "0x" + b"\x1b[2J[red]".hex()
    alice.run("send", bob.json("address")["address"], "1", "--memo", memo, "--yes")
    assert "\ufffd[2J[red]" in bob.run("history")
    node.faults["getblockchaininfo"] = RpcFault(-1, "\x1b[31mboo")
    assert "\x1b" not in alice.fails("balance")


def test_labels_of_payment_and_of_address_stand_in_the_history(
    node: ToyNode, alice: Tael, bob: Tael
) -> None:
    address = bob.json("address", "--new", "--label", "order 7")["address"]
    alice.run("send", address, "1", "--label", "shoes", "--yes")
    node.mine()
    assert alice.json("history")["transactions"][0]["label"] == "shoes"
    assert bob.json("history")["transactions"][0]["label"] == "order 7"
    assert "order 7" in bob.run("history")


@pytest.mark.parametrize("memo", [r"\[/]", r"\[bold]x", r"\\[/]", "[/]", ":smile:", "end\\"])
def test_memo_that_looks_like_markup_is_shown_as_it_is(
    node: ToyNode, alice: Tael, bob: Tael, memo: str
) -> None:
    address = bob.json("address")["address"]
    assert memo in alice.run("send", address, "1", "--memo", memo, "--yes")
    node.mine()
    assert memo in bob.run("history")
