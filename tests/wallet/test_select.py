"""Which coins are chosen."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from wallet.select import select


def choose(values: list[int], target: int, excess: int = 0, seed: int = 1) -> list[int] | None:
    return select(values, target, excess, random.Random(seed))


values = st.lists(st.integers(-5, 1_000), max_size=40)


@given(values, st.integers(-5, 20_000), st.integers(0, 50), st.integers(0, 5))
def test_choice_is_enough_and_names_each_coin_once(
    coins: list[int], target: int, excess: int, seed: int
) -> None:
    chosen = choose(coins, target, excess, seed)
    if chosen is None:
        assert sum(value for value in coins if value > 0) < target
        return
    assert len(set(chosen)) == len(chosen)
    assert all(coins[position] > 0 for position in chosen)
    assert sum(coins[position] for position in chosen) >= target


@given(values, st.integers(1, 20_000), st.integers(0, 5))
def test_same_randomness_makes_the_same_choice(coins: list[int], target: int, seed: int) -> None:
    assert choose(coins, target, 0, seed) == choose(coins, target, 0, seed)


@given(st.lists(st.integers(1, 1_000), min_size=1, max_size=40), st.integers(1, 20_000))
def test_no_chosen_coin_is_needless(coins: list[int], target: int) -> None:
    chosen = choose(coins, target)
    if chosen:
        total = sum(coins[position] for position in chosen)
        assert total - min(coins[position] for position in chosen) < target


def test_exact_set_is_found_among_others() -> None:
    coins = [1_000, 700, 300, 55, 20]
    chosen = choose(coins, 375)
    assert chosen is not None
    assert sorted(coins[position] for position in chosen) == [20, 55, 300]


def test_sum_within_the_excess_counts_as_exact() -> None:
    coins = [1_000, 303]
    assert choose(coins, 300, excess=5) == [1]
    assert choose(coins, 300, excess=2) == [1]  # the smallest single coin


def test_nearest_of_two_sums_within_the_excess_wins() -> None:
    assert choose([309, 303], 300, excess=10) == [1]


def test_smallest_single_coin_goes_before_many_small_ones() -> None:
    assert choose([5_000, 900, 10, 11, 12], 800) == [1]


def test_without_a_single_coin_the_fewest_are_taken() -> None:
    chosen = choose([400, 300, 7, 6, 200], 650)
    assert chosen is not None
    assert sorted(chosen) == [0, 1]


def test_nothing_asked_for_takes_nothing() -> None:
    assert choose([5, 6], 0) == []


def test_search_ends_on_many_like_coins() -> None:
    chosen = choose([2] * 400, 401)
    assert chosen is not None
    assert len(chosen) == 201
