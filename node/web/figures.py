"""Numbers as people read them: amounts, rates, times, sizes.

Thousands have commas and decimals a point, in every language of the pages; times are in UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

_PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z")
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
LATEST = 253_402_300_799
"""The last second of the year 9999, behind which there are no dates."""


class Digits(NamedTuple):
    """An amount in parts: `1,234` `.5` `0000000`."""

    whole: str
    fraction: str
    """With the point; empty if the amount is whole."""
    rest: str
    """The zeros behind, with the point if there is nothing else behind it."""


def digits(units: int, decimals: int) -> Digits:
    """`units` of a coin with so many decimals."""
    sign = "−" if units < 0 else ""
    whole, part = divmod(abs(units), 10**decimals)
    text = f"{part:0{decimals}d}" if decimals else ""
    fraction = text.rstrip("0")
    rest = text[len(fraction) :]
    if fraction:
        return Digits(f"{sign}{whole:,}", f".{fraction}", rest)
    return Digits(f"{sign}{whole:,}", "", f".{rest}" if rest else "")


def scaled(value: float, unit: str) -> str:
    """Three digits and a prefix: `1.23 GH/s`."""
    step = 0
    while value >= 999.5 and step < len(_PREFIXES) - 1:
        value, step = value / 1_000, step + 1
    places = 0 if value >= 99.5 or value == int(value) else 1 if value >= 9.95 else 2
    return f"{value:.{places}f} {_PREFIXES[step]}{unit}".rstrip()


def difficulty(value: float) -> str:
    """Three to five digits of a difficulty, however small or large it is."""
    if value >= 100_000:
        return scaled(value, "")
    if value >= 0.001 or value <= 0:
        return f"{value:,.2f}" if value >= 100 else f"{value:.4g}"
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')} × 10{str(int(exponent)).translate(_RAISED)}"


def moment(seconds: int) -> str:
    """`2026-11-23 08:00:00`, in UTC."""
    return _at(seconds).strftime("%Y-%m-%d %H:%M:%S")


def iso(seconds: int) -> str:
    """The same for programs."""
    return _at(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")


def _at(seconds: int) -> datetime:
    return datetime.fromtimestamp(max(0, min(seconds, LATEST)), UTC)


def span(seconds: int) -> tuple[str, int]:
    """The text that tells a length of time, and its number: `span_minutes`, 12."""
    seconds = max(0, seconds)
    for size, name in ((_DAY, "days"), (_HOUR, "hours"), (_MINUTE, "minutes")):
        if seconds >= 2 * size:
            return f"span_{name}", seconds // size
    return "span_seconds", seconds
