"""Lines of Stratum: one JSON object each way, ended by a line feed."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any

import msgspec

LINE_BYTES_MAX = 4 << 10
"""Of a request; a long one has 300."""


class Refusal(enum.IntEnum):
    """Why a request is refused, by the numbers that miners know."""

    OTHER = 20
    STALE = 21
    """The job is unknown, or not worth anything any more."""
    DUPLICATE = 22
    LOW_DIFFICULTY = 23
    UNAUTHORIZED = 24
    NOT_SUBSCRIBED = 25


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, reason: Refusal, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text


class LineError(ValueError):
    """A line that no miner sends."""


class Request(msgspec.Struct):
    """What a miner asks, or its answer to what was asked of it (then without `method`)."""

    id: int | str | None = None
    method: str | None = None
    params: list[Any] | None = None


_decoder = msgspec.json.Decoder(Request)
encode = msgspec.json.Encoder().encode


def decode_request(line: bytes) -> Request:
    """Raises: LineError."""
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise LineError(str(error)[:200]) from None


def answer(request_id: int | str | None, result: object) -> bytes:
    """The line that grants a request."""
    return encode({"id": request_id, "result": result, "error": None}) + b"\n"


def refuse(request_id: int | str | None, refused: Refused) -> bytes:
    """The line that refuses a request."""
    error = [int(refused.reason), refused.text, None]
    return encode({"id": request_id, "result": None, "error": error}) + b"\n"


def notify(method: str, params: Sequence[object]) -> bytes:
    """A line that tells a miner something without being asked."""
    return encode({"id": None, "method": method, "params": params}) + b"\n"


def text_at(params: Sequence[object], place: int) -> str:
    """Raises: Refused."""
    value = params[place] if place < len(params) else None
    if not isinstance(value, str):
        raise Refused(Refusal.OTHER, f"parameter {place + 1} must be a string")
    return value


def bytes_at(params: Sequence[object], place: int, size: int) -> bytes:
    """A parameter of exactly `size` bytes in hex. Raises: Refused."""
    text = text_at(params, place)
    try:
        # fromhex alone would let blanks through.
        value = bytes.fromhex(text) if len(text) == 2 * size else b""
    except ValueError:
        value = b""
    if len(value) != size:
        raise Refused(Refusal.OTHER, f"parameter {place + 1} must be {2 * size} hexadecimal digits")
    return value
