"""Amounts: decimal text and integers of base units."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.params import AMOUNT_MAX
from wallet.amounts import display_amount, format_amount, parse_amount, parse_rate
from wallet.errors import WalletError

units = st.integers(1, AMOUNT_MAX)
decimals = st.integers(0, 18)


@given(units, decimals)
def test_formatted_amount_parses_back(amount: int, places: int) -> None:
    assert parse_amount(format_amount(amount, places), places) == amount


@given(units, decimals)
def test_displayed_amount_differs_by_commas_only(amount: int, places: int) -> None:
    assert display_amount(amount, places).replace(",", "") == format_amount(amount, places)


@given(units, decimals)
def test_negative_amount_is_the_amount_with_a_sign(amount: int, places: int) -> None:
    assert display_amount(-amount, places) == "-" + display_amount(amount, places)


@pytest.mark.parametrize(
    ("text", "places", "wanted"),
    [
        ("1", 8, 100_000_000),
        ("0.00000001", 8, 1),
        ("1.50", 1, 15),
        ("92233720368.54775807", 8, AMOUNT_MAX),
        ("007", 0, 7),
        ("1,234.5", 8, 123_450_000_000),
        ("1 234.5", 8, 123_450_000_000),
        ("1_234.5", 8, 123_450_000_000),
        ("12 345", 0, 12_345),
        ("1,234,567", 0, 1_234_567),
        ("1,000.00000000", 8, 100_000_000_000),
    ],
)
def test_amount_is_exact(text: str, places: int, wanted: int) -> None:
    assert parse_amount(text, places) == wanted


@pytest.mark.parametrize(
    "text",
    ["", ".5", "5.", "-1", "+1", "1e3", "1,000", "0,5", "1,5", "1.234,5", "1,23.4",
     "1234,567.8", "1, 234.5", "1,234 567.8",
     "1_234,567.8", "1  234", " 1", "1 ", "1_", "_1", "0,123.5", "1,234.",
     "1\u00a0234", "1'234", "0x10", "NaN", "٣", "0", "0.0",
     "92233720368.54775808", "0.000000001", "1.5.0", "9" * 40],
)  # fmt: skip
def test_what_is_not_an_amount_is_refused(text: str) -> None:
    with pytest.raises(WalletError):
        parse_amount(text, 8)


@given(units, decimals, st.sampled_from(" _"))
def test_displayed_amount_parses_back_unless_its_comma_could_be_a_point(
    amount: int, places: int, separator: str
) -> None:
    shown = display_amount(amount, places)
    assert parse_amount(shown.replace(",", separator), places) == amount
    if shown.count(",") == 1 and "." not in shown:
        with pytest.raises(WalletError, match="comma"):
            parse_amount(shown, places)
    else:
        assert parse_amount(shown, places) == amount


def test_thousands_are_separated_for_people_only() -> None:
    assert display_amount(123_456_789_012_345, 8) == "1,234,567.89012345"
    assert format_amount(123_456_789_012_345, 8) == "1234567.89012345"


def test_rate_may_be_zero() -> None:
    assert parse_rate("0.00000000") == 0
