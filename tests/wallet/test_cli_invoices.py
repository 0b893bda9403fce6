"""Invoices: an address of their own, a picture, and what became of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from consensus.params import COIN
from tests.support.rpc_node import ToyNode, pay_from
from tests.support.wallet_cli import NOW, Tael
from wallet.tracked import GAP_LIMIT
from wallet.uri import decode_uri


def ask(wallet: Tael, amount: str, *args: str) -> dict[str, Any]:
    made: dict[str, Any] = wallet.json("invoice", amount, *args)
    return made


def state(wallet: Tael, number: str, *args: str) -> str:
    return str(wallet.json("invoice", "show", number, *args)["state"])


def test_invoice_is_a_fresh_address_and_a_uri_that_says_everything(bob: Tael) -> None:
    first = ask(bob, "1.5", "--memo", "two chairs", "--label", "Bob", "--expires", "15m")
    second = ask(bob, "2")
    assert (first["id"], second["id"]) == ("1", "2")
    assert first["address"] != second["address"]
    uri = decode_uri(first["uri"])
    assert (uri.address, uri.amount, uri.request) == (first["address"], "1.50000000", "1")
    assert (uri.message, uri.label, uri.expires) == ("two chairs", "Bob", NOW + 900)
    assert first["address"] != bob.json("address", "--new")["address"]


def test_address_of_an_invoice_is_given_to_nobody_else(bob: Tael) -> None:
    before = bob.json("address")["address"]
    invoice = ask(bob, "1")["address"]
    assert bob.json("address")["address"] == before
    ask(bob, "1")
    assert bob.json("address", "--new")["address"] not in (before, invoice)


def test_invoice_needs_no_node(bob: Tael, node: ToyNode) -> None:
    before = len(node.calls)
    ask(bob, "1")
    assert len(node.calls) == before


def test_invoice_goes_from_open_to_seen_to_paid(node: ToyNode, bob: Tael) -> None:
    made = ask(bob, "1.5")
    assert state(bob, "1") == "open"
    pay_from(node, made["address"], 3 * COIN // 2)
    assert state(bob, "1") == "seen"
    node.mine()
    assert state(bob, "1") == "paid"
    assert state(bob, "1", "--confirmations", "2") == "seen"
    node.mine()
    assert state(bob, "1", "--confirmations", "2") == "paid"


@pytest.mark.parametrize(("amount", "wanted"), [(COIN, "underpaid"), (2 * COIN, "overpaid")])
def test_payment_of_another_amount_is_told_apart(
    node: ToyNode, bob: Tael, amount: int, wanted: str
) -> None:
    pay_from(node, ask(bob, "1.5")["address"], amount)
    node.mine()
    assert state(bob, "1") == wanted


def test_several_payments_add_up_to_the_amount(node: ToyNode, bob: Tael) -> None:
    address = ask(bob, "1.5")["address"]
    for part in (COIN, COIN // 2):
        pay_from(node, address, part)
        node.mine()
    assert state(bob, "1") == "paid"


def test_invoice_stays_paid_when_what_came_is_spent(node: ToyNode, bob: Tael, alice: Tael) -> None:
    pay_from(node, ask(bob, "1.5")["address"], 3 * COIN // 2)
    node.mine()
    bob.run("send", alice.json("address")["address"], "all", "--yes")
    node.mine()
    assert state(bob, "1") == "paid"


def test_invoice_that_nobody_paid_in_time_has_expired(bob: Tael, node: ToyNode) -> None:
    address = ask(bob, "1", "--expires", "1s")["address"]
    late(bob)
    assert state(bob, "1") == "expired"
    pay_from(node, address, COIN)
    node.mine()
    assert state(bob, "1") == "paid"


def late(wallet: Tael) -> None:
    """An hour later."""
    wallet._env = msgspec.structs.replace(wallet._env, now=lambda: NOW + 3_600)


def test_invoices_are_listed_with_their_states(node: ToyNode, bob: Tael) -> None:
    pay_from(node, ask(bob, "1", "--memo", "first")["address"], COIN)
    ask(bob, "2")
    node.mine()
    rows = bob.json("invoices")["invoices"]
    assert [(row["id"], row["state"]) for row in rows] == [("1", "paid"), ("2", "open")]
    assert "first" in bob.run("invoices")


def test_picture_is_drawn_in_the_terminal_and_into_files(bob: Tael, tmp_path: Path) -> None:
    svg, png = tmp_path / "a.svg", tmp_path / "a.png"
    shown = bob.run("invoice", "1", "--svg", str(svg), "--png", str(png))
    assert "\u2588" in shown or "\u2584" in shown
    assert "tael:rtael1" in shown
    assert b"<svg" in svg.read_bytes()
    assert png.read_bytes().startswith(b"\x89PNG")
    assert "\u2584" not in bob.run("invoice", "1", "--no-qr")


def test_many_unpaid_invoices_warn_of_a_restore(bob: Tael) -> None:
    for _ in range(GAP_LIMIT):
        ask(bob, "1")
    result = bob.invoke("invoice", "1")
    assert "tael restore --gap" in result.stderr


@pytest.mark.parametrize("expires", ["0m", "5", "-5m", "5y", "9999999d", "3661d"])
def test_span_that_makes_no_sense_is_refused(bob: Tael, expires: str) -> None:
    assert "span of time" in bob.fails("invoice", "1", "--expires", expires)


def test_unknown_invoice_is_one_line(bob: Tael) -> None:
    assert "there is no invoice '7'" in bob.fails("invoice", "show", "7")


def test_uri_of_an_invoice_is_paid_once_under_its_own_name(
    node: ToyNode, alice: Tael, bob: Tael
) -> None:
    uri = ask(bob, "1.5", "--label", "Bob")["uri"]
    for _ in range(2):
        assert alice.json("pay", uri, "--yes")["state"] == "waiting"
    node.mine()
    assert state(bob, "1") == "paid"
    assert alice.json("history")["transactions"][0]["label"] == "Bob"


def test_expired_uri_is_not_paid(alice: Tael, bob: Tael) -> None:
    uri = ask(bob, "1.5", "--expires", "1s")["uri"]
    late(alice)
    assert "has expired" in alice.fails("pay", uri, "--yes")


def test_watch_ends_when_the_invoice_is_paid(node: ToyNode, bob: Tael) -> None:
    pay_from(node, ask(bob, "1.5")["address"], 3 * COIN // 2)
    node.mine()
    result = bob.invoke("watch", "1", "--json")
    assert result.exit_code == 0
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["event"] for line in lines] == ["confirmed", "invoice"]
    assert lines[0]["confirmations"] == 1
    assert lines[1]["state"] == "paid"


def test_watch_of_an_expired_invoice_has_a_code_of_its_own(bob: Tael) -> None:
    ask(bob, "1", "--expires", "1s")
    late(bob)
    assert bob.invoke("watch", "1").exit_code == 4


def test_watch_gives_up_in_time_and_tells_what_waits(node: ToyNode, bob: Tael) -> None:
    pay_from(node, bob.json("address")["address"], COIN)
    result = bob.invoke("watch", "--timeout", "1", "--json")
    assert result.exit_code == 5
    assert json.loads(result.stdout.splitlines()[0])["event"] == "seen"


def test_watch_resumes_at_a_height(node: ToyNode, bob: Tael) -> None:
    address = bob.json("address")["address"]
    for _ in range(2):
        pay_from(node, address, COIN)
        node.mine()
    tip = node.chain.tip.height
    for since, count in ((tip - 2, 2), (tip - 1, 1), (tip, 0)):
        result = bob.invoke("watch", address, "--since", str(since), "--timeout", "1", "--json")
        assert len(result.stdout.splitlines()) == count


def test_watch_waits_for_a_node_that_is_away(bob: Tael) -> None:
    result = bob.invoke("watch", "--timeout", "1", options={"--rpc": "http://127.0.0.1:1"})
    assert result.exit_code == 5
    assert "waiting for the node" in result.stderr
