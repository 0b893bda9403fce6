"""Signed texts."""

from __future__ import annotations

import base64

import pytest

from consensus.codec import decode_canonical, decoder_of, encode
from consensus.tx import Witness
from tests.support.wallet_cli import Tael


def sign(wallet: Tael, address: str, text: str) -> str:
    return str(wallet.json("sign-message", address, text)["signature"])


def test_signature_of_the_owner_verifies_anywhere(alice: Tael, bob: Tael) -> None:
    address = alice.json("address")["address"]
    signature = sign(alice, address, "I owe you 5 €")
    assert bob.json("verify-message", address, signature, "I owe you 5 €")["valid"] is True
    assert bob.json("verify-message", address.upper(), signature, "I owe you 5 €")["valid"]


def test_signature_is_bound_to_text_and_address(alice: Tael) -> None:
    first = alice.json("address", "--new")["address"]
    second = alice.json("address", "--new")["address"]
    signature = sign(alice, first, "text")
    assert "NOT" in alice.fails("verify-message", first, signature, "Text")
    assert "NOT" in alice.fails("verify-message", second, signature, "text")


def test_foreign_address_cannot_be_signed_for(alice: Tael, bob: Tael) -> None:
    address = bob.json("address")["address"]
    assert "not of this wallet" in alice.fails("sign-message", address, "text")


def test_every_changed_byte_of_a_signature_is_refused(alice: Tael, bob: Tael) -> None:
    address = alice.json("address")["address"]
    whole = base64.b64decode(sign(alice, address, "text"))
    for position in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[position] ^= 1
        signature = base64.b64encode(changed).decode()
        line = bob.fails("verify-message", address, signature, "text")
        assert "NOT" in line or "not a signature" in line


def test_witness_without_a_signature_proves_nothing(alice: Tael, bob: Tael) -> None:
    address = alice.json("address")["address"]
    witness: Witness = decode_canonical(
        decoder_of(Witness), base64.b64decode(sign(alice, address, "text"))
    )
    empty = base64.b64encode(encode(Witness(witness.lock, ()))).decode()
    assert "NOT" in bob.fails("verify-message", address, empty, "text")


def test_multisig_address_signs_if_its_keys_are_here(bob: Tael) -> None:
    first = bob.json("multisig", "key", "--new")["pubkey"]
    second = bob.json("multisig", "key", "--new")["pubkey"]
    lock = bob.json("multisig", "create", "2", first, second, "--name", "both")
    signature = sign(bob, lock["address"], "we agree")
    assert bob.json("verify-message", lock["address"], signature, "we agree")["valid"] is True


@pytest.mark.parametrize("signature", ["", "%%", "AAAA", "w4k="])
def test_what_is_no_signature_is_one_line(bob: Tael, signature: str) -> None:
    address = bob.json("address")["address"]
    assert "not a signature" in bob.fails("verify-message", address, signature, "text")
