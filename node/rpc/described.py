"""How a method says what it answers: marks on the annotation of what its function returns.

A function that returns JSON as Python values says so by its annotation alone, a TypedDict of
`node.rpc.results` for an object, and mypy holds it to that. One whose answer is written already, or is
shaped by a parameter, says it by a mark. From these come the schemas of `rpc.discover`, what `help` and
docs/rpc.md say of results, and the wallet's typed client.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

import msgspec


class Shown(NamedTuple):
    """`Annotated[X, Shown(T)]`: an X for Python, for a client JSON of the shape T."""

    shape: Any


class ByArgument(NamedTuple):
    """`Annotated[X, ByArgument("verbose", {False: S, True: T})]`: a parameter chooses the shape."""

    argument: str
    shapes: Mapping[bool | int, Any]


class Scalar(NamedTuple):
    """`Annotated[str, Scalar(…)]`: a text or a number of a kind that has a name."""

    name: str
    schema: Mapping[str, object]
    python: type
    """Of which type it is for a client in Python."""


class Says(NamedTuple):
    """`Annotated[X, Says("…")]`: what a field holds, where its name does not tell."""

    text: str


Hash = Annotated[str, Scalar("Hash", {"type": "string", "pattern": "^[0-9a-f]{64}$"}, str)]
"""A txid, block hash or asset id in reversed hex, or another hash of 32 bytes."""
AssetText = Annotated[str, Scalar("Asset", {"type": "string", "pattern": "^([0-9a-f]{64})?$"}, str)]
"""An asset id in reversed hex; empty for the native coin."""
Hex = Annotated[str, Scalar("Hex", {"type": "string", "pattern": "^([0-9a-f]{2})*$"}, str)]
AddressText = Annotated[
    str, Scalar("Address", {"type": "string", "pattern": "^[a-z]+1[a-z0-9]+$"}, str)
]
Units = Annotated[int, Scalar("Units", {"type": "integer"}, int)]
"""Base units of an asset or of the native coin."""
Seconds = Annotated[int, Scalar("Time", {"type": "integer", "minimum": 0}, int)]
"""Seconds since 1970."""
Cursor = Annotated[str | None, Says("ask for the next page with it; null at the end")]

Coins = Annotated[msgspec.Raw, Scalar("Coins", {"type": "number"}, Decimal)]
"""Native coins as a number with 8 decimals, as `node.rpc.json.amount` writes them."""


def marks_of(hint: object) -> tuple[object, tuple[object, ...]]:
    """A type, and the marks on it."""
    if get_origin(hint) is Annotated:
        inner, *marks = get_args(hint)
        return inner, tuple(marks)
    return hint, ()


def result_of(function: Callable[..., object]) -> object:
    """The shape of what a method answers: a type, perhaps with marks, or `ByArgument`."""
    hint: object = get_type_hints(function, include_extras=True)["return"]
    for mark in marks_of(hint)[1]:
        match mark:
            case Shown(shape):
                return shape
            case ByArgument():
                return mark
    return hint
