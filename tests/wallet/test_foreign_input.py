"""Files and signatures from strangers, changed at random: refused in one way, or harmless."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.address import encode_address
from consensus.codec import encode
from consensus.locks import key_lock, lock_hash
from consensus.params import COIN
from consensus.tx import (
    NATIVE,
    Body,
    Coin,
    Height,
    Key,
    Path,
    Sha256,
    Threshold,
    TxOut,
    Witness,
    outpoint,
)
from tests.support.chain import ALICE, BOB, CAROL
from wallet.errors import WalletError
from wallet.message import message_digest, sign_message, verify_message
from wallet.partial import Partial, decode_partial, encode_partial
from wallet.sign import Spendable, sign_inputs

CHAIN_ID = b"\x11" * 32
LOCK = Threshold(2, (Key(ALICE.pubkey), Key(BOB.pubkey), Key(CAROL.pubkey)))
SPOT = outpoint(b"\x22" * 32, 1)
ADDRESS = ALICE.address()


def example() -> Partial:
    coin = Coin(NATIVE, 3 * COIN, lock_hash(LOCK), Height(7), False)
    body = Body(1, (SPOT,), (TxOut(NATIVE, COIN, BOB.lock, b"memo"),), (), Height(0))
    inputs = (Spendable(SPOT, coin, LOCK),)
    secrets = {ALICE.pubkey: ALICE.key.secret}
    made = tuple(sign_inputs(body, inputs, secrets.get, CHAIN_ID))
    return Partial("regtest", CHAIN_ID, "board", body, inputs, made)


WHOLE = encode_partial(example())
MESSAGE = sign_message(ADDRESS, Key(ALICE.pubkey), "text", {ALICE.pubkey: ALICE.key.secret}.get)


def test_file_reads_back_as_it_was_written() -> None:
    partial = decode_partial(WHOLE, CHAIN_ID)
    assert encode_partial(partial) == WHOLE
    assert partial.fee == 2 * COIN


@settings(deadline=None, max_examples=400)
@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255))
def test_file_with_a_changed_byte_is_refused_or_keeps_its_promises(at: int, value: int) -> None:
    changed = bytearray(WHOLE)
    changed[at] = value
    with contextlib.suppress(WalletError):
        _keeps_its_promises(decode_partial(bytes(changed), CHAIN_ID))


def _keeps_its_promises(partial: Partial) -> None:
    """Only what no signature covers, or what makes all of them void, may differ."""
    known = example()
    assert partial.body == known.body
    for path, item in partial.signatures[0].items():
        assert known.signatures[0][path] == item
        assert partial.inputs[0].coin.amount == known.inputs[0].coin.amount
        assert partial.inputs[0].lock == known.inputs[0].lock


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner,
                                                                max_size=3),
    max_leaves=8,
)  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(sorted(json.loads(WHOLE))), json_values)
def test_file_with_a_strange_field_is_refused_or_unchanged(field: str, value: Any) -> None:
    data = json.loads(WHOLE)
    data[field] = value
    with contextlib.suppress(WalletError):
        _keeps_its_promises(decode_partial(json.dumps(data).encode(), CHAIN_ID))


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_noise_is_no_file_and_no_signature(noise: bytes) -> None:
    with contextlib.suppress(WalletError):
        assert decode_partial(noise, CHAIN_ID) is None
    for text in (noise.decode("latin-1"), base64.b64encode(noise).decode()):
        with contextlib.suppress(WalletError):
            assert not verify_message(ADDRESS, ALICE.lock, "text", text)


@settings(deadline=None, max_examples=300)
@given(st.integers(0, len(base64.b64decode(MESSAGE)) - 1), st.integers(1, 255))
def test_signature_of_a_message_with_a_changed_byte_does_not_verify(at: int, flip: int) -> None:
    changed = bytearray(base64.b64decode(MESSAGE))
    changed[at] ^= flip
    with contextlib.suppress(WalletError):
        text = base64.b64encode(changed).decode()
        assert not verify_message(ADDRESS, ALICE.lock, "text", text)


def test_signature_of_another_lock_does_not_verify() -> None:
    assert verify_message(ADDRESS, ALICE.lock, "text", MESSAGE)
    assert not verify_message(ADDRESS, key_lock(BOB.pubkey), "text", MESSAGE)


def test_signature_that_shows_a_hash_lock_proves_nothing() -> None:
    lock = Threshold(2, (Key(ALICE.pubkey), Sha256(b"\x33" * 32)))
    address = encode_address("rtael", lock_hash(lock))
    item = b"\x01" + ALICE.sign(message_digest(address, Path(b"\x00"), "text"))
    for items in ((item,), (item, bytes(32))):
        signature = base64.b64encode(encode(Witness(lock, items))).decode()
        assert not verify_message(address, lock_hash(lock), "text", signature)
