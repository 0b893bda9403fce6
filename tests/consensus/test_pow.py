"""Compact targets, work, and how difficulty moves."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.pow import (
    asert_bits,
    bits_of,
    hash_as_number,
    is_canonical_bits,
    target_of,
    work_of,
)

LIMIT = 0x1E00FFFF
INTERVAL_S, HALF_LIFE_S = 30, 288 * 30


def next_bits(drift_s: int, height: int = 0, anchor: int = 0x1B00FFFF) -> int:
    """Bits after a chain that is `drift_s` behind its schedule."""
    return asert_bits(
        anchor, INTERVAL_S * (height + 1) + drift_s, height, INTERVAL_S, HALF_LIFE_S, LIMIT
    )


@pytest.mark.parametrize(
    ("bits", "target"),
    [
        (0x1D00FFFF, 0xFFFF << 208),
        (0x207FFFFF, 0x7FFFFF << 232),
        (0x03123456, 0x123456),
        (0x02123456, 0x1234),
        (0x01123456, 0x12),
        (0x04123456, 0x12345600),
        (0x00123456, 0),
        (0x01003456, 0),
        (0x04923456, 0),
        (0x1D800000, 0),
        (0, 0),
    ],
)
def test_bits_stand_for_their_target(bits: int, target: int) -> None:
    assert target_of(bits) == target


@given(st.integers(1, 2**256 - 1))
def test_bits_keep_the_leading_digits_of_a_target(target: int) -> None:
    bits = bits_of(target)
    assert is_canonical_bits(bits)
    assert target_of(bits) <= target < target_of(bits) + (1 << max(0, target.bit_length() - 15))


@given(st.integers(0, 2**32 - 1))
def test_any_32_bits_are_canonical_or_refused(bits: int) -> None:
    target = target_of(bits)
    assert is_canonical_bits(bits) == (0 < target < 2**256 and bits_of(target) == bits)


@pytest.mark.parametrize(
    "bits",
    [
        0,
        0x1D000000,
        0x1D80FFFF,
        0x1D8000FF,
        0x2200FFFF,
        0x21010000,
        0xFF7FFFFF,
        0x1E0000FF,
        0x04000001,
    ],
)
def test_bits_that_are_zero_negative_too_large_or_not_canonical_are_refused(bits: int) -> None:
    assert not is_canonical_bits(bits)


@given(st.integers(1, 2**256 - 1))
def test_work_is_the_number_of_hashes_that_the_target_takes(target: int) -> None:
    bits = bits_of(target)
    work = Fraction(2**256, target_of(bits) + 1)
    assert work - 1 < work_of(bits) <= work


def test_hash_is_compared_as_a_little_endian_number() -> None:
    assert hash_as_number(b"\x01" + bytes(31)) == 1
    assert hash_as_number(bytes(31) + b"\x01") == 1 << 248


@given(st.integers(-(2**33), 2**33), st.integers(0, 10**6), st.integers(1, 10**5))
def test_difficulty_falls_with_time_and_never_jumps_back(
    drift_s: int, height: int, more_s: int
) -> None:
    assert target_of(next_bits(drift_s, height)) <= target_of(next_bits(drift_s + more_s, height))


@given(st.integers(-(2**33), 2**33), st.integers(0, 2**31), st.integers(0, 3))
def test_difficulty_depends_on_the_distance_to_the_schedule_alone(
    drift_s: int, height: int, fewer: int
) -> None:
    assert next_bits(drift_s, height) == next_bits(drift_s, height >> fewer)


@given(
    st.integers(-(2**40), 2**40),
    st.integers(1, 2**24).map(lambda target: bits_of(target << 200)),
    st.sampled_from([LIMIT, 0x207FFFFF, 0x1F00FFFF]),
)
def test_difficulty_is_always_a_canonical_target_within_the_limit(
    drift_s: int, anchor: int, limit: int
) -> None:
    bits = asert_bits(anchor, drift_s, 5, INTERVAL_S, HALF_LIFE_S, limit)
    assert is_canonical_bits(bits)
    assert target_of(bits) <= target_of(limit)


@pytest.mark.parametrize("halvings", range(1, 9))
def test_each_half_life_ahead_doubles_the_work(halvings: int) -> None:
    assert target_of(next_bits(-halvings * HALF_LIFE_S)) == target_of(0x1B00FFFF) >> halvings or (
        target_of(next_bits(-halvings * HALF_LIFE_S))
        == target_of(bits_of(target_of(0x1B00FFFF) >> halvings))
    )
    assert next_bits(halvings * HALF_LIFE_S) == bits_of(target_of(0x1B00FFFF) << halvings)


@given(st.integers(-40 * HALF_LIFE_S, 20 * HALF_LIFE_S))
def test_cubic_is_close_to_the_power_of_two(drift_s: int) -> None:
    exact = target_of(0x1B00FFFF) * 2.0 ** (drift_s / HALF_LIFE_S)
    assert abs(target_of(next_bits(drift_s)) / exact - 1) < 0.000_2


def test_exponent_is_truncated_toward_zero() -> None:
    # Floored, a drift of one second ahead would move the target by one more step.
    exponent = -(1 * 65_536 // HALF_LIFE_S)
    assert exponent == -7
    fraction = exponent & 0xFFFF
    factor = 65_536 + (
        (195_766_423_245_049 * fraction + 971_821_376 * fraction**2 + 5_127 * fraction**3 + 2**47)
        >> 48
    )
    assert next_bits(-1) == bits_of(target_of(0x1B00FFFF) * factor >> 17)
