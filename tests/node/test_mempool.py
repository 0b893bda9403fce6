"""Transactions into the mempool one by one: who may enter, and what is known afterwards."""

from __future__ import annotations

import tracemalloc

import pytest

from consensus.errors import DecodeError, Invalid, Missing, Premature, Refused, Rule, Violation
from consensus.hashes import Wtxid, hash_lock
from consensus.locks import _open_key, lock_hash
from consensus.tx import (
    BURN_LOCK,
    NATIVE,
    AfterHeight,
    Body,
    Height,
    Key,
    Older,
    Threshold,
    TxOut,
    Witness,
    make_coinbase,
    make_tx,
    outpoint,
)
from node.events import TxAdded
from node.policy import Policy
from node.rpc.methods_mining import show_entry
from tests.node.mempool_kit import Pool, check_consistent, out
from tests.support.chain import ALICE, BOB, CAROL


def refusal(pool: Pool, raw: bytes, kind: type[Violation] = Refused) -> Rule:
    """The rule by which `raw` is refused; the same one, whether tested or submitted."""
    before = pool.mempool.version
    with pytest.raises(kind) as tested:
        pool.mempool.test(raw)
    with pytest.raises(kind) as submitted:
        pool.mempool.submit(raw)
    assert tested.value.rule is submitted.value.rule
    assert pool.mempool.version == before
    return submitted.value.rule


def test_a_payment_enters_and_is_announced() -> None:
    pool = Pool(coins=1)
    tx = pool.tx(pool.coins, 10_000)
    entry = pool.mempool.submit(tx.raw)
    assert entry.fee == 10_000
    assert entry.time == pool.now
    assert tx.txid in pool.mempool
    assert pool.mempool.get(tx.txid) is entry
    assert pool.events == [TxAdded(tx)]
    check_consistent(pool.mempool)


def test_a_tested_transaction_does_not_enter() -> None:
    pool = Pool(coins=1)
    tx = pool.tx(pool.coins, 10_000)
    assert pool.mempool.test(tx.raw).fee == 10_000
    assert len(pool.mempool) == 0
    assert pool.events == []


def test_garbage_is_malformed() -> None:
    assert refusal(Pool(), b"\x92\x90", DecodeError) is Rule.MALFORMED


def test_a_payment_that_waits_already_is_refused() -> None:
    pool = Pool(coins=1)
    entry = pool.enter(pool.coins, 10_000)
    assert refusal(pool, entry.tx.raw) is Rule.ALREADY_IN_MEMPOOL


def test_a_payment_that_was_mined_is_refused() -> None:
    pool = Pool(coins=1)
    entry = pool.enter(pool.coins, 10_000)
    pool.mine([entry.tx])
    assert refusal(pool, entry.tx.raw) is Rule.ALREADY_CONFIRMED


def test_a_spend_of_an_unknown_coin_is_missing() -> None:
    pool, elsewhere = Pool(coins=1), Pool(coins=2)
    parent = elsewhere.enter(elsewhere.coins[1:], 10_000)
    child = elsewhere.tx([out(parent)], 10_000)
    assert refusal(pool, child.raw, Missing) is Rule.COIN_MISSING
    assert not pool.mempool.is_recently_refused(child.wtxid)


def test_an_output_that_a_parent_does_not_have_is_missing() -> None:
    pool = Pool(coins=1)
    parent = pool.enter(pool.coins, 10_000)
    child = pool.tx([out(parent)], 10_000)
    body = Body(1, (out(parent, 7),), child.body.outputs, (), Height(0))
    assert refusal(pool, make_tx(body, child.witnesses).raw, Missing) is Rule.COIN_MISSING


def test_an_unconfirmed_output_that_destroys_cannot_be_spent() -> None:
    pool = Pool(coins=1)
    amount = pool.coin(pool.coins[0]).amount
    burn = pool.chain.spend(pool.coins, [TxOut(NATIVE, amount - 10_000, BURN_LOCK)])
    pool.mempool.submit(burn.raw)
    body = Body(1, (out(burn),), (TxOut(NATIVE, 1_000, ALICE.lock),), (), Height(0))
    witness = Witness(Key(ALICE.pubkey), (b"\x01" + bytes(64),))
    assert refusal(pool, make_tx(body, [witness]).raw, Missing) is Rule.COIN_MISSING


def test_a_loose_coinbase_is_refused() -> None:
    coinbase = make_coinbase(1, [TxOut(NATIVE, 5, ALICE.lock)], bytes(8))
    assert refusal(Pool(), coinbase.raw) is Rule.COINBASE_LOOSE


def test_a_transaction_without_inputs_is_invalid() -> None:
    tx = make_tx(Body(1, (), (TxOut(NATIVE, 5, ALICE.lock),), (), Height(0)), [])
    assert refusal(Pool(), tx.raw, Invalid) is Rule.TX_INPUTS_EMPTY


