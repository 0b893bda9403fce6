"""The address book: exact names, none of which passes for another or for an address."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.hashes import LockHash
from consensus.params import COIN
from tests.support.rpc_node import ToyNode
from tests.support.wallet_cli import Tael
from wallet.book import Book, Contact
from wallet.contacts import (
    add_contact,
    check_contact_name,
    find_contact,
    look_of,
    parse_contacts,
    write_contacts,
)
from wallet.errors import WalletError


def book() -> Book:
    return Book(
        network="regtest",
        chain_id=bytes(32),
        created=0,
        words=None,
        account=0,
        xpub="",
        contacts=[],
    )


def lock(number: int) -> LockHash:
    return LockHash(bytes([number]) * 32)


@pytest.mark.parametrize(
    "name",
    [
        "", " bob", "bob ", "b  b", "b\tb", "b\u200bob", "b\u202eob", "x" * 65, "all", "12.5", "1 000",
        "rtael1qqqqqqqqqqqqqqqqqqqqqqqqqq", "tael:rest", "RTAEL1QQQQQQQQQQQQQQQQQQQQQQQQQQ",
        "-bob", "=1+1", "@home", "a=b", "bob (back to you)", "\uff22ob", "pаypal", "ﬁsh",
        "bob\ufe0f", "b\u034fob", "bob\u2800", "bob\u1160", "bo\U000e0100b",
    ],
)  # fmt: skip
def test_names_that_mislead_are_refused(name: str) -> None:
    with pytest.raises(WalletError):
        check_contact_name(name)


@pytest.mark.parametrize(
    "name", ["Bob", "Bäckerei Müller & Söhne", "王小明", "Сбербанк", "a1", "Q-7"]
)
def test_names_of_people_are_taken(name: str) -> None:
    assert check_contact_name(name) == name


def test_both_ways_of_typing_an_accent_are_one_name() -> None:
    people = book()
    add_contact(people, Contact(unicodedata.normalize("NFD", "José"), lock(1)))
    assert people.contacts[0].name == "José"
    assert find_contact(people, unicodedata.normalize("NFD", "José")).lock == lock(1)


@pytest.mark.parametrize(
    ("known", "second"),
    [("coco", "сосо"), ("HOME", "НОМЕ"), ("Bill", "BiIl"), ("Bob", "bob"), ("Bob", "B0b"),
     ("modern", "modem"),
     ("Ace", "Асе"), ("KATH", "ΚΑΤΗ"), ("O'Neil", "O’Neil"), ("a-b", "a–b"),
     ("a-b", "a\u2212b"), ("gas", "ɡɑs"), ("pia", "pıa")],
)  # fmt: skip
def test_names_that_look_alike_are_refused(known: str, second: str) -> None:
    people = book()
    add_contact(people, Contact(known, lock(1)))
    with pytest.raises(WalletError, match="looks like that of"):
        add_contact(people, Contact(second, lock(2)))


@given(st.text(max_size=70))
def test_whatever_is_taken_for_a_name_is_found_again_and_survives_a_file(text: str) -> None:
    people = book()
    try:
        add_contact(people, Contact(text, lock(1)))
    except WalletError:
        return
    (entry,) = people.contacts
    assert find_contact(people, text) == entry
    assert check_contact_name(entry.name) == entry.name
    assert look_of(entry.name) == look_of(text)
    ((_, name, _),) = parse_contacts(write_contacts([(entry.name, "x")]))
    assert name == entry.name


def test_contacts_without_a_command_are_listed(bob: Tael) -> None:
    address = bob.json("address")["address"]
    bob.run("contacts", "add", "Bob", address)
    assert bob.run("contacts").splitlines()[1].split() == ["Bob", address]
    assert bob.json("contacts") == bob.json("contacts", "list")


def test_contacts_are_paid_by_their_exact_name(node: ToyNode, alice: Tael, bob: Tael) -> None:
    address = bob.json("address")["address"]
    alice.run("contacts", "add", "Bob", address)
    shown = alice.run("send", "Bob", "1.5", "--yes")
    assert f"{address} (Bob)" in shown
    node.mine()
    assert bob.balance()["confirmed"] == COIN * 3 // 2
    for wrong in ("bob", "Bo", "Bobb"):
        assert "neither an address nor a contact" in alice.fails("send", wrong, "1", "--yes")
    (sent,) = [tx for tx in alice.json("history")["transactions"] if tx["contacts"]]
    assert sent["contacts"] == ["Bob"]
    assert "Bob" in alice.run("history")
    assert ",Bob,," in alice.run("export", "--csv", "-")


def test_a_shared_lock_pays_contacts_too(
    node: ToyNode, alice: Tael, bob: Tael, tmp_path: Path
) -> None:
    keys = [wallet.json("multisig", "key")["pubkey"] for wallet in (alice, bob)]
    alice.run("multisig", "create", "2", *keys, "--name", "board")
    alice.run("send", alice.json("multisig", "address", "board")["address"], "3", "--yes")
    node.mine()
    address = bob.json("address")["address"]
    alice.run("contacts", "add", "Bob", address)
    out = str(tmp_path / "part.json")
    assert f"{address} (Bob)" in alice.run("multisig", "propose", "board", "Bob", "1", "--out", out)


def test_contacts_are_renamed_removed_and_listed(bob: Tael) -> None:
    first, second = (bob.json("address", "--new")["address"] for _ in range(2))
    bob.run("contacts", "add", "Ann", first)
    assert "is the contact 'Ann' already" in bob.fails("contacts", "add", "Eve", first.upper())
    bob.run("contacts", "add", "Eve", second)
    assert "looks like that of" in bob.fails("contacts", "rename", "Eve", "ANN")
    bob.run("contacts", "rename", "Ann", "ann")
    bob.run("contacts", "remove", "Eve")
    assert bob.json("contacts") == {"contacts": [{"name": "ann", "address": first}]}
    assert "neither" in bob.fails("contacts", "remove", "Eve")
    assert "not usable" in bob.fails("contacts", "add", "Zoe", "rtael1zoe")
    assert "looks like an address" in bob.fails("contacts", "add", "rtael1zoe", second)


def test_files_of_contacts_are_taken_whole_or_not_at_all(
    alice: Tael, bob: Tael, tmp_path: Path
) -> None:
    addresses = [bob.json("address", "--new")["address"] for _ in range(3)]
    for name, address in zip(("Ann", 'Smith, "Jo"', "王小明"), addresses, strict=True):
        bob.run("contacts", "add", name, address)
    file = tmp_path / "people.csv"
    bob.run("contacts", "export", str(file))
    assert "exists already" in bob.fails("contacts", "export", str(file))
    assert alice.json("contacts", "import", str(file)) == {"added": 3, "known": 0}
    assert alice.json("contacts", "import", str(file)) == {"added": 0, "known": 3}
    assert alice.json("contacts") == bob.json("contacts")
    file.write_text(f"name,address\nZed,{alice.json('address')['address']}\nAnn,{addresses[1]}\n")
    assert alice.fails("contacts", "import", str(file)).startswith("line 3: ")
    assert len(alice.json("contacts")["contacts"]) == 3
    file.write_bytes(b"name;address\n")
    assert alice.fails("contacts", "import", str(file)).startswith("line 1: ")


def test_labels_stand_beside_addresses_and_transactions(node: ToyNode, alice: Tael) -> None:
    newest = alice.json("history")["transactions"][0]
    alice.run("label", newest["txid"].upper(), "first pay")
    assert alice.json("history")["transactions"][0]["label"] == "first pay"
    alice.run("label", newest["txid"], "")
    assert alice.json("history")["transactions"][0]["label"] == ""
    address = alice.json("addresses")["addresses"][0]["address"]
    alice.run("label", address.upper(), "shop")
    assert alice.json("addresses")["addresses"][0]["label"] == "shop"


def test_a_bumped_payment_keeps_its_label(alice: Tael, bob: Tael) -> None:
    sent = alice.json("send", bob.json("address")["address"], "1", "--label", "rent", "--yes")
    alice.run("bump", sent["txid"], "--yes")
    assert alice.json("history")["transactions"][0]["label"] == "rent"
