"""JSON as the RPC speaks it: strict on the way in, exact on the way out.

No float ever carries money. What is read with a point or an exponent becomes a Decimal; an amount is
written from its integer of base units as a number with exactly 8 decimals.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

import msgspec

Json = bool | int | float | str | Decimal | msgspec.Raw | Sequence[Any] | Mapping[str, Any] | None
"""A value that can be written. Floats are for what is not exact anyway, such as a difficulty."""

DEPTH_MAX = 32
"""Levels of arrays and objects in a request. No method needs more than five."""
NUMBER_DIGITS_MAX = 128
_DECIMALS = 8
"""Of the native coin: COIN is ten to the power of it."""


class JsonError(ValueError):
    """Not JSON, or JSON that is nested too deeply; the text says where."""


def _number(text: str) -> Decimal:
    if len(text) > NUMBER_DIGITS_MAX:
        raise ValueError("a number has too many digits")
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError("a number has an exponent out of range") from None


_decoder = msgspec.json.Decoder(float_hook=_number)
_encoder = msgspec.json.Encoder(decimal_format="number")
encode = _encoder.encode
"""UTF-8 bytes of a `Json` value."""


def decode(data: bytes | str) -> object:
    """The value of a JSON text: dict, list, str, int, Decimal, bool or None.

    Of a key that stands twice the last counts, as RFC 8259 allows. Raises: JsonError (not JSON, NaN
    and Infinity included; not UTF-8; nested deeper than DEPTH_MAX).
    """
    try:
        value: object = _decoder.decode(data)
    except RecursionError:
        raise JsonError(f"nested deeper than {DEPTH_MAX} levels") from None
    except (msgspec.DecodeError, ValueError) as error:  # ValueError: not UTF-8
        raise JsonError(str(error)) from None
    # Few brackets cannot nest deeply; a block of megabytes in one string is not walked.
    raw = data.encode() if isinstance(data, str) else data
    if raw.count(b"[") + raw.count(b"{") > DEPTH_MAX:
        _check_depth(value)
    return value


def _check_depth(value: object) -> None:
    level = [value]
    for _ in range(DEPTH_MAX):
        level = [
            child for item in level for child in _children(item) if isinstance(child, list | dict)
        ]
        if not level:
            return
    raise JsonError(f"nested deeper than {DEPTH_MAX} levels")


def _children(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def amount(units: int) -> msgspec.Raw:
    """Base units of the native coin as a JSON number of coins with 8 decimals."""
    if units < 0:
        return msgspec.Raw(b"-" + bytes(amount(-units)))
    digits = b"%09d" % units
    return msgspec.Raw(digits[:-_DECIMALS] + b"." + digits[-_DECIMALS:])


class Written(NamedTuple):
    """A value whose text is made already, in pieces: each would be copied to stand in another text."""

    pieces: tuple[bytes, ...]


def fragment(value: Json) -> msgspec.Raw:
    """`value` written already: a part of a large answer, which takes less room and time later."""
    return msgspec.Raw(encode(value))