def test_an_overspend_is_invalid() -> None:
    pool = Pool(coins=1)
    assert refusal(pool, pool.tx(pool.coins, -1).raw, Invalid) is Rule.OVERSPEND


def test_a_spend_of_a_young_coinbase_is_premature() -> None:
    pool = Pool(coins=1)
    young = pool.mine().txs[0]
    body = Body(1, (out(young),), (TxOut(NATIVE, 1_000, ALICE.lock),), (), Height(0))
    coin = pool.chain.coins[out(young)]
    tx = pool.chain.spend([out(young)], body.outputs, extra_coins={out(young): coin})
    assert refusal(pool, tx.raw, Premature) is Rule.COIN_IMMATURE


def test_a_bad_signature_is_invalid_and_does_not_block_the_good_one() -> None:
    pool = Pool(coins=1)
    good = pool.tx(pool.coins, 10_000)
    signature = good.witnesses[0].items[0]
    flipped = signature[:-1] + bytes((signature[-1] ^ 1,))
    bad = make_tx(good.body, [Witness(good.witnesses[0].lock, (flipped,))])
    assert bad.txid == good.txid
    assert refusal(pool, bad.raw, Invalid) is Rule.BAD_SIGNATURE
    assert pool.mempool.is_recently_refused(bad.wtxid)
    assert not pool.mempool.is_recently_refused(good.wtxid)
    pool.mempool.submit(good.raw)


def test_a_bad_witness_does_not_push_out_the_good_one() -> None:
    pool = Pool(coins=1)
    good = pool.enter(pool.coins, 10_000).tx
    bad = make_tx(good.body, [Witness(good.witnesses[0].lock, (b"\x01" + bytes(64),))])
    assert refusal(pool, bad.raw) is Rule.ALREADY_IN_MEMPOOL
    found = pool.mempool.get(good.txid)
    assert found is not None
    assert found.tx.wtxid == good.wtxid


def test_a_refusal_is_remembered_until_the_tip_changes() -> None:
    pool = Pool(coins=1)
    poor = pool.tx(pool.coins, 1)
    assert refusal(pool, poor.raw) is Rule.FEE_TOO_LOW
    with pytest.raises(Refused) as again:
        pool.mempool.submit(poor.raw)
    assert again.value.rule is Rule.RECENTLY_REFUSED
    assert "fee-too-low" in str(again.value)
    pool.mine()
    assert not pool.mempool.is_recently_refused(poor.wtxid)
    assert refusal(pool, poor.raw) is Rule.FEE_TOO_LOW


def test_a_sender_who_asks_again_hears_the_reason_again() -> None:
    pool = Pool(coins=1)
    poor = pool.tx(pool.coins, 1)
    assert refusal(pool, poor.raw) is Rule.FEE_TOO_LOW
    with pytest.raises(Refused) as again:
        pool.mempool.submit(poor.raw, retry=True)
    assert again.value.rule is Rule.FEE_TOO_LOW


def test_a_refusal_is_forgotten_when_the_transaction_enters_after_all() -> None:
    pool = Pool(coins=2)
    pool.enter(pool.coins, 9_000)
    rival = pool.tx(pool.coins[:1], 9_050)
    assert refusal(pool, rival.raw) is Rule.REPLACEMENT_FEE
    pool.enter(pool.coins[1:], 50_000)  # and so the other coin is free again
    pool.mempool.submit(rival.raw, retry=True)
    assert not pool.mempool.is_recently_refused(rival.wtxid)


def test_signatures_are_verified_once_and_last() -> None:
    pool = Pool(coins=2)
    with pytest.raises(Refused):
        pool.mempool.submit(pool.tx(pool.coins, 1).raw)
    assert pool.verified == 0
    pool.enter(pool.coins, 10_000)
    assert pool.verified == 2


def test_a_child_of_a_waiting_payment_enters_with_its_sums() -> None:
    pool = Pool(coins=1)
    parent = pool.enter(pool.coins, 10_000, outputs=2)
    child = pool.enter([out(parent)], 20_000)
    grandchild = pool.enter([out(child), out(parent, 1)], 30_000)
    assert grandchild.ancestor_fee == 60_000
    assert parent.descendant_count == 3
    assert pool.mempool.ancestors(grandchild.tx.txid) == [parent, child]
    assert pool.mempool.descendants(parent.tx.txid) == [child, grandchild]
    check_consistent(pool.mempool)


def test_coins_of_waiting_payments_can_be_asked_for_until_they_are_spent() -> None:
    pool = Pool(coins=1)
    parent = pool.enter(pool.coins, 10_000, outputs=2)
    pool.enter([out(parent)], 10_000)
    assert pool.mempool.coin(out(parent)) is None
    coin = pool.mempool.coin(out(parent, 1))
    assert coin is not None
    assert coin.lock == ALICE.lock
    assert pool.mempool.coin(outpoint(bytes(32), 0)) is None


