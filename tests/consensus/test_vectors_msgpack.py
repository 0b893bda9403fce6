"""The codec against the MessagePack suite, which nobody here wrote.

Of the kinds that the suite has, consensus knows integers, booleans, byte strings and arrays.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from consensus.codec import decode_canonical, decoder_of, encode
from consensus.errors import DecodeError
from consensus.tx import AfterHeight, Body, Sha256, Transaction, TxOut

SUITE: dict[str, list[dict[str, Any]]] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "msgpack" / "msgpack-test-suite.json").read_text()
)
KINDS = (int, bool, bytes, tuple[int, ...], tuple[bytes, ...], tuple[tuple[int, ...], ...], Any)
STRUCTS = (Transaction, Body, TxOut, AfterHeight, Sha256)
INT64 = range(-(2**63), 2**64)


def entries() -> Iterator[tuple[dict[str, Any], list[bytes]]]:
    for group in SUITE.values():
        for entry in group:
            yield entry, [bytes.fromhex(text.replace("-", "")) for text in entry["msgpack"]]


def value_of(entry: dict[str, Any]) -> Any:
    """The value, if it is of a kind that consensus uses; else None."""
    if "bool" in entry:
        return entry["bool"]
    if "binary" in entry:
        return bytes.fromhex(entry["binary"].replace("-", ""))
    if "bignum" in entry:
        return int(entry["bignum"])
    if isinstance(entry.get("number"), int):
        return entry["number"]
    array = entry.get("array")
    if isinstance(array, list) and all(isinstance(item, int) for item in array):
        return tuple(array)
    if array == [[]]:
        return ((),)
    return None


def kind_of(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple[tuple[int, ...], ...] if value == ((),) else tuple[int, ...]
    return type(value)


KNOWN = [(value, forms) for entry, forms in entries() if (value := value_of(entry)) is not None]
FOREIGN = [form for entry, forms in entries() if value_of(entry) is None for form in forms]


@pytest.mark.parametrize(("value", "forms"), KNOWN, ids=lambda item: repr(item)[:40])
def test_shortest_form_is_the_only_one_that_is_accepted(value: Any, forms: list[bytes]) -> None:
    decoder = decoder_of(kind_of(value))
    shortest = msgpack.packb(value, use_bin_type=True)
    assert shortest in forms
    assert encode(value) == shortest
    found = decode_canonical(decoder, shortest)
    assert (found, type(found)) == (value, type(value))
    for form in forms:
        if form != shortest:
            with pytest.raises(DecodeError):
                decode_canonical(decoder, form)


@pytest.mark.parametrize("form", FOREIGN, ids=lambda form: form.hex()[:24])
def test_value_of_a_foreign_kind_is_refused_by_every_type(form: bytes) -> None:
    for kind in (*KINDS[:-1], *STRUCTS):
        with pytest.raises(DecodeError):
            decode_canonical(decoder_of(kind), form)


@pytest.mark.parametrize("number", [0, 1, 127, 128, 255, 65_535, 2**32, -1, -32, -33, -(2**63)])
def test_float_that_equals_an_integer_is_not_that_integer(number: int) -> None:
    for form in (msgpack.packb(float(number)), msgpack.packb(float(number), use_single_float=True)):
        with pytest.raises(DecodeError):
            decode_canonical(decoder_of(int), form)


def test_boolean_is_not_an_integer_nor_the_other_way_round() -> None:
    for number, boolean in ((b"\x00", b"\xc2"), (b"\x01", b"\xc3")):
        with pytest.raises(DecodeError):
            decode_canonical(decoder_of(int), boolean)
        with pytest.raises(DecodeError):
            decode_canonical(decoder_of(bool), number)


def test_text_is_not_a_byte_string() -> None:
    for text in (b"\xa0", b"\xa1a", b"\xd9\x01a", b"\xa1\xff"):
        with pytest.raises(DecodeError):
            decode_canonical(decoder_of(bytes), text)


def test_suite_has_what_these_tests_are_about() -> None:
    assert sum(len(forms) > 1 for _, forms in entries()) == 54
    assert len(KNOWN) == 38
    assert len(FOREIGN) == 83
