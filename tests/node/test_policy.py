"""What this node refuses though the ledger would allow it; every such rule, and its borders."""

from __future__ import annotations

import pytest

from consensus.errors import Refused, Rule
from consensus.tx import BURN_LOCK, NATIVE, Tx, TxOut, outpoint
from node.events import Removal
from node.mempool_entry import Entry
from node.policy import Policy, fee_at, rate_of
from tests.node.mempool_kit import Pool, check_consistent, out
from tests.support.chain import ALICE, BOB


def refusal(pool: Pool, tx: Tx, **options: int) -> Rule:
    with pytest.raises(Refused) as refused:
        pool.mempool.submit(tx.raw, retry=True, **options)
    return refused.value.rule


def cost_of_payment(pool: Pool) -> int:
    return pool.mempool.test(pool.tx(pool.coins[:1], 10_000).raw).cost


def test_fees_are_rounded_up_and_rates_down() -> None:
    assert fee_at(1_000, 250) == 250
    assert fee_at(1_001, 250) == 251
    assert rate_of(251, 250) == 1_004
    assert rate_of(1, 1_500) == 0


# Fees


def test_the_least_fee_rate_is_relayed_and_one_unit_less_is_not() -> None:
    pool = Pool(coins=1)
    cost = cost_of_payment(pool)
    assert refusal(pool, pool.tx(pool.coins, cost - 1)) is Rule.FEE_TOO_LOW
    pool.enter(pool.coins, cost)


def test_a_fee_above_what_the_sender_allows_is_absurd() -> None:
    pool = Pool(coins=1)
    cost = cost_of_payment(pool)
    tx = pool.tx(pool.coins, 5 * cost)
    assert refusal(pool, tx, fee_rate_max=4_999) is Rule.FEE_ABSURD
    assert not pool.mempool.is_recently_refused(tx.wtxid)
    pool.mempool.submit(tx.raw, fee_rate_max=5_000)


