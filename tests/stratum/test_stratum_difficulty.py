"""How hard shares are."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.stratum.difficulty import (
    EXPONENT_MAX,
    EXPONENT_MIN,
    HASHES_PER_DIFFICULTY,
    SHARES_PER_MINUTE,
    Pace,
    exponent_below,
    exponent_within,
    share_target,
)
from tests.support.stratum_miner import DIFFICULTY_ONE

EXPONENTS = range(EXPONENT_MIN, EXPONENT_MAX + 1)


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_miners_with_floats_compute_the_same_target(exponent: int) -> None:
    assert share_target(exponent) == DIFFICULTY_ONE * 2**64 // int(2.0**exponent * 2**64)
    # As miners do that split it into 64 bits at a time.
    assert share_target(exponent) >> 192 == int(float(DIFFICULTY_ONE >> 160) / 2.0**exponent) >> 32


@given(st.integers(0, 2**256 - 1))
def test_hash_that_is_a_block_is_always_a_share(target: int) -> None:
    exponent = exponent_within(target)
    assert exponent in EXPONENTS
    assert share_target(exponent) >= target or exponent == EXPONENT_MIN
    assert exponent == EXPONENT_MAX or share_target(exponent + 1) < target


@given(st.floats() | st.integers())
def test_suggested_difficulty_is_met_by_the_power_of_two_below(difficulty: float) -> None:
    exponent = exponent_below(difficulty)
    assert exponent in EXPONENTS
    if 2.0**EXPONENT_MIN <= difficulty < 2.0**EXPONENT_MAX:
        assert 2.0**exponent <= difficulty < 2.0 ** (exponent + 1)


def test_huge_integers_are_difficulties_too() -> None:
    assert exponent_below(10**400) == EXPONENT_MAX
    assert exponent_below(-(10**400)) == EXPONENT_MIN
    assert exponent_below(math.nan) == EXPONENT_MIN


@pytest.mark.parametrize("power", [12, 20, 25, 33, 40, 50, 60, 70])
def test_any_miner_finds_its_pace_within_minutes(power: int) -> None:
    pace = Pace(0, 0.0)
    now, debt, shares = 0.0, 0.0, 0
    step_s, warm_s, end_s = 0.5, 240.0, 1_200.0
    while now < end_s:
        now += step_s
        debt += 2**power * step_s / (HASHES_PER_DIFFICULTY * 2.0**pace.exponent)
        while debt >= 1:
            # The rest of an interval would have been searched at the new difficulty.
            debt -= 1
            shares += now >= warm_s
            pace.add_share()
            if pace.adjust(now, EXPONENT_MIN, EXPONENT_MAX):
                debt = 0.0
        pace.adjust(now, EXPONENT_MIN, EXPONENT_MAX)
    per_minute = shares * 60 / (end_s - warm_s)
    assert SHARES_PER_MINUTE / 2.5 < per_minute < SHARES_PER_MINUTE * 2.5


def test_difficulty_stays_within_its_bounds() -> None:
    pace = Pace(0, 0.0)
    for now in range(1, 1_000, 20):
        pace.adjust(float(now), -3, 4)
    assert pace.exponent == -3
    for second in range(1_000, 2_000):
        for _ in range(50):
            pace.add_share()
        pace.adjust(float(second), -3, 4)
    assert pace.exponent == 4