def test_an_unconfirmed_coin_has_no_age() -> None:
    pool = Pool(coins=1)
    lock = Threshold(2, (Key(ALICE.pubkey), Older(1)))
    amount = pool.coin(pool.coins[0]).amount - 10_000
    parent = pool.chain.spend(pool.coins, [TxOut(NATIVE, amount, lock_hash(lock))])
    pool.mempool.submit(parent.raw)
    coins = {out(parent): pool.coin(out(parent))}
    child = pool.chain.spend(
        [out(parent)], [TxOut(NATIVE, amount - 10_000, BOB.lock)], locks=[lock], extra_coins=coins
    )
    assert refusal(pool, child.raw, Premature) is Rule.LOCK_OLDER
    pool.mine([parent])
    pool.mempool.submit(child.raw)


def test_a_coin_of_a_parent_about_to_expire_is_premature() -> None:
    pool = Pool(coins=1)
    last = pool.chain.context().height + 19
    parent = pool.mempool.submit(pool.tx(pool.coins, 10_000, expiry=last).raw)
    child = pool.tx([out(parent)], 10_000)
    assert refusal(pool, child.raw, Premature) is Rule.COIN_IMMATURE


def test_a_height_lock_opens_with_the_block_before() -> None:
    pool = Pool(coins=1)
    height = pool.chain.tip.height + 3
    lock = Threshold(2, (Key(ALICE.pubkey), AfterHeight(height)))
    amount = pool.coin(pool.coins[0]).amount - 10_000
    parent = pool.chain.spend(pool.coins, [TxOut(NATIVE, amount, lock_hash(lock))])
    pool.mine([parent])
    child = pool.chain.spend([out(parent)], [TxOut(NATIVE, 1_000, BOB.lock)], locks=[lock])
    assert refusal(pool, child.raw, Premature) is Rule.LOCK_AFTER_HEIGHT
    pool.mine()
    pool.mempool.submit(child.raw)


def test_entries_are_found_by_the_locks_that_they_touch() -> None:
    pool = Pool(coins=2)
    first = pool.enter(pool.coins[:1], 10_000, payee=BOB)
    second = pool.enter([out(first)], 10_000, payee=CAROL)
    other = pool.enter(pool.coins[1:], 10_000)
    assert pool.mempool.touching(BOB.lock) == [first, second]
    assert pool.mempool.touching(CAROL.lock) == [second]
    assert pool.mempool.touching(ALICE.lock) == [first, other]
    pool.mine([first.tx, second.tx])
    assert pool.mempool.touching(BOB.lock) == []


def test_refusals_that_are_remembered_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.mempool.REFUSED_MAX", 3)
    pool = Pool(coins=5)
    wtxids: list[Wtxid] = []
    for coin in pool.coins:
        poor = pool.tx([coin], 1)
        wtxids.append(poor.wtxid)
        refusal(pool, poor.raw)
    assert [pool.mempool.is_recently_refused(wtxid) for wtxid in wtxids] == [False] * 2 + [True] * 3


def test_one_block_more_lets_a_waiting_line_shrink_from_its_front() -> None:
    pool = Pool(coins=1, policy=Policy())
    line = pool.line(pool.coins[0], 5)
    pool.mine([entry.tx for entry in line[:2]])
    assert [entry.ancestor_count for entry in line[2:]] == [1, 2, 3]
    check_consistent(pool.mempool)


@pytest.mark.parametrize(("inputs", "outputs", "memo"), [(1, 2, 0), (20, 1, 0), (1, 60, 100)])
def test_the_memory_estimate_is_honest(
    inputs: int, outputs: int, memo: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # All are by one key here; as a rule each has a lock of its own, which nothing shares.
    monkeypatch.setattr("consensus.locks._open_key", _open_key.__wrapped__)
    pool = Pool(coins=1)
    split = pool.tx(pool.coins, 100_000, 25 * inputs)
    pool.mine([split])
    coins = [out(split, index) for index in range(25 * inputs)]
    raws = []
    for index in range(25):
        spent = coins[index * inputs : (index + 1) * inputs]
        each = (sum(pool.coin(coin).amount for coin in spent) - 100_000) // outputs
        made = [
            TxOut(NATIVE, each, hash_lock(b"%d %d" % (index, n)), bytes(memo))
            for n in range(outputs)
        ]
        raws.append(pool.chain.spend(spent, made).raw)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for raw in raws:
        pool.mempool.submit(raw)
    pool.events.clear()
    # With what a template keeps of each.
    for entry in pool.mempool.entries():
        show_entry(entry)
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert 0.8 * used < pool.mempool.size_bytes < 2 * used
