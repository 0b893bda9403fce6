"""Blocks put together from short ids, whatever is missing, doubled or mistaken."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.block import Block
from consensus.block_rules import check_block, check_known
from consensus.errors import DecodeError, Invalid, Rule
from consensus.tx import Tx
from consensus.tx_rules import CheckedTx, check_tx
from p2p.compact import Reconstruction, make_compact, short_id, short_id_state
from p2p.messages import SHORT_ID_BYTES, Compact
from tests.support.chain import ALICE, BOB, ToyChain

SALT = b"saltsalt"
COUNT = 12


def chain_with_payments() -> tuple[ToyChain, list[Tx]]:
    """Payments of different coins, in the order of a block."""
    chain = ToyChain()
    coins = chain.fund(ALICE, 2 * COUNT)
    output = chain.pay(ALICE, BOB, 1_000).body.outputs[0]
    return chain, [chain.spend([spent], [output]) for spent in coins]


CHAIN, PAYMENTS = chain_with_payments()
CHECKED = [check_tx(tx) for tx in PAYMENTS]
BLOCK = CHAIN.template(PAYMENTS[:COUNT])


def begin(block: Block = BLOCK, **changes: object) -> Reconstruction:
    return Reconstruction(1, msgspec.structs.replace(make_compact(block, SALT), **changes))


def finish(block: Reconstruction) -> Block:
    return check_known(block.header, block.coinbase(), block.txs()).block


def test_a_short_id_is_six_bytes_of_keyed_blake2b() -> None:
    key = BLOCK.header.hash + SALT
    wtxid = PAYMENTS[0].wtxid
    wanted = hashlib.blake2b(wtxid, digest_size=6, key=key).digest()
    assert short_id(short_id_state(BLOCK.header.hash, SALT), wtxid) == wanted
    assert make_compact(BLOCK, SALT).ids[:SHORT_ID_BYTES] == wanted


@settings(deadline=None)
@given(st.permutations(range(2 * COUNT)), st.integers(0, 2 * COUNT), st.data())
def test_a_block_comes_out_as_it_went_in_whatever_was_missing(
    order: Sequence[int], count: int, data: st.DataObject
) -> None:
    block = begin()
    waiting = [CHECKED[number] for number in order[:count]]
    cut = data.draw(st.integers(0, count))
    block.match(waiting[:cut])
    block.match(waiting[cut:])
    missing = set(range(COUNT)) - set(order[:count])
    assert set(block.missing) == missing
    assert block.is_complete == (not missing)
    for index in block.missing:
        block.add(index, PAYMENTS[index].raw)
    assert finish(block) == BLOCK
    assert check_block(finish(block).raw).block == BLOCK


@settings(deadline=None)
@given(st.sets(st.integers(0, COUNT - 1), min_size=1), st.data())
def test_a_wrong_id_ends_in_a_missing_transaction_or_in_a_wrong_root(
    wrong: set[int], data: st.DataObject
) -> None:
    ids = bytearray(make_compact(BLOCK, SALT).ids)
    state = short_id_state(BLOCK.header.hash, SALT)
    for index in wrong:
        other = data.draw(st.integers(COUNT, 2 * COUNT - 1))
        ids[6 * index : 6 * index + 6] = short_id(state, PAYMENTS[other].wtxid)
    block = begin(ids=bytes(ids))
    block.match(CHECKED)
    if block.is_complete:
        with pytest.raises(Invalid) as caught:
            finish(block)
        assert caught.value.rule is Rule.BLOCK_ROOT
    else:  # two of the ids are the same
        assert block.missing == ()


@given(st.binary(max_size=60).map(lambda ids: ids[: len(ids) // 6 * 6]))
def test_ids_of_nothing_known_are_all_missing(ids: bytes) -> None:
    block = begin(ids=ids)
    block.match(CHECKED)
    shorts = {ids[start : start + 6] for start in range(0, len(ids), 6)}
    is_ambiguous = 6 * len(shorts) != len(ids)
    assert len(block.missing) == (0 if is_ambiguous else len(shorts))
    assert block.is_complete == (not ids)


def test_two_equal_ids_cannot_be_put_together() -> None:
    ids = make_compact(BLOCK, SALT).ids
    block = begin(ids=ids[:6] + ids[:6] + ids[12:])
    block.match(CHECKED)
    assert not block.is_complete
    assert block.missing == ()


def test_the_first_of_two_transactions_with_one_id_counts() -> None:
    # Six bytes cannot be made to meet here, so the same transaction comes twice.
    block = begin()
    block.match(CHECKED + CHECKED)
    assert finish(block) == BLOCK


def test_another_transaction_than_the_one_named_is_refused() -> None:
    block = begin()
    with pytest.raises(Invalid) as caught:
        block.add(0, PAYMENTS[1].raw)
    assert caught.value.rule is Rule.BLOCK_ROOT
    assert 0 in block.missing


@pytest.mark.parametrize("raw", [b"", b"\x90", PAYMENTS[0].raw + b"\x00"])
def test_what_is_no_transaction_is_refused(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        begin().add(0, raw)


def test_a_coinbase_that_is_none_is_refused() -> None:
    with pytest.raises(DecodeError):
        begin(coinbase=b"\x92\x90\x90").coinbase()


def known(txs: Sequence[CheckedTx], block: Block) -> Invalid:
    """How a block of known transactions fails."""
    with pytest.raises(Invalid) as caught:
        check_known(block.header, block.txs[0], txs)
    return caught.value


def test_known_transactions_in_another_order_have_another_root() -> None:
    assert known(CHECKED[:COUNT][::-1], BLOCK).rule is Rule.BLOCK_ROOT


def test_a_payment_in_place_of_the_coinbase_is_misplaced() -> None:
    block = CHAIN.template(PAYMENTS[1:3], coinbase=PAYMENTS[0])
    assert known(CHECKED[1:3], block).rule is Rule.COINBASE_MISPLACED


def test_known_transactions_that_cost_too_much_are_refused() -> None:
    dear = [msgspec.structs.replace(checked, cost=3_000_000) for checked in CHECKED[:2]]
    assert known(dear, CHAIN.template(PAYMENTS[:2])).rule is Rule.BLOCK_COST


def test_a_compact_block_names_everything_but_the_coinbase() -> None:
    message = make_compact(BLOCK, SALT)
    assert message == Compact(BLOCK.header.raw, SALT, BLOCK.txs[0].raw, message.ids)
    assert len(message.ids) == 6 * COUNT
