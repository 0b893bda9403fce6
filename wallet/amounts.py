"""Amounts: decimal text outside, integers of base units inside. Never floats.

Source: docs/wallet.md, "Amounts".
"""

from __future__ import annotations

import re

from consensus.params import AMOUNT_MAX
from wallet.errors import WalletError

NATIVE_DECIMALS = 8
_FRACTION = r"(?:\.([0-9]{1,30}))?"
_DECIMAL = re.compile(rf"([0-9]{{1,30}}){_FRACTION}")
_GROUPED = re.compile(
    # Of one comma alone, nobody can say whether it is a decimal mark.
    rf"([1-9][0-9]{{0,2}}(?:(?:,[0-9]{{3}}){{1,9}}(?=\.)|(?:,[0-9]{{3}}){{2,9}}"
    rf"|(?: [0-9]{{3}}){{1,9}}|(?:_[0-9]{{3}}){{1,9}})){_FRACTION}"
)
_SEPARATORS = str.maketrans("", "", ", _")


def parse_amount(text: str, decimals: int) -> int:
    """Base units of an amount written as `12`, `12.5`, `1,234.5`, `1 234.5` or `1_234.5`.

    Raises: WalletError. A comma that could be a decimal mark is refused; digits beyond the asset's
    decimals are refused instead of rounded.
    """
    units = _units(text, decimals)
    if not 1 <= units <= AMOUNT_MAX:
        raise WalletError(
            f"an amount must be above 0 and at most {display_amount(AMOUNT_MAX, decimals)}"
        )
    return units


def parse_rate(text: str) -> int:
    """Base units per 1 000 cost of a fee rate written in whole native coins; may be 0."""
    units = _units(text, NATIVE_DECIMALS)
    if units > AMOUNT_MAX:
        raise WalletError("the fee rate is too large")
    return units


def _units(text: str, decimals: int) -> int:
    match = _DECIMAL.fullmatch(text) or _GROUPED.fullmatch(text)
    if not match:
        if "," in text:
            raise WalletError(
                f"{text[:40]!r} is not an amount: the point stands before the decimals, and a comma "
                "between thousands only where it cannot be taken for it; write it like 1234.5"
            )
        raise WalletError(f"{text[:40]!r} is not an amount; write it like 12 or 12.5")
    whole, fraction = match[1].translate(_SEPARATORS), match[2] or ""
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
