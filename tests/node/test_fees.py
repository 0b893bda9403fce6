"""The floor of a full mempool, and estimates of the fee rate that is needed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from consensus.params import BLOCK_COST_MAX
from node.fees import FeeEstimator, Floor, RateHistogram, estimate
from node.policy import Policy
from tests.node.mempool_kit import Pool

MINUTE = 60.0


def floor_that_fell(rate: int, used: int) -> Floor:
    floor = Floor(step=1_000, half_life_s=3_600)
    floor.raise_to(rate - 1_000, 0.0)
    floor.block_connected(0.0)
    assert floor.rate(0.0, used, 1_000) == rate
    return floor


def test_the_floor_halves_in_its_half_life() -> None:
    floor = floor_that_fell(80_000, used=900)
    assert floor.rate(60 * MINUTE, 900, 1_000) == 40_000
    assert floor.rate(120 * MINUTE, 900, 1_000) == 20_000


def test_the_floor_falls_faster_when_the_mempool_is_emptier() -> None:
    floor = floor_that_fell(80_000, used=900)
    assert floor.rate(60 * MINUTE, 400, 1_000) == 20_000
    assert floor.rate(60 * MINUTE, 100, 1_000) == 5_000


def test_the_floor_ends_at_zero() -> None:
    floor = floor_that_fell(80_000, used=900)
    assert floor.rate(8 * 60 * MINUTE, 900, 1_000) == 0


def test_the_floor_never_falls_below_what_was_dropped_last() -> None:
    floor = floor_that_fell(80_000, used=900)
    floor.raise_to(10_000, 1.0)
    assert floor.rate(1.0, 900, 1_000) >= 11_000


def test_the_floor_holds_again_after_the_next_overflow() -> None:
    floor = floor_that_fell(80_000, used=900)
    floor.raise_to(100_000, 10.0)
    assert floor.rate(10_000.0, 900, 1_000) == 101_000
    floor.block_connected(10_000.0)
    assert floor.rate(13_600.0, 900, 1_000) == 50_500


@given(st.integers(1_000, 10**9), st.lists(st.integers(0, 10_000_000), min_size=2))
def test_the_floor_only_falls_while_nothing_is_dropped(rate: int, times: list[int]) -> None:
    floor = Floor(step=1_000, half_life_s=3_600)
    floor.raise_to(rate, 0.0)
    floor.block_connected(0.0)
    rates = [floor.rate(time / 1_000, 900, 1_000) for time in sorted(times)]
    assert rates == sorted(rates, reverse=True)


def test_a_clock_that_goes_back_does_not_raise_the_floor() -> None:
    floor = floor_that_fell(80_000, used=900)
    assert floor.rate(-1_000.0, 900, 1_000) == 80_000


def test_the_depth_of_the_histogram_is_what_waits_above_a_rate() -> None:
    histogram = RateHistogram()
    histogram.add(fee=50_000, cost=1_000)  # 50 000
    histogram.add(fee=10_000, cost=1_000)  # 10 000
    assert histogram.rate_at_depth(3_000) == 0
    assert 10_000 <= histogram.rate_at_depth(2_000) <= 13_000
    assert 50_000 <= histogram.rate_at_depth(1_000) <= 64_000
    histogram.add(fee=10_000, cost=1_000, sign=-1)
    assert histogram.rate_at_depth(2_000) == 0


@given(st.lists(st.tuples(st.integers(0, 10**15), st.integers(1, 100_000))))
def test_what_was_added_and_taken_away_leaves_nothing(items: list[tuple[int, int]]) -> None:
    histogram = RateHistogram()
    for fee, cost in items:
        histogram.add(fee, cost)
    for fee, cost in items:
        histogram.add(fee, cost, -1)
    assert histogram.rate_at_depth(1) == 0


def test_blocks_with_room_ask_for_nothing_special() -> None:
    past = FeeEstimator()
    for _ in range(50):
        past.block_connected(1_000_000, [(500_000, 1_000)])
    assert past.rate(1) == 0


def test_full_blocks_ask_for_what_their_cheapest_paid() -> None:
    past = FeeEstimator()
    paid = [(rate, 1_000) for rate in range(5_000, 9_000)]
    for _ in range(50):
        past.block_connected(BLOCK_COST_MAX, paid)
    assert past.rate(1) == 5_200  # without the lowest twentieth


def test_who_can_wait_for_a_quiet_moment_pays_less() -> None:
    past = FeeEstimator()
    for number in range(100):
        if number % 10 == 0:
            past.block_connected(0, [])
        else:
            past.block_connected(BLOCK_COST_MAX, [(20_000, 1_000)])
    assert past.rate(1) == 20_000
    assert past.rate(10) == 0


def test_an_estimate_is_never_below_what_is_relayed() -> None:
    assert estimate(6, RateHistogram(), FeeEstimator(), 1_234) == 1_234


def test_an_estimate_rises_with_what_waits() -> None:
    waiting = RateHistogram()
    waiting.add(fee=BLOCK_COST_MAX * 30, cost=BLOCK_COST_MAX)  # 30 000, one block of it
    past = FeeEstimator()
    assert estimate(1, waiting, past, 1_000) > 30_000
    assert estimate(3, waiting, past, 1_000) == 1_000


def test_targets_out_of_range_are_taken_as_the_nearest() -> None:
    pool = Pool(policy=Policy(min_fee_rate=700))
    assert pool.mempool.estimate_fee_rate(0) == 700
    assert pool.mempool.estimate_fee_rate(10**9) == 700


def test_the_mempool_tells_the_estimator_what_was_mined() -> None:
    pool = Pool(coins=45)
    txs = [pool.heavy([coin], 90_000, 25_000) for coin in pool.coins]
    for tx in txs:
        pool.mempool.submit(tx.raw)
    assert 25_000 < pool.mempool.estimate_fee_rate(1) < 30_000
    for _ in range(3):
        pool.mine([tx for tx in txs[:44] if tx.txid in pool.mempool])
    assert pool.mempool.estimate_fee_rate(5) == pool.mempool.policy.min_fee_rate


def test_what_was_mined_does_not_wait_any_more() -> None:
    pool = Pool(coins=44)
    txs = [pool.heavy([coin], 90_000, 25_000) for coin in pool.coins]
    for tx in txs:
        pool.mempool.submit(tx.raw)
    pool.mine(txs[:22])
    pool.mine(txs[22:])
    assert pool.mempool.estimate_fee_rate(1) == pool.mempool.policy.min_fee_rate