def test_a_coin_that_costs_more_than_it_is_worth_is_dust() -> None:
    pool = Pool(coins=2)
    amount = pool.coin(pool.coins[0]).amount

    def tx(small: int, lock: bytes = ALICE.lock) -> Tx:
        outputs = [
            TxOut(NATIVE, small, type(ALICE.lock)(lock)),
            TxOut(NATIVE, amount // 2, BOB.lock),
        ]
        return pool.chain.spend(pool.coins[:1], outputs)

    assert refusal(pool, tx(199)) is Rule.DUST
    pool.mempool.test(tx(200).raw)
    pool.mempool.test(tx(1, BURN_LOCK).raw)


def test_a_transaction_that_expires_within_three_blocks_is_refused() -> None:
    pool = Pool(coins=1)
    height = pool.chain.context().height
    assert refusal(pool, pool.tx(pool.coins, 10_000, expiry=height + 1)) is Rule.EXPIRES_TOO_SOON
    pool.mempool.submit(pool.tx(pool.coins, 10_000, expiry=height + 2).raw)


# Lines of unconfirmed transactions


def test_the_26th_of_a_line_is_refused() -> None:
    pool = Pool(coins=1)
    line = pool.line(pool.coins[0], 25)
    assert refusal(pool, pool.tx([out(line[-1])], 10_000)) is Rule.MEMPOOL_ANCESTORS
    pool.mine([line[0].tx])
    pool.enter([out(line[-1])], 10_000)


def test_the_25th_descendant_is_refused() -> None:
    pool = Pool(coins=1)
    parent = pool.enter(pool.coins, 40_000, outputs=25)
    for index in range(24):
        pool.enter([out(parent, index)], 10_000)
    assert refusal(pool, pool.tx([out(parent, 24)], 10_000)) is Rule.MEMPOOL_DESCENDANTS


def test_ancestors_may_not_cost_more_than_a_block_can_well_take() -> None:
    pool = Pool(coins=1)
    first = pool.mempool.submit(pool.heavy(pool.coins, 60_000, 1_000).raw)
    assert refusal(pool, pool.heavy([out(first)], 60_000, 1_000)) is Rule.MEMPOOL_ANCESTORS


def test_descendants_may_not_cost_more_than_that_either() -> None:
    pool = Pool(coins=2)
    parent = pool.enter(pool.coins[:1], 10_000, outputs=3)
    for index in range(2):
        pool.mempool.submit(pool.heavy([out(parent, index)], 45_000, 20_000).raw)
    third = pool.heavy([out(parent, 2)], 45_000, 20_000)
    assert refusal(pool, third) is Rule.MEMPOOL_DESCENDANTS


def test_a_transaction_alone_may_cost_as_much_as_the_ledger_allows() -> None:
    pool = Pool(coins=1, policy=Policy(ancestors_cost_max=10_000, descendants_cost_max=10_000))
    pool.mempool.submit(pool.heavy(pool.coins, 50_000, 1_000).raw)


def test_more_parents_than_can_be_followed_are_refused() -> None:
    pool = Pool(coins=30)
    parents = [pool.enter([coin], 10_000) for coin in pool.coins]
    tx = pool.tx([out(parent) for parent in parents], 1_000_000)
    assert refusal(pool, tx) is Rule.MEMPOOL_ANCESTORS


# Replacement


def test_a_better_offer_takes_the_place_of_the_first_and_of_its_descendants() -> None:
    pool = Pool(coins=1)
    line = pool.line(pool.coins[0], 3, fee=1_000)
    better = pool.enter(pool.coins, 5_000)
    assert [entry.tx.txid for entry in pool.mempool.entries()] == [better.tx.txid]
    assert pool.removals() == [(entry.tx.txid, Removal.REPLACED) for entry in line]
    check_consistent(pool.mempool)


def test_a_replacement_pays_for_what_it_pushes_out_and_for_its_relay() -> None:
    pool = Pool(coins=1)
    cost = cost_of_payment(pool)
    pool.line(pool.coins[0], 3, fee=1_000)
    assert refusal(pool, pool.tx(pool.coins, 3_000 + cost - 1)) is Rule.REPLACEMENT_FEE
    pool.enter(pool.coins, 3_000 + cost)


def test_a_replacement_has_a_better_fee_rate_than_each_conflict() -> None:
    pool = Pool(coins=2)
    pool.enter(pool.coins[:1], 1_000)
    pool.enter(pool.coins[1:], 50_000)
    larger = pool.heavy(pool.coins, 5_000, 15_000)
    assert refusal(pool, larger) is Rule.REPLACEMENT_FEE
    pool.mempool.submit(pool.heavy(pool.coins, 5_000, 300_000).raw)
    assert len(pool.mempool) == 1


def test_a_conflict_with_poor_parents_counts_by_its_own_fee_rate_too() -> None:
    pool = Pool(coins=2)
    poor = pool.mempool.submit(pool.heavy(pool.coins[:1], 50_000, 1_000).raw)
    rich = pool.enter([out(poor), pool.coins[1]], 60_000)
    larger = pool.heavy(pool.coins[1:], 1_000, 100_000)
    assert larger.txid != rich.tx.txid
    assert refusal(pool, larger) is Rule.REPLACEMENT_FEE


def test_a_replacement_is_not_worse_with_its_unconfirmed_parents() -> None:
    pool = Pool(coins=2)
    pool.enter(pool.coins[:1], 5_000)
    poor = pool.mempool.submit(pool.heavy(pool.coins[1:], 50_000, 1_000).raw)
    tx = pool.tx([pool.coins[0], out(poor)], 20_000)
    assert refusal(pool, tx) is Rule.REPLACEMENT_FEE


def test_a_replacement_is_not_worse_than_a_family_that_it_breaks_up() -> None:
    pool = Pool(coins=2)
    poor = pool.enter(pool.coins[:1], 1_000)
    pool.enter([out(poor)], 30_000)
    larger = pool.heavy([pool.coins[0]], 20_000, 6_000)
    assert refusal(pool, larger) is Rule.REPLACEMENT_FEE


def test_a_hundred_may_be_replaced_and_not_one_more() -> None:
    pool = Pool(coins=101)
    for coin in pool.coins:
        pool.enter([coin], 1_000)
    assert refusal(pool, pool.tx(pool.coins, 5_000_000)) is Rule.REPLACEMENT_COUNT
    pool.enter(pool.coins[:100], 5_000_000)
    assert len(pool.mempool) == 2


def test_descendants_count_among_the_replaced() -> None:
    pool = Pool(coins=5, policy=Policy(replaced_max=9))
    for coin in pool.coins:
        pool.line(coin, 2, fee=1_000)
    assert refusal(pool, pool.tx(pool.coins, 5_000_000)) is Rule.REPLACEMENT_COUNT
    pool.enter(pool.coins[:4], 5_000_000)


def test_a_replacement_may_not_spend_what_it_pushes_out() -> None:
    pool = Pool(coins=1)
    parent = pool.enter(pool.coins, 1_000)
    tx = pool.tx([pool.coins[0], out(parent)], 50_000)
    assert refusal(pool, tx) is Rule.REPLACEMENT_SPENDS_CONFLICT


def test_a_conflict_is_refused_where_replacement_is_switched_off() -> None:
    pool = Pool(coins=1, policy=Policy(replacement=False))
    pool.enter(pool.coins, 1_000)
    assert refusal(pool, pool.tx(pool.coins, 50_000)) is Rule.MEMPOOL_CONFLICT


def test_a_replacement_may_take_the_last_place_of_a_line() -> None:
    pool = Pool(coins=1)
    line = pool.line(pool.coins[0], 25, fee=1_000)
    pool.enter([out(line[-2])], 5_000)
    assert len(pool.mempool) == 25
    check_consistent(pool.mempool)


# Pinning: a payee tries to make a payment too dear to replace


def pay_bob(pool: Pool, fee: int) -> Entry:
    """A payment of Alice: half to Bob, half back."""
    half = (pool.coin(pool.coins[0]).amount - fee) // 2
    outputs = [TxOut(NATIVE, half, BOB.lock), TxOut(NATIVE, half, ALICE.lock)]
    return pool.mempool.submit(pool.chain.spend(pool.coins[:1], outputs).raw)


def test_a_large_poor_child_is_refused() -> None:
    pool = Pool(coins=1)
    payment = pay_bob(pool, 3_000)
    pin = pool.heavy([out(payment)], 90_000, 1_000, BOB)
    assert refusal(pool, pin) is Rule.FEE_BELOW_PARENT


def test_many_small_poor_children_cannot_bar_an_honest_bump() -> None:
    pool = Pool(coins=1)
    payment = pay_bob(pool, 3_000)
    last = payment
    refused: list[Rule] = []
    for _ in range(30):
        tx = pool.tx([out(last)], 400, payee=BOB)
        try:
            last = pool.mempool.submit(tx.raw)
        except Refused as refusal:
            refused.append(refusal.rule)
            break
    assert refused == [Rule.FEE_BELOW_PARENT]
    assert payment.descendant_count > 5
    twice = 2 * payment.fee + payment.cost
    pool.enter(pool.coins[:1], twice)


def test_a_rich_child_of_a_poor_stranger_is_a_burden_too() -> None:
    pool = Pool(coins=2)
    payment = pay_bob(pool, 3_000)
    stranger = pool.mempool.submit(pool.heavy(pool.coins[1:], 50_000, 1_000, BOB).raw)
    tx = pool.tx([out(payment), out(stranger)], 100_000, payee=BOB)
    assert refusal(pool, tx) is Rule.FEE_BELOW_PARENT


def test_a_child_that_pays_as_well_as_its_parent_may_be_large() -> None:
    pool = Pool(coins=1)
    payment = pay_bob(pool, 3_000)
    rate = rate_of(payment.fee, payment.cost)
    pool.mempool.submit(pool.heavy([out(payment)], 90_000, rate, BOB).raw)


def test_a_small_poor_child_is_let_in() -> None:
    pool = Pool(coins=1)
    payment = pay_bob(pool, 3_000)
    pool.enter([out(payment)], 400, payee=BOB)


# When it is full

SMALL = Policy(size_bytes_max=60_000)


def fill(pool: Pool, fee: int) -> int:
    """Enter payments with ever higher fees until something is dropped; how many entered."""
    for count, coin in enumerate(pool.coins):
        pool.enter([coin], fee + 10 * count)
        if pool.removals():
            return count + 1
    raise AssertionError("never full")


def test_the_lowest_fee_rate_leaves_when_the_mempool_is_full() -> None:
    pool = Pool(coins=60, policy=SMALL)
    first = pool.tx(pool.coins[:1], 2_000)
    fill(pool, 2_000)
    assert pool.removals() == [(first.txid, Removal.EVICTED)]
    assert pool.mempool.size_bytes <= SMALL.size_bytes_max
    check_consistent(pool.mempool)


def test_the_floor_rises_when_the_mempool_is_full_and_falls_again() -> None:
    pool = Pool(coins=60, policy=SMALL)
    least = SMALL.min_fee_rate
    assert pool.mempool.floor_rate == least
    count = fill(pool, 2_000)
    dropped = rate_of(2_000, cost_of_payment(pool))
    assert pool.mempool.floor_rate == dropped + SMALL.incremental_fee_rate
    poor = pool.tx(pool.coins[count : count + 1], 2_000)
    assert refusal(pool, poor) is Rule.FEE_BELOW_FLOOR
    pool.now += 10 * SMALL.floor_half_life_s
    assert refusal(pool, poor) is Rule.FEE_BELOW_FLOOR, "without a block there is no more room"
    pool.mine()
    high = pool.mempool.floor_rate
    pool.now += SMALL.floor_half_life_s
    assert pool.mempool.floor_rate == high - high // 2
    pool.now += 10 * SMALL.floor_half_life_s
    assert pool.mempool.floor_rate == least


def test_a_newcomer_that_would_be_dropped_at_once_is_refused() -> None:
    pool = Pool(coins=60, policy=SMALL)
    for coin in pool.coins:
        tx = pool.tx([coin], 2_000)
        if pool.mempool.size_bytes + pool.mempool.test(tx.raw).size_bytes > SMALL.size_bytes_max:
            break
        pool.mempool.submit(tx.raw)
    before = pool.events.copy()
    assert refusal(pool, pool.tx([coin], 1_000)) is Rule.MEMPOOL_FULL
    assert pool.events == before


def test_a_parent_stays_for_the_sake_of_a_child_that_pays() -> None:
    pool = Pool(coins=60, policy=SMALL)
    parent = pool.enter(pool.coins[:1], 1_000)
    child = pool.enter([out(parent)], 500_000)
    pool.coins = pool.coins[1:]
    fill(pool, 2_000)
    assert parent.tx.txid in pool.mempool
    assert child.tx.txid in pool.mempool


def test_descendants_leave_with_what_is_dropped() -> None:
    pool = Pool(coins=60, policy=SMALL)
    line = pool.line(pool.coins[0], 3, fee=1_000)
    pool.coins = pool.coins[1:]
    fill(pool, 2_000)
    gone = {txid for txid, reason in pool.removals() if reason is Removal.EVICTED}
    assert line[2].tx.txid in gone
    for index, entry in enumerate(line):
        below = {other.tx.txid for other in line[index:]}
        assert entry.tx.txid not in gone or below <= gone
    check_consistent(pool.mempool)


def test_outpoints_of_the_dropped_can_be_spent_again() -> None:
    pool = Pool(coins=60, policy=SMALL)
    fill(pool, 2_000)
    assert pool.mempool.spender(pool.coins[0]) is None
    pool.enter(pool.coins[:1], 90_000)
    assert pool.mempool.spender(outpoint(pool.coins[0][:32], 0)) is not None
