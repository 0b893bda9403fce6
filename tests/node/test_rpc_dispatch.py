"""Requests and answers, without a network."""

from __future__ import annotations

import asyncio
import json as standard_json
import logging
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consensus.errors import DecodeError, Invalid, Missing, Premature, Refused, Rule, StorageError
from consensus.params import REGTEST
from node.rpc import dispatch, json
from node.rpc.dispatch import BATCH_MAX, Dispatcher, Reply
from node.rpc.errors import Code
from node.rpc.method import Method, Role, table

SPEC = Path(__file__).parent.parent / "vectors/json-rpc/spec-examples.json"
EXAMPLES = standard_json.loads(SPEC.read_text())["examples"]


def subtract(node: object, minuend: int, subtrahend: int) -> json.Json:
    """Difference of two numbers."""
    return minuend - subtrahend


def sum_of(node: object, a: int, b: int, c: int) -> json.Json:
    return a + b + c


async def get_data(node: object) -> json.Json:
    return ["hello", 5]


def ignore(node: object, a: int = 0, b: int = 0, c: int = 0, d: int = 0, e: int = 0) -> None: ...


def fail(node: object, kind: str) -> json.Json:
    raise {
        "bug": ZeroDivisionError("secret detail"),
        "storage": StorageError("the disk is full", "make room"),
        "decode": DecodeError(Rule.MALFORMED),
        "invalid": Invalid(Rule.OVERSPEND, 7),
        "missing": Missing(Rule.COIN_MISSING, b"\xab"),
        "premature": Premature(Rule.COIN_IMMATURE),
        "refused": Refused(Rule.FEE_TOO_LOW),
        "confirmed": Refused(Rule.ALREADY_CONFIRMED),
    }[kind]


WORKED: list[int] = []
"""Sizes that `large` was asked for."""


def large(node: object, size: int) -> json.Json:
    WORKED.append(size)
    return "x" * size


def written(node: object, size: int) -> json.Written:
    WORKED.append(size)
    return json.Written((b'{"a":[', b",".join([b"1"] * size), b"]}"))


METHODS = table(
    [
        Method("subtract", subtract, Role.READ, "test"),
        Method("sum", sum_of, Role.READ, "test"),
        Method("get_data", get_data, Role.READ, "test"),
        Method("update", ignore, Role.READ, "test"),
        Method("notify_hello", ignore, Role.READ, "test"),
        Method("notify_sum", ignore, Role.READ, "test"),
        Method("fail", fail, Role.READ, "test"),
        Method("large", large, Role.READ, "test"),
        Method("written", written, Role.READ, "test"),
        Method("change", ignore, Role.ADMIN, "test"),
    ]
)


def ask(body: object, role: Role = Role.ADMIN, is_ready: bool = True) -> tuple[int, Any]:
    """Status and decoded body of the answer; `body` is text or what becomes JSON."""
    dispatcher: Dispatcher[str] = Dispatcher(METHODS, REGTEST)
    dispatcher.node = "the node" if is_ready else None
    text = body if isinstance(body, str) else standard_json.dumps(body)
    reply: Reply = asyncio.run(dispatcher.answer(text.encode(), role))
    return reply.status, standard_json.loads(reply.body) if reply.body else None


def call(method: str, *params: object, **more: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "method": method, "params": list(params), "id": 1, **more}


def outcome(answer: dict[str, Any]) -> tuple[object, object, object]:
    """What an answer says in either form: result, code of the error, id."""
    return answer.get("result"), (answer.get("error") or {}).get("code"), answer["id"]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["name"])
def test_examples_of_the_specification_are_answered_as_it_says(example: dict[str, str]) -> None:
    status, answer = ask(example["request"])
    if example["response"] is None:
        assert (status, answer) == (204, None)
        return
    wanted = standard_json.loads(example["response"])
    if isinstance(wanted, list):
        assert [outcome(one) for one in answer] == [outcome(one) for one in wanted]
        assert all(set(one) == {"result", "error", "id"} for one in answer)  # the older form
    else:
        assert outcome(answer) == outcome(wanted)
        assert set(answer) == set(wanted)
        assert answer["jsonrpc"] == "2.0"


