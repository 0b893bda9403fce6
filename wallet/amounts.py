"""Amounts: decimal text outside, integers of base units inside. Never floats.

Source: docs/wallet.md, "Amounts".
"""

from __future__ import annotations

import re

from consensus.params import AMOUNT_MAX
from wallet.errors import WalletError

NATIVE_DECIMALS = 8
_DECIMAL = re.compile(r"([0-9]{1,30})(?:\.([0-9]{1,30}))?")


def parse_amount(text: str, decimals: int) -> int:
    """Base units of an amount written as `12` or `12.5`.

    Raises: WalletError. A comma is refused, since to some it separates thousands and to others
    decimals; digits beyond the asset's decimals are refused instead of rounded.
    """
    units = _units(text, decimals)
    if not 1 <= units <= AMOUNT_MAX:
        raise WalletError(
            f"an amount must be above 0 and at most {format_amount(AMOUNT_MAX, decimals)}"
        )
    return units


def parse_rate(text: str) -> int:
    """Base units per 1 000 cost of a fee rate written in whole native coins; may be 0."""
    units = _units(text, NATIVE_DECIMALS)
    if units > AMOUNT_MAX:
        raise WalletError("the fee rate is too large")
    return units


def _units(text: str, decimals: int) -> int:
    match = _DECIMAL.fullmatch(text, 0)
    if not match or not text.isascii():
        raise WalletError(f"{text[:40]!r} is not an amount; write it like 12 or 12.5")
    whole, fraction = match[1], match[2] or ""
    if len(fraction.rstrip("0")) > decimals:
        raise WalletError(f"{text[:40]!r} has more than {decimals} decimals")
    return int(whole + fraction[:decimals].ljust(decimals, "0"))


def format_amount(units: int, decimals: int) -> str:
    """Decimal text with every decimal of the asset: what `parse_amount` reads back."""
    sign, digits = "-" if units < 0 else "", str(abs(units)).rjust(decimals + 1, "0")
    whole, fraction = digits[: len(digits) - decimals], digits[len(digits) - decimals :]
    return f"{sign}{whole}.{fraction}" if decimals else f"{sign}{whole}"


def display_amount(units: int, decimals: int) -> str:
    """As `format_amount`, with thousands separated by commas, for people."""
    whole, point, fraction = format_amount(units, decimals).partition(".")
    return f"{int(whole):,}{point}{fraction}" if whole != "-0" else f"-0{point}{fraction}"
