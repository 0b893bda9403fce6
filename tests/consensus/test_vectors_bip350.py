"""Addresses against the vectors of BIP350, which nobody here wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from consensus.address import AddressError, bech32m_decode, bech32m_encode, decode_address

VECTORS: dict[str, list[Any]] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "bip350" / "bech32m.json").read_text()
)
TAPROOT = "5120"
"""Script prefix of witness version 1 with 32 bytes, which is the form that addresses here have."""


@pytest.mark.parametrize("text", VECTORS["valid_bech32m"])
def test_valid_text_decodes_and_encodes_to_itself(text: str) -> None:
    hrp, values = bech32m_decode(text)
    assert bech32m_encode(hrp, values) == text.lower()


@pytest.mark.parametrize("text", VECTORS["valid_bech32m"])
def test_any_one_character_changed_is_noticed(text: str) -> None:
    for place, old in enumerate(text):
        for new in "q0":
            changed = text[:place] + new + text[place + 1 :]
            if new != old.lower():
                with pytest.raises(AddressError):
                    bech32m_decode(changed)


@pytest.mark.parametrize("text", [case["string"] for case in VECTORS["invalid_bech32m"]])
def test_invalid_text_is_refused(text: str) -> None:
    with pytest.raises(AddressError):
        bech32m_decode(text)


@pytest.mark.parametrize("case", VECTORS["valid_segwit"], ids=lambda case: case["address"])
def test_valid_address_is_read_if_it_has_version_1_and_32_bytes(case: dict[str, str]) -> None:
    hrp = case["address"].lower().split("1")[0]
    if case["script_pubkey"].startswith(TAPROOT):
        assert decode_address(hrp, case["address"]).hex() == case["script_pubkey"][4:]
    else:
        with pytest.raises(AddressError):
            decode_address(hrp, case["address"])


@pytest.mark.parametrize("text", [case["address"] for case in VECTORS["invalid_segwit"]])
@pytest.mark.parametrize("hrp", ["bc", "tb", "BC"])
def test_invalid_address_is_refused(text: str, hrp: str) -> None:
    with pytest.raises(AddressError):
        decode_address(hrp, text)


def test_every_form_of_address_occurs_among_the_vectors() -> None:
    taproot = [c for c in VECTORS["valid_segwit"] if c["script_pubkey"].startswith(TAPROOT)]
    assert len(taproot) >= 2
    assert len(VECTORS["valid_segwit"]) > len(taproot)


def test_address_of_another_currency_is_told_by_its_prefix_not_as_a_typing_mistake() -> None:
    segwit_0 = "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"  # bech32, whose checksum is another
    with pytest.raises(AddressError, match="the address is for 'bc', this network uses 'tael'"):
        decode_address("tael", segwit_0)