def test_a_request_without_version_gets_the_older_body() -> None:
    assert ask({"method": "subtract", "params": [3, 1], "id": "a"}) == (
        200, {"result": 2, "error": None, "id": "a"},
    )  # fmt: skip


def test_a_request_without_version_or_id_is_no_notification() -> None:
    assert ask({"method": "get_data"})[1]["id"] is None


@pytest.mark.parametrize(
    ("method", "params", "status"),
    [("none", [], 404), ("subtract", [], 500), ("fail", ["bug"], 500), (5, [], 400),
     ("subtract", 5, 400)],
)  # fmt: skip
def test_the_older_form_shows_errors_in_the_http_status(
    method: object, params: object, status: int
) -> None:
    found, answer = ask({"method": method, "params": params, "id": 1})
    assert found == status
    assert answer["result"] is None
    assert answer["error"]["message"]


@pytest.mark.parametrize(
    ("kind", "code", "message"),
    [
        ("decode", Code.DESERIALIZATION, "malformed"),
        ("invalid", Code.REJECTED, "overspend: 7"),
        ("missing", Code.VERIFY, "coin-missing: ab"),
        ("premature", Code.REJECTED, "coin-immature"),
        ("refused", Code.REJECTED, "fee-too-low"),
        ("confirmed", Code.ALREADY_CONFIRMED, "already-confirmed"),
        ("storage", Code.DATABASE, "storage failed: the disk is full"),
    ],
)
def test_a_broken_rule_is_answered_by_its_name(kind: str, code: Code, message: str) -> None:
    status, answer = ask(call("fail", kind))
    assert status == 200
    assert answer["error"] == {"code": code, "message": message}


def test_an_unexpected_failure_is_logged_and_tells_the_caller_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        _, answer = ask(call("fail", "bug"))
    assert answer["error"] == {"code": Code.INTERNAL, "message": "internal error"}
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("request_id", [0, -1, 2**63, "x", "", None, "ä\u0000", 1.5])
def test_the_id_comes_back_as_it_was(request_id: object) -> None:
    assert ask(call("get_data", id=request_id))[1]["id"] == request_id


@pytest.mark.parametrize("request_id", [True, [], {}, [1]])
def test_an_id_of_another_kind_is_an_invalid_request(request_id: object) -> None:
    _, answer = ask(call("get_data", id=request_id))
    assert (answer["error"]["code"], answer["id"]) == (Code.INVALID_REQUEST, None)


@pytest.mark.parametrize(
    "text",
    ["", " ", "null", "1", '"x"', "true", "[[]]", "[[[]]]", "{}", '{"method": null}', "NaN",
     '{"jsonrpc": "2.0", "method": "sum", "params": "x", "id": 1}', "[" * 100_000, '{"a":' * 600,
     '{"jsonrpc": "3.0", "method": "sum"}', '{"jsonrpc": 2.0, "method": "sum"}', "\x00",
     '{"method": "sum", "params": [1e999999999, 1, 1]}', '{"method": "sum", "params": [[[]]]}',
     '{"method": "sum", "params": {"": 1}}', '[{"method": "sum", "params": [{}, 1, 1]}]'],
)  # fmt: skip
def test_hostile_bodies_are_never_internal_errors(text: str) -> None:
    status, answer = ask(text)
    for one in answer if isinstance(answer, list) else [answer]:
        assert one["error"]["code"] in (Code.PARSE, Code.INVALID_REQUEST, Code.INVALID_PARAMS)
        assert one["error"]["code"] == Code.INVALID_PARAMS or status != 500


@pytest.mark.parametrize("size", [0, BATCH_MAX + 1, 100_000])
def test_a_batch_outside_its_limits_gets_one_error(size: int) -> None:
    _, answer = ask("[" + ",".join(["1"] * size) + "]")
    assert answer["error"]["code"] == Code.INVALID_REQUEST


@pytest.mark.parametrize("size", [1, BATCH_MAX])
def test_a_batch_within_its_limits_is_answered_whole(size: int) -> None:
    _, answer = ask([call("subtract", 9, n % 7, id=n) for n in range(size)])
    assert [(one["id"], one["result"]) for one in answer] == [(n, 9 - n % 7) for n in range(size)]


