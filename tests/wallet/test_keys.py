"""Words, derivation and signatures against values that nobody here wrote."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from bip32 import BIP32
from hypothesis import given
from hypothesis import strategies as st

from consensus.address import encode_address
from consensus.keys import is_signed, sig_check
from consensus.locks import key_lock
from consensus.params import MAIN, NETWORKS, REGTEST
from wallet.errors import WalletError
from wallet.keys import (
    CHANGE,
    RECEIVE,
    Account,
    check_words,
    coin_type,
    is_pubkey,
    seed_of,
    sign_digest,
    words_of,
)

VECTORS = Path(__file__).parent.parent / "vectors"
BIP39: dict[str, Any] = json.loads((VECTORS / "bip39/bip39-english-even.json").read_text())
CHAINS = [
    (vector["seed"], chain)
    for vector in json.loads((VECTORS / "bip32/bip32-valid-1-3.json").read_text())
    for chain in vector["chains"]
]
ABANDON = "abandon " * 11 + "about"
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@pytest.mark.parametrize("vector", BIP39["vectors"], ids=lambda vector: vector["entropy"][:8])
def test_words_seed_and_root_key_are_those_of_bip39(vector: dict[str, str]) -> None:
    words = words_of(bytes.fromhex(vector["entropy"]))
    assert words == vector["mnemonic"]
    seed = seed_of(check_words(words), BIP39["passphrase"])
    assert seed.hex() == vector["seed"]
    assert BIP32.from_seed(seed).get_xpriv() == vector["bip32_xprv"]


def test_list_of_words_is_that_of_bip39() -> None:
    listed = (VECTORS / "bip39/english-wordlist.txt").read_text().split()
    first_bits = [words_of((n << 117).to_bytes(16, "big")).split()[0] for n in range(2048)]
    assert first_bits == listed


@pytest.mark.parametrize(("seed", "chain"), CHAINS, ids=lambda value: str(value)[:40])
def test_derived_keys_are_those_of_bip32(seed: str, chain: dict[str, str]) -> None:
    root = BIP32.from_seed(bytes.fromhex(seed))
    assert root.get_xpriv_from_path(chain["path"]) == chain["xprv"]
    assert root.get_xpub_from_path(chain["path"]) == chain["xpub"]


def test_account_follows_the_path_of_bip44() -> None:
    account = Account.from_words(ABANDON, coin_type(MAIN), 3)
    root = BIP32.from_seed(seed_of(ABANDON))
    for chain, index in ((RECEIVE, 0), (CHANGE, 7)):
        path = f"m/44'/1795'/3'/{chain}/{index}"
        assert account.pubkey(chain, index) == root.get_pubkey_from_path(path)
        assert account.secret(chain, index) == root.get_privkey_from_path(path)


def test_test_networks_share_coin_type_1() -> None:
    kinds = {name: coin_type(params) for name, params in NETWORKS.items()}
    assert kinds == {"main": 1795, "test": 1, "regtest": 1}


def test_extended_public_key_shows_the_same_addresses_and_spends_nothing() -> None:
    whole = Account.from_words(ABANDON, coin_type(REGTEST), 0)
    public = Account.from_xpub(whole.xpub, 1)
    assert [public.pubkey(1, n) for n in range(3)] == [whole.pubkey(1, n) for n in range(3)]
    with pytest.raises(WalletError, match="watch-only"):
        public.secret(0, 0)


@pytest.mark.parametrize(
    "text",
    ["", "xpub", "xpub661MyMwAqRbcFtXgS5sYJABqqG9YLmC4Q1Rdap9gSE8NqtwybGhePY2gZ29ESFjqJoCu1Rupje8"
     "YtGqsefD265TMg7usUDFdp6W1EGMcet8", "not base58: 0OIl", "\N{SNOWMAN}"],
)  # fmt: skip
def test_what_is_no_account_key_is_refused(text: str) -> None:
    with pytest.raises(WalletError):
        Account.from_xpub(text, 1795)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("abandon", "found 1"),
        (ABANDON.replace("about", "abandon"), "checksum"),
        (ABANDON.replace("about", "zzzz"), "word 12 is not in the list"),
    ],
)
def test_wrong_words_are_refused_without_being_quoted(text: str, complaint: str) -> None:
    with pytest.raises(WalletError, match=complaint) as caught:
        check_words(text)
    assert "abandon" not in str(caught.value)
    assert "zzzz" not in str(caught.value)


def test_words_may_be_typed_with_capitals_and_line_breaks() -> None:
    assert check_words("  Abandon\n" * 11 + "ABOUT\n") == ABANDON


@given(st.binary(min_size=32, max_size=32), st.integers(0, 2**32))
def test_signature_is_deterministic_low_and_valid(digest: bytes, index: int) -> None:
    secret = hashlib.sha256(index.to_bytes(8, "big")).digest()
    signature = sign_digest(secret, digest)
    assert signature == sign_digest(secret, digest)
    assert int.from_bytes(signature[32:], "big") <= ORDER // 2
    pubkey = BIP32(bytes(32), privkey=secret).pubkey
    assert is_signed(sig_check(pubkey, digest, signature))


def test_point_off_the_curve_is_no_public_key() -> None:
    assert is_pubkey(Account.from_words(ABANDON, 1, 0).pubkey(0, 0))
    assert not is_pubkey(b"\x02" + b"\xff" * 32)
    assert not is_pubkey(b"\x04" + bytes(32))
    assert not is_pubkey(b"")


@pytest.mark.parametrize(
    ("network", "chain"), [("main", RECEIVE), ("main", CHANGE), ("regtest", RECEIVE)]
)
def test_keys_and_addresses_are_those_that_the_manual_shows(network: str, chain: int) -> None:
    params = NETWORKS[network]
    account = Account.from_words(ABANDON, coin_type(params), 0)
    pubkey = account.pubkey(chain, 0)
    address = encode_address(params.hrp.decode(), key_lock(pubkey))
    manual = (VECTORS.parent.parent / "docs/wallet.md").read_text()
    path = f"m/44'/{coin_type(params)}'/0'/{chain}/0"
    assert f"| {network} | `{path}` | `{pubkey.hex()}` | `{address}` |" in manual


def test_extended_key_of_the_other_sort_of_network_is_refused() -> None:
    public = Account.from_words(ABANDON, coin_type(REGTEST), 0).xpub
    assert public.startswith("tpub")
    with pytest.raises(WalletError, match="begins with xpub"):
        Account.from_xpub(public, coin_type(MAIN))
