"""The mempool over a restart."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.codec import encode
from consensus.errors import DecodeError, Rule, Violation
from node.mempool_file import Kept, dump_file, load_file
from node.policy import Policy
from tests.node.mempool_kit import Pool, check_consistent

CHAIN = bytes(32)


def sealed(body: bytes) -> bytes:
    return body + hashlib.sha256(body).digest()


def test_everything_that_waits_is_there_after_a_restart() -> None:
    pool = Pool(coins=3)
    pool.line(pool.coins[0], 3)
    pool.now += 100
    pool.enter(pool.coins[1:], 20_000)
    before = [(entry.tx.raw, entry.time) for entry in pool.mempool.entries()]
    data = pool.mempool.dump()
    pool.now += 1_000
    pool.mempool = pool.another(Policy())
    results = list(pool.mempool.load(data))
    assert not any(isinstance(result, Violation) for result in results)
    assert [(entry.tx.raw, entry.time) for entry in pool.mempool.entries()] == before
    check_consistent(pool.mempool)


def test_what_a_reorganisation_is_still_bringing_back_is_kept_too() -> None:
    pool = Pool(coins=1)
    line = pool.line(pool.coins[0], 5)
    pool.mine([entry.tx for entry in line])
    pool.mempool.block_disconnected(pool.chain.disconnect())
    assert pool.mempool.tip_changed(returning_max=2)
    data = pool.mempool.dump()
    pool.mempool = pool.another(Policy())
    assert not any(isinstance(result, Violation) for result in pool.mempool.load(data))
    assert [entry.tx.txid for entry in pool.mempool.entries()] == [e.tx.txid for e in line]


def test_an_empty_mempool_is_kept_as_well() -> None:
    pool = Pool()
    assert list(pool.mempool.load(pool.mempool.dump())) == []


def test_what_was_mined_in_between_is_left_out() -> None:
    pool = Pool(coins=1)
    line = pool.line(pool.coins[0], 2)
    data = pool.mempool.dump()
    pool.chain.mine([line[0].tx])
    pool.mempool = pool.another(Policy())
    refused, entered = pool.mempool.load(data)
    assert isinstance(refused, Violation)
    assert refused.rule is Rule.ALREADY_CONFIRMED
    assert len(pool.mempool) == 1
    assert not isinstance(entered, Violation)


def test_signatures_are_verified_again_since_the_file_may_have_been_edited() -> None:
    pool = Pool(coins=1)
    tx = pool.enter(pool.coins, 10_000).tx
    chain_id = pool.chain.context().chain_id
    forged = bytearray(tx.raw)
    forged[-1] ^= 1
    data = dump_file(chain_id, [Kept(bytes(forged), 1)])
    (result,) = pool.another(Policy()).load(data)
    assert isinstance(result, Violation)
    assert result.rule is Rule.BAD_SIGNATURE


def test_loading_goes_in_steps() -> None:
    pool = Pool(coins=1)
    pool.line(pool.coins[0], 5)
    mempool = pool.another(Policy())
    steps = mempool.load(pool.mempool.dump())
    next(steps)
    assert len(mempool) == 1
    next(steps)
    assert len(mempool) == 2


def test_a_time_in_the_future_counts_as_now() -> None:
    pool = Pool(coins=1)
    tx = pool.tx(pool.coins, 10_000)
    data = dump_file(pool.chain.context().chain_id, [Kept(tx.raw, 2**40)])
    list(pool.mempool.load(data))
    entry = pool.mempool.get(tx.txid)
    assert entry is not None
    assert entry.time == pool.now


@given(st.integers(0), st.integers(0, 7))
def test_every_flipped_bit_is_noticed(position: int, bit: int) -> None:
    data = bytearray(dump_file(CHAIN, [Kept(b"abc", 5), Kept(b"defg", 6)]))
    data[position % len(data)] ^= 1 << bit
    with pytest.raises(DecodeError):
        load_file(bytes(data), CHAIN)


def test_every_truncation_is_noticed() -> None:
    data = dump_file(CHAIN, [Kept(b"abc", 5)])
    for length in range(len(data)):
        with pytest.raises(DecodeError):
            load_file(data[:length], CHAIN)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: b"", "damaged"),
        (lambda: sealed(encode((2, CHAIN, ()))), "version 2"),
        (lambda: sealed(encode((2, CHAIN, (), "new field"))), "version 2"),
        (lambda: dump_file(b"\1" * 32, []), "another network"),
        (lambda: sealed(encode((1, CHAIN, ((b"abc", "noon"),)))), "malformed"),
        (lambda: sealed(encode((1, CHAIN, (), 7))), "non-canonical"),
        (lambda: sealed(b"\x91" * 100_000), "malformed"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(make: Callable[[], bytes], text: str) -> None:
    with pytest.raises(DecodeError) as refused:
        load_file(make(), CHAIN)
    assert text in str(refused.value)


def test_a_damaged_file_is_refused_before_anything_enters() -> None:
    pool = Pool(coins=1)
    pool.enter(pool.coins, 10_000)
    data = pool.mempool.dump()[:-1]
    mempool = pool.another(Policy())
    with pytest.raises(DecodeError):
        mempool.load(data)
    assert len(mempool) == 0
