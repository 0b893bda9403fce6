"""Rules of a transaction that need nothing but the transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.errors import Invalid, Rule
from consensus.hashes import AssetId
from consensus.params import AMOUNT_MAX, MEMO_BYTES_MAX, TX_BYTES_MAX, TX_COST_MAX, UINT32_MAX
from consensus.tx import (
    NATIVE,
    AfterHeight,
    AssetDefinition,
    Body,
    Height,
    Issuance,
    Issue,
    Key,
    Reissue,
    Sha256,
    Threshold,
    Tx,
    TxOut,
    Witness,
    make_coinbase,
    make_tx,
    outpoint,
)
from consensus.tx_rules import CheckedTx, check_tx, cost_of
from tests.support.chain import ALICE, BOB
from tests.support.verdicts import violates

SIGNED = Witness(Key(ALICE.pubkey), (b"\x01" + bytes(64),))
PAID = TxOut(NATIVE, 1, BOB.lock)
DEFINITION = AssetDefinition(b"GOLD", b"Gold", 2, b"", False)


def spent(number: int) -> Any:
    return outpoint(number.to_bytes(32, "big"), 0)


def tx_of(
    inputs: int = 1,
    outputs: Sequence[TxOut] = (PAID,),
    issuances: Sequence[Issuance] = (),
    expiry: int = 0,
    version: int = 1,
    witnesses: Sequence[Witness] | None = None,
) -> Tx:
    body = Body(
        version,
        tuple(spent(number) for number in range(inputs)),
        tuple(outputs),
        tuple(issuances),
        Height(expiry),
    )
    return make_tx(body, (SIGNED,) * inputs if witnesses is None else witnesses)


def test_plain_payment_passes_and_tells_its_cost() -> None:
    tx = tx_of()
    assert check_tx(tx) == CheckedTx(tx, check_tx(tx).locks, max(len(tx.raw), 200), 1)
    assert check_tx(tx).locks[0].hash == ALICE.lock


@pytest.mark.parametrize("version", [0, 2, -1, 2**64 - 1])
def test_version_other_than_1_is_refused(version: int) -> None:
    with violates(Rule.TX_VERSION, Invalid):
        check_tx(tx_of(version=version))


def test_transaction_without_inputs_is_refused() -> None:
    with violates(Rule.TX_INPUTS_EMPTY, Invalid):
        check_tx(tx_of(inputs=0))
    with violates(Rule.TX_INPUTS_EMPTY, Invalid):
        check_tx(make_coinbase(1, [PAID], bytes(8)))


def test_transaction_without_outputs_is_refused() -> None:
    with violates(Rule.TX_OUTPUTS_EMPTY, Invalid):
        check_tx(tx_of(outputs=()))


@pytest.mark.parametrize("order", [(1, 1), (1, 2, 1), (1, 2, 3, 2)])
def test_outpoint_that_is_spent_twice_in_one_transaction_is_refused(order: tuple[int, ...]) -> None:
    # CVE-2018-17144: one coin counted twice.
    body = Body(1, tuple(spent(number) for number in order), (PAID,), (), Height(0))
    with violates(Rule.TX_DUPLICATE_INPUT, Invalid):
        check_tx(make_tx(body, (SIGNED,) * len(order)))


@pytest.mark.parametrize("expiry", [-1, UINT32_MAX + 1, 2**64 - 1])
def test_expiry_beyond_32_bits_is_refused(expiry: int) -> None:
    check_tx(tx_of(expiry=UINT32_MAX))
    with violates(Rule.TX_EXPIRY_RANGE, Invalid):
        check_tx(tx_of(expiry=expiry))


@pytest.mark.parametrize("size", [1, 31, 33, 64])
def test_asset_of_another_size_is_refused(size: int) -> None:
    check_tx(tx_of(outputs=[TxOut(AssetId(bytes(32)), 1, BOB.lock)]))
    with violates(Rule.OUTPUT_ASSET_SIZE, Invalid):
        check_tx(tx_of(outputs=[PAID, TxOut(AssetId(bytes(size)), 1, BOB.lock)]))


@pytest.mark.parametrize("amount", [0, -1, AMOUNT_MAX + 1, 2**64 - 1, -(2**63)])
@pytest.mark.parametrize("asset", [NATIVE, AssetId(bytes(32))])
def test_amount_out_of_range_is_refused(amount: int, asset: AssetId) -> None:
    # CVE-2010-5139 began with two outputs of nearly 2**63.
    check_tx(tx_of(outputs=[TxOut(asset, AMOUNT_MAX, BOB.lock)] * 2))
    with violates(Rule.OUTPUT_AMOUNT_RANGE, Invalid):
        check_tx(tx_of(outputs=[PAID, TxOut(asset, amount, BOB.lock)]))


def test_memo_above_the_limit_is_refused() -> None:
    check_tx(tx_of(outputs=[TxOut(NATIVE, 1, BOB.lock, bytes(MEMO_BYTES_MAX))]))
    with violates(Rule.OUTPUT_MEMO_SIZE, Invalid):
        check_tx(tx_of(outputs=[TxOut(NATIVE, 1, BOB.lock, bytes(MEMO_BYTES_MAX + 1))]))


# Issuances


@pytest.mark.parametrize("index", [-1, 2, 2**32])
def test_issue_from_an_input_that_is_not_there_is_refused(index: int) -> None:
    check_tx(tx_of(inputs=2, issuances=[Issue(1, DEFINITION, 1)]))
    with violates(Rule.ISSUANCE_INPUT, Invalid):
        check_tx(tx_of(inputs=2, issuances=[Issue(index, DEFINITION, 1)]))


def test_two_issues_from_one_input_are_refused() -> None:
    other = AssetDefinition(b"SILVER", b"Silver", 2, b"", False)
    check_tx(tx_of(inputs=2, issuances=[Issue(0, DEFINITION, 1), Issue(1, DEFINITION, 1)]))
    with violates(Rule.ISSUANCE_DUPLICATE, Invalid):
        check_tx(tx_of(inputs=2, issuances=[Issue(0, DEFINITION, 1), Issue(0, other, 1)]))


def test_two_reissues_of_one_asset_are_refused() -> None:
    gold, silver = AssetId(b"g" * 32), AssetId(b"s" * 32)
    check_tx(tx_of(issuances=[Reissue(gold, 1), Reissue(silver, 1)]))
    with violates(Rule.ISSUANCE_DUPLICATE, Invalid):
        check_tx(tx_of(issuances=[Reissue(gold, 1), Reissue(silver, 1), Reissue(gold, 2)]))


@pytest.mark.parametrize("amount", [0, -1, AMOUNT_MAX + 1])
def test_issued_amount_out_of_range_is_refused(amount: int) -> None:
    for issuance in (Issue(0, DEFINITION, amount), Reissue(AssetId(bytes(32)), amount)):
        with violates(Rule.ISSUANCE_AMOUNT, Invalid):
            check_tx(tx_of(issuances=[issuance]))


def check_definition(**changes: Any) -> None:
    fields: dict[str, Any] = {
        "ticker": b"GOLD", "name": b"Gold", "decimals": 0, "terms": b"", "reissuable": True,
    }  # fmt: skip
    check_tx(tx_of(issuances=[Issue(0, AssetDefinition(**{**fields, **changes}), 1)]))


@pytest.mark.parametrize(
    "ticker", [b"", b"gold", b"GOLDGOLDGOLDX", b"GO LD", b"GOLD\n", b"\xc3\x84", b"GOLD\x00", b"-"]
)
def test_ticker_of_other_characters_or_length_is_refused(ticker: bytes) -> None:
    check_definition(ticker=b"A")
    check_definition(ticker=b"0123456789AZ")
    with violates(Rule.ASSET_TICKER, Invalid):
        check_definition(ticker=ticker)


@pytest.mark.parametrize(
    "name",
    [
        b"",
        b"x" * 65,
        b"\x00",
        b"tab\there",
        b"line\nbreak",
        b"\x7f",
        "\x80".encode(),
        "\x9f".encode(),
        b"\xff",
        b"\xc0\x80",
        b"\xe0\x80\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"cut \xe2\x82",
    ],
)
def test_name_that_is_not_printable_utf8_of_1_to_64_bytes_is_refused(name: bytes) -> None:
    with violates(Rule.ASSET_NAME, Invalid):
        check_definition(name=name)


@given(st.text(min_size=1, max_size=16))
def test_name_is_judged_by_its_code_points_alone(text: str) -> None:
    # Written out, since tables of Unicode change from one version of Python to the next.
    if any(ord(c) < 0x20 or 0x7F <= ord(c) <= 0x9F for c in text):
        with violates(Rule.ASSET_NAME, Invalid):
            check_definition(name=text.encode())
    else:
        check_definition(name=text.encode())


@pytest.mark.parametrize("decimals", [-1, 19, 2**64 - 1])
def test_decimals_above_18_are_refused(decimals: int) -> None:
    check_definition(decimals=18)
    with violates(Rule.ASSET_DECIMALS, Invalid):
        check_definition(decimals=decimals)


@pytest.mark.parametrize("size", [1, 31, 33])
def test_terms_that_are_no_hash_are_refused(size: int) -> None:
    check_definition(terms=bytes(32))
    with violates(Rule.ASSET_TERMS, Invalid):
        check_definition(terms=bytes(size))


# Witnesses


@pytest.mark.parametrize("count", [0, 1, 3])
def test_witnesses_are_as_many_as_inputs(count: int) -> None:
    with violates(Rule.WITNESS_COUNT, Invalid):
        check_tx(tx_of(inputs=2, witnesses=(SIGNED,) * count))


def check_items(lock: Key | Sha256 | Threshold, *items: bytes) -> None:
    check_tx(tx_of(witnesses=(Witness(lock, items),)))


KEY, HASH = Key(ALICE.pubkey), Sha256(bytes(32))
SIGNATURE, PREIMAGE = b"\x01" + bytes(64), bytes(32)


@pytest.mark.parametrize(
    ("lock", "items"),
    [
        (KEY, ()),
        (KEY, (SIGNATURE, SIGNATURE)),
        (KEY, (SIGNATURE, b"")),
        (HASH, ()),
        (Threshold(2, (KEY, HASH)), (SIGNATURE,)),
        (Threshold(2, (KEY, HASH)), (SIGNATURE, PREIMAGE, b"")),
    ],
)
def test_missing_or_surplus_items_are_refused(lock: Any, items: tuple[bytes, ...]) -> None:
    with violates(Rule.WITNESS_ITEMS, Invalid):
        check_items(lock, *items)


@pytest.mark.parametrize(
    ("lock", "items"),
    [
        (KEY, (b"",)),
        (KEY, (SIGNATURE[:-1],)),
        (KEY, (SIGNATURE + b"\x00",)),
        (HASH, (bytes(31),)),
        (HASH, (bytes(33),)),
        (Threshold(2, (KEY, HASH)), (PREIMAGE, SIGNATURE)),
    ],
)
def test_item_of_another_size_is_refused(lock: Any, items: tuple[bytes, ...]) -> None:
    with violates(Rule.WITNESS_ITEM_SIZE, Invalid):
        check_items(lock, *items)


@pytest.mark.parametrize("scope", [0, 3, 0x81, 255])
def test_unknown_scope_is_refused(scope: int) -> None:
    check_items(KEY, b"\x02" + bytes(64))
    with violates(Rule.SIGNATURE_SCOPE, Invalid):
        check_items(KEY, bytes((scope,)) + bytes(64))


# Size and cost


def test_transaction_above_the_byte_limit_is_refused() -> None:
    outputs = [TxOut(NATIVE, 1, BOB.lock, bytes(MEMO_BYTES_MAX))] * (TX_BYTES_MAX // 160)
    with violates(Rule.OVERSIZED, Invalid):
        check_tx(tx_of(outputs=outputs))


def test_transaction_that_costs_more_than_the_limit_is_refused() -> None:
    base = cost_of(0, 1, 1, 500, 0)
    assert base == 500 * 100 + 499 * 100 <= TX_COST_MAX
    check_tx(tx_of(outputs=[PAID] * 500))
    with violates(Rule.TX_COST, Invalid):
        check_tx(tx_of(outputs=[PAID] * 501))


def test_locks_of_many_nodes_pay_for_the_time_that_they_take() -> None:
    wide = Witness(Threshold(63, (AfterHeight(1),) * 63), ())
    assert check_tx(tx_of(inputs=1, witnesses=[wide])).cost == 20 * 64
    most = TX_COST_MAX // (20 * 64)
    check_tx(tx_of(inputs=most, witnesses=[wide] * most))
    with violates(Rule.TX_COST, Invalid):
        check_tx(tx_of(inputs=most + 1, witnesses=[wide] * (most + 1)))


@pytest.mark.parametrize(
    ("measure", "cost"),
    [
        ((1_000, 1, 1, 1, 0), 1_000),
        ((1_000, 6, 1, 1, 0), 1_200),
        ((1_000, 0, 9, 1, 0), 1_350),
        ((1_000, 0, 12, 11, 0), 1_800),
        ((1_000, 0, 1, 11, 0), 1_100 + 1_000),
        ((240, 1, 1, 2, 0), 340),
        ((1_000, 1, 1, 1, 3), 4_000),
        ((1_000, 1, 1, 1, 0, 63), 1_260),
    ],
)
def test_cost_is_the_dearest_measure_and_what_grows(measure: tuple[int, ...], cost: int) -> None:
    assert cost_of(*measure) == cost


@given(st.tuples(*[st.integers(0, 10_000)] * 6))
def test_cost_never_falls_when_anything_is_added(
    measure: tuple[int, int, int, int, int, int],
) -> None:
    size, sigchecks, inputs, outputs, issuances, nodes = measure
    base = cost_of(size, sigchecks, inputs, outputs, issuances, nodes)
    assert cost_of(size, sigchecks, inputs, outputs, issuances, nodes + 1) >= base
    assert base >= size
    assert cost_of(size + 1, sigchecks, inputs, outputs, issuances, nodes) >= base
    assert cost_of(size, sigchecks + 1, inputs, outputs, issuances, nodes) >= base
    assert cost_of(size, sigchecks, inputs, outputs + 1, issuances, nodes) >= base
    assert cost_of(size, sigchecks, inputs, outputs, issuances + 1, nodes) == base + 1_000
