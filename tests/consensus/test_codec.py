"""One value, one encoding: round trips, other forms of the same bytes, and hostile shapes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from types import NoneType
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from consensus.block import BlockParts, decode_block
from consensus.block_rules import check_block
from consensus.codec import array_header, decode, decode_canonical, decoder_of, encode
from consensus.errors import DecodeError, Invalid, Rule, Violation
from consensus.hashes import AssetId
from consensus.params import BLOCK_BYTES_MAX, TX_BYTES_MAX
from consensus.tx import (
    NATIVE,
    AssetDefinition,
    Body,
    Height,
    Issue,
    Key,
    Pruned,
    Reissue,
    Sha256,
    Threshold,
    Transaction,
    TxOut,
    Witness,
    decode_tx,
    identify,
    make_tx,
    outpoint,
)
from consensus.tx_rules import CheckedTx, check_tx
from tests.consensus.strategies import EVERY_STRUCT, integers, transactions
from tests.support.chain import ALICE, BOB, ToyChain
from tests.support.verdicts import refusal, violates

SAMPLE = make_tx(
    Body(
        1,
        (outpoint(b"a" * 32, 0), outpoint(b"b" * 32, 300)),
        (TxOut(NATIVE, 500, ALICE.lock, b"invoice 7"), TxOut(AssetId(b"c" * 32), 2**40, BOB.lock)),
        (
            Issue(1, AssetDefinition(b"GOLD", b"Gold", 3, b"", True), 70_000),
            Reissue(AssetId(b"d" * 32), 9),
        ),
        Height(200),
    ),
    (
        Witness(Key(ALICE.pubkey), (b"\x01" + bytes(64),)),
        Witness(Threshold(1, (Pruned(bytes(32)), Sha256(b"e" * 32))), (b"f" * 32,)),
    ),
)
"""Something of every kind, so that a change of any field is tried."""


def plain(value: Any) -> Any:
    """`value` as lists, integers, booleans and bytes, as another decoder sees it."""
    return msgpack.unpackb(encode(value), raw=True, strict_map_key=False)


@pytest.mark.parametrize(("kind", "values"), EVERY_STRUCT, ids=lambda p: getattr(p, "__name__", ""))
def test_every_struct_comes_back_from_its_encoding(
    kind: Any, values: st.SearchStrategy[Any]
) -> None:
    decoder = decoder_of(kind)

    @given(values)
    @settings(max_examples=60)
    def comes_back(value: Any) -> None:
        data = encode(value)
        assert decode_canonical(decoder, data) == value
        # An independent encoder finds the same shortest form, and an independent decoder reads it.
        assert msgpack.packb(plain(value), use_bin_type=True) == data

    comes_back()


@given(transactions)
@settings(max_examples=100)
def test_transaction_keeps_its_identity_through_its_bytes(value: Transaction) -> None:
    tx = identify(value)
    assert tx.raw == encode(value)
    assert decode_tx(tx.raw, len(tx.raw)) == tx
    with violates(Rule.OVERSIZED, DecodeError):
        decode_tx(tx.raw, len(tx.raw) - 1)


# The same value in other bytes


def wide_integers(number: int) -> Iterator[bytes]:
    """Every MessagePack form of an integer, floats included."""
    for code, size, signed in (
        (0xCC, 1, False), (0xCD, 2, False), (0xCE, 4, False), (0xCF, 8, False),
        (0xD0, 1, True), (0xD1, 2, True), (0xD2, 4, True), (0xD3, 8, True),
    ):  # fmt: skip
        bits = 8 * size - signed
        if (-(2**bits) if signed else 0) <= number < 2**bits:
            yield bytes((code,)) + number.to_bytes(size, "big", signed=signed)
    if abs(number) < 2**24:
        yield msgpack.packb(float(number))
        yield msgpack.packb(float(number), use_single_float=True)
    if number in (0, 1):
        yield encode(bool(number))


def wide_bytes(data: bytes) -> Iterator[bytes]:
    size = len(data)
    if size < 256:
        yield b"\xc4" + size.to_bytes(1, "big") + data
        yield b"\xd9" + size.to_bytes(1, "big") + data
    if size < 32:
        yield bytes((0xA0 | size,)) + data
    yield b"\xc5" + size.to_bytes(2, "big") + data
    yield b"\xc6" + size.to_bytes(4, "big") + data
    yield b"\xda" + size.to_bytes(2, "big") + data
    yield b"\xdb" + size.to_bytes(4, "big") + data
    yield encode(list(data))


def wide_arrays(items: list[Any]) -> Iterator[bytes]:
    body = b"".join(encode(item) for item in items)
    yield b"\xdc" + len(items).to_bytes(2, "big") + body
    yield b"\xdd" + len(items).to_bytes(4, "big") + body
    for surplus in (b"\xc0", b"\x00", b"\x90", b"\xc4\x00"):
        yield array_header(len(items) + 1) + body + surplus
    if items:
        yield array_header(len(items) - 1) + b"".join(encode(item) for item in items[:-1])
        if len(items) < 16:
            keyed = b"".join(encode(i) + encode(item) for i, item in enumerate(items))
            yield bytes((0x80 | len(items),)) + keyed


def _between(wrap: Callable[[bytes], bytes], head: bytes, tail: bytes, form: bytes) -> bytes:
    return wrap(head + form + tail)


def other_forms(value: Any, wrap: Callable[[bytes], bytes]) -> Iterator[bytes]:
    """`value` with every one of its parts in every other form; `wrap` puts a part in its place."""
    if isinstance(value, bool):
        forms: Iterator[bytes] = iter((encode(int(value)), msgpack.packb(float(value))))
    elif isinstance(value, int):
        forms = wide_integers(value)
    elif isinstance(value, bytes):
        forms = wide_bytes(value)
    else:
        forms = wide_arrays(value)
    for form in forms:
        if form != encode(value):
            yield wrap(form)
    if isinstance(value, list):
        for index, item in enumerate(value):
            head = array_header(len(value)) + b"".join(encode(other) for other in value[:index])
            tail = b"".join(encode(other) for other in value[index + 1 :])
            yield from other_forms(item, partial(_between, wrap, head, tail))


def test_every_field_of_a_transaction_has_one_form_only() -> None:
    tried = 0
    for data in other_forms(plain(SAMPLE_PARTS), lambda form: form):
        tried += 1
        try:
            other = decode_tx(data, TX_BYTES_MAX)
        except DecodeError:
            continue
        # Leaving out the last of a list gives the canonical form of something else.
        assert other.wtxid != SAMPLE.wtxid
        assert other.raw == data
    assert tried > 300


SAMPLE_PARTS = Transaction(SAMPLE.body, SAMPLE.witnesses)


def test_every_field_of_a_block_has_one_form_only() -> None:
    block = ToyChain().template([SAMPLE])
    parts = BlockParts(block.header.raw, tuple(Transaction(t.body, t.witnesses) for t in block.txs))
    assert encode(parts) == block.raw
    tried = 0
    for data in other_forms(plain(parts), lambda form: form):
        tried += 1
        with pytest.raises(Violation) as caught:
            check_block(data)
        assert isinstance(caught.value, (DecodeError, Invalid))
        try:
            assert decode_block(data).raw == data
        except DecodeError:
            continue
    assert tried > 350


@given(st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 255)), min_size=1, max_size=4))
@example([(0, 0x93)])
@settings(max_examples=400)
def test_changed_bytes_never_give_a_second_encoding(changes: list[tuple[int, int]]) -> None:
    data = bytearray(SAMPLE.raw)
    for place, byte in changes:
        data[place % len(data)] = byte
    assert_one_encoding(bytes(data))


@given(st.integers(0, len(SAMPLE.raw)), st.integers(0, 40), st.binary(max_size=12))
@settings(max_examples=400)
def test_replaced_pieces_never_give_a_second_encoding(at: int, cut: int, piece: bytes) -> None:
    assert_one_encoding(SAMPLE.raw[:at] + piece + SAMPLE.raw[at + cut :])


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_random_bytes_are_refused_with_a_reason(data: bytes) -> None:
    assert_one_encoding(data)
    with pytest.raises(Violation):
        check_block(data)


def assert_one_encoding(data: bytes) -> None:
    error = refusal(partial(decode_tx, data, TX_BYTES_MAX))
    if error is not None:
        assert type(error) is DecodeError
        assert error.rule in (Rule.MALFORMED, Rule.NON_CANONICAL)
        return
    tx = decode_tx(data, TX_BYTES_MAX)
    assert tx.raw == data
    assert (tx.wtxid == SAMPLE.wtxid) == (data == SAMPLE.raw)
    assert (tx.txid == SAMPLE.txid) == (encode(tx.body) == encode(SAMPLE.body))
    assert type(refusal(partial(check_tx, tx))) in (Invalid, NoneType)


@given(integers)
def test_integer_of_any_size_is_refused_by_a_rule_and_not_by_an_accident(number: int) -> None:
    for body in (
        msgspec.structs.replace(SAMPLE.body, version=number),
        msgspec.structs.replace(SAMPLE.body, expiry=Height(number)),
        msgspec.structs.replace(SAMPLE.body, outputs=(TxOut(NATIVE, number, ALICE.lock),)),
        msgspec.structs.replace(SAMPLE.body, issuances=(Reissue(AssetId(bytes(32)), number),)),
        msgspec.structs.replace(
            SAMPLE.body,
            issuances=(Issue(number, AssetDefinition(b"A", b"a", number, b"", False), 1),),
        ),
    ):
        assert_one_encoding(make_tx(body, SAMPLE.witnesses).raw)
    lock = Threshold(number, (Key(ALICE.pubkey),))
    assert_one_encoding(make_tx(SAMPLE.body, (Witness(lock, ()), SAMPLE.witnesses[1])).raw)


def test_boolean_or_float_is_no_version() -> None:
    body = encode(SAMPLE.body)
    assert body[1:2] == b"\x01"
    for one in (b"\xc3", b"\xca\x3f\x80\x00\x00", b"\xcb\x3f\xf0" + bytes(6)):
        raw = b"\x92" + body[:1] + one + body[2:] + encode(SAMPLE.witnesses)
        with pytest.raises(DecodeError):
            decode_tx(raw, TX_BYTES_MAX)


# Shapes that cost the sender little


def nested(levels: int) -> bytes:
    """A transaction whose lock is `levels` thresholds, one inside the other."""
    lock = b"\x93\x01\x01\x91" * levels + encode(Key(ALICE.pubkey))
    return b"\x92" + encode(SAMPLE.body) + b"\x91\x92" + lock + b"\x90"


def deeper(frames: int, call: Callable[[], object]) -> object:
    """`call` with that many more frames on the stack."""
    return call() if frames == 0 else deeper(frames - 1, call)


def checked(raw: bytes) -> CheckedTx:
    return check_tx(decode_tx(raw, len(raw)))


@pytest.mark.parametrize("frames", [0, 1, 2, 50, 300])
def test_nesting_is_refused_whatever_the_stack_holds(frames: int) -> None:
    for levels in [9, *range(150, 520), 600, 24_000]:
        raw = nested(levels)
        error = refusal(partial(deeper, frames, partial(checked, raw)))
        assert error is not None
        assert (error.rule, type(error)) in (
            (Rule.MALFORMED, DecodeError),
            (Rule.WITNESS_COUNT, Invalid),
        )


@pytest.mark.parametrize("frames", [0, 20, 200])
def test_lock_that_was_decoded_with_more_room_than_is_left_to_encode_it(frames: int) -> None:
    decoder = decoder_of(Transaction)
    for levels in range(sys.getrecursionlimit() // 2 - 150, sys.getrecursionlimit() // 2):
        error = refusal(partial(decode, decoder, nested(levels)))
        if error is None:
            tx = decode(decoder, nested(levels))
            error = refusal(partial(deeper, frames, partial(identify, tx)))
        assert error is None or error.rule is Rule.MALFORMED


@pytest.mark.parametrize("frames", [0, 20, 200])
def test_nested_block_is_refused_whatever_the_stack_holds(frames: int) -> None:
    block = ToyChain().template()
    for levels in (9, 100, 300, 400, 470, 490, 600, 100_000):
        raw = b"\x92" + encode(block.header.raw) + b"\x92" + block.txs[0].raw + nested(levels)
        with pytest.raises((DecodeError, Invalid)):
            deeper(frames, partial(check_block, raw))


@pytest.mark.parametrize("levels", [32, 600, 100_000])
@pytest.mark.parametrize("opener", [b"\x91", b"\x92\x01", b"\x81\x01", b"\xdc\x00\x01"])
def test_nesting_where_no_lock_is_expected_is_malformed(levels: int, opener: bytes) -> None:
    bomb = opener * levels + b"\x90"
    for data in (bomb, b"\x92" + bomb, SAMPLE.raw[:-1] + bomb, b"\x93" + SAMPLE.raw[1:] + bomb):
        with pytest.raises(DecodeError):
            decode_tx(data, len(data))


@pytest.mark.parametrize("filler", [b"\x90", b"\x80", b"\xc0", b"\xc4\x00", b"\x00", b"\xa0"])
def test_bomb_of_tiny_objects_is_refused(filler: bytes) -> None:
    block = ToyChain().template()
    start = b"\x92" + encode(block.header.raw)
    room = (BLOCK_BYTES_MAX - 200) // len(filler)
    for head in (start + array_header(room), array_header(room), b"\x92" + array_header(room)):
        with pytest.raises(DecodeError):
            check_block(head + filler * room)


@pytest.mark.parametrize("length", [2**16, 2**24, 2**32 - 1])
def test_array_that_promises_more_than_there_is_allocates_nothing(length: int) -> None:
    promise = b"\xdd" + length.to_bytes(4, "big")
    body = encode(SAMPLE.body)
    for raw in (
        promise,
        b"\x92\x95\x01" + promise,
        b"\x92" + body + promise,
        b"\x92" + body + b"\x91\x92" + encode(Key(ALICE.pubkey)) + promise,
        b"\x92" + body + b"\x91\x92\x93\x01\x01" + promise,
    ):
        with violates(Rule.MALFORMED, DecodeError):
            decode_tx(raw, TX_BYTES_MAX)
    with violates(Rule.MALFORMED, DecodeError):
        check_block(b"\x92\xc4\x50" + bytes(80) + promise)


@pytest.mark.parametrize("size", [2**16, 2**32 - 1])
def test_byte_string_that_promises_more_than_there_is_is_malformed(size: int) -> None:
    promise = b"\xc6" + size.to_bytes(4, "big")
    for raw in (
        promise,
        b"\x92\x95\x01\x91" + promise,
        b"\x92" + encode(SAMPLE.body)[:-1] + promise,
    ):
        with violates(Rule.MALFORMED, DecodeError):
            decode_tx(raw, TX_BYTES_MAX)


def test_every_truncation_is_malformed() -> None:
    for length in range(len(SAMPLE.raw)):
        with violates(Rule.MALFORMED, DecodeError):
            decode_tx(SAMPLE.raw[:length], TX_BYTES_MAX)
    with violates(Rule.MALFORMED, DecodeError):
        decode_tx(SAMPLE.raw + b"\xc0", TX_BYTES_MAX)


def test_array_header_is_what_the_encoder_writes() -> None:
    for length in (0, 1, 15, 16, 17, 65_535, 65_536, 70_000):
        assert encode([0] * length).startswith(array_header(length))
        assert len(encode([0] * length)) == len(array_header(length)) + length


def test_unknown_tag_of_a_lock_or_issuance_is_malformed() -> None:
    body = encode(SAMPLE.body)
    for lock in (b"\x92\x07\xc4\x20" + bytes(32), b"\x92\xff\x01", b"\x91\x02", b"\x90", b"\x02"):
        with violates(Rule.MALFORMED, DecodeError):
            decode_tx(b"\x92" + body + b"\x91\x92" + lock + b"\x90", TX_BYTES_MAX)
    parts = plain(SAMPLE.body)
    for issuance in ([2, bytes(32), 1], [1, bytes(31), 1], [0, 1], [], 1, [b"", 1]):
        raw = b"\x92" + encode([*parts[:3], [issuance], parts[4]]) + encode(SAMPLE.witnesses)
        with violates(Rule.MALFORMED, DecodeError):
            decode_tx(raw, TX_BYTES_MAX)
