"""JSON in and out."""

from __future__ import annotations

import base64
import json as standard_json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.params import AMOUNT_MAX, COIN
from node.rpc import json

SUITE = Path(__file__).parent.parent / "vectors/json-parsing/json-test-suite-part.json"
CASES = standard_json.loads(SUITE.read_text())


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("y_")])
def test_what_must_parse_parses_as_another_parser_reads_it(name: str) -> None:
    raw = base64.b64decode(CASES[name])
    assert json.decode(raw) == standard_json.loads(raw, parse_float=Decimal)


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("n_")])
def test_what_must_be_refused_is_refused_as_not_json(name: str) -> None:
    with pytest.raises(json.JsonError):
        json.decode(base64.b64decode(CASES[name]))


@pytest.mark.parametrize(
    "text",
    [
        "NaN", "[Infinity]", "-Infinity", "1e400000000000000000000", "0." + "1" * 200, "1" * 5_000,
        "[" * 600, "[" * 100_000, '{"a":' * 100_000, "[" * 33 + "]" * 33, "[" * 400 + "]" * 400,
        '{"a":[' * 17 + "]}" * 17, '"\ud800"', '"\\ud800"',
    ],
)  # fmt: skip
def test_hostile_json_is_refused_as_not_json(text: str) -> None:
    with pytest.raises(json.JsonError):
        json.decode(text.encode("utf-8", "surrogatepass"))


def test_nesting_up_to_the_limit_is_read() -> None:
    text = "[" * (json.DEPTH_MAX - 1) + "[1]" + "]" * (json.DEPTH_MAX - 1)
    assert standard_json.dumps(json.decode(text)) == text


def test_of_a_key_that_stands_twice_the_last_counts() -> None:
    assert json.decode('{"a": 1, "a": 2}') == {"a": 2}


def test_a_number_with_a_point_never_becomes_a_float() -> None:
    assert json.decode("0.1") == Decimal("0.1")
    assert isinstance(json.decode("1e2"), Decimal)


@given(st.integers(-AMOUNT_MAX, AMOUNT_MAX))
def test_an_amount_has_eight_decimals_and_loses_nothing(units: int) -> None:
    text = json.encode(json.amount(units)).decode()
    assert len(text.partition(".")[2]) == 8
    assert int(Decimal(text) * COIN) == units


def test_one_base_unit_is_written_without_an_exponent() -> None:
    assert json.encode({"value": json.amount(1)}) == b'{"value":0.00000001}'