def test_an_answer_that_is_too_large_becomes_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "ANSWER_BYTES_MAX", 1_000)
    assert ask(call("large", 900))[1]["result"]
    assert ask(call("large", 1_000))[1]["error"]["code"] == Code.TOO_LARGE


def test_a_batch_stops_working_once_its_answer_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "ANSWER_BYTES_MAX", 1_000)
    WORKED.clear()
    _, answer = ask([call("large", 600)] * 5 + [call("get_data")])
    assert [bool(one["error"]) for one in answer] == [False, True, True, True, True, True]
    assert len(WORKED) == 2  # the rest was refused before any work
    _, answer = ask([call("large", 998)] * 3)
    assert [one["error"] and one["error"]["code"] for one in answer] == [None, -32002, -32002]


def test_a_reader_may_ask_and_not_change() -> None:
    assert ask(call("get_data"), Role.READ)[0] == 200
    status, answer = ask(call("change"), Role.READ)
    assert (status, answer["error"]["code"]) == (403, Code.FORBIDDEN)
    assert ask([call("change")], Role.READ)[1][0]["error"]["code"] == Code.FORBIDDEN
    assert ask(call("change"), Role.ADMIN)[1]["result"] is None


def test_a_node_that_is_starting_says_so() -> None:
    status, answer = ask({"method": "get_data", "id": 1}, is_ready=False)
    assert (status, answer["error"]["code"]) == (500, Code.WARMING_UP)


def test_help_shows_signature_docstring_and_role() -> None:
    text = METHODS["subtract"].help
    assert text.splitlines()[0] == "subtract minuend subtrahend"
    assert "Difference of two numbers." in text
    assert "1. minuend (integer, required)" in text
    assert METHODS["update"].usage == "update ( a ) ( b ) ( c ) ( d ) ( e )"


def test_a_fraction_as_id_is_written_back_as_a_number() -> None:
    assert json.encode({"id": Decimal("1.50")}) == b'{"id":1.50}'


_KEYS = st.sampled_from(["jsonrpc", "method", "params", "id", "a", "minuend", "subtrahend"])
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=8,
)
_REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.sampled_from(["2.0", "1.0", 2, None]),
        "method": st.sampled_from(["subtract", "sum", "update", "none"]) | _VALUES,
        "params": _VALUES,
        "id": _VALUES,
    },
)


@given(_REQUESTS | st.lists(_REQUESTS | _VALUES, max_size=4) | _VALUES)
def test_whatever_json_comes_in_the_answer_is_one_that_clients_know(body: object) -> None:
    status, answer = ask(body)
    assert status in (200, 204, 400, 404, 500)
    for one in answer if isinstance(answer, list) else [answer] if answer else []:
        assert "id" in one
        assert (one.get("error") or {}).get("code") != Code.INTERNAL


@given(st.binary(max_size=60))
@example(b'{"method":"","":[],"":null}')  # bytes may spell a request
@example(b'{"jsonrpc":"2.0","method":"x"}')
def test_whatever_bytes_come_in_the_answer_is_one_that_clients_know(body: bytes) -> None:
    dispatcher: Dispatcher[str] = Dispatcher(METHODS, REGTEST)
    reply = asyncio.run(dispatcher.answer(body, Role.READ))
    assert reply.status in (200, 204, 400, 404)
    assert standard_json.loads(reply.body) if reply.status != 204 else reply.body == b""


@pytest.mark.parametrize("size", [1, dispatch.COPIED_MAX])
def test_a_result_in_pieces_reads_like_any_other(size: int) -> None:
    wanted = {"a": [1] * size}
    assert ask(call("written", size))[1] == {"jsonrpc": "2.0", "result": wanted, "id": 1}
    old = {"result": wanted, "error": None, "id": 1}
    assert ask({"method": "written", "params": [size], "id": 1})[1] == old
    assert ask([call("written", size)])[1] == [old]


def test_a_large_result_is_sent_without_being_copied() -> None:
    dispatcher: Dispatcher[str] = Dispatcher(METHODS, REGTEST)
    dispatcher.node = "the node"
    body = standard_json.dumps(call("large", dispatch.COPIED_MAX)).encode()
    reply = asyncio.run(dispatcher.answer(body, Role.READ))
    assert len(reply.pieces) == 3
    assert reply.size == len(reply.body)
