"""From a line to the line that answers it: JSON-RPC 2.0 with the codes that Electrum clients know."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from decimal import Decimal
from inspect import isawaitable
from typing import Any, NamedTuple

from consensus.errors import StorageError, Violation
from node.electrum.limits import ANSWER_BYTES_MAX, BATCH_MAX
from node.electrum.methods import METHODS, Client
from node.rpc import json
from node.rpc.errors import Code, RpcError, error_of
from node.rpc.params import bind

BAD_REQUEST = 1
DAEMON_ERROR = 2
_SAME = frozenset({
    Code.PARSE, Code.INVALID_REQUEST, Code.METHOD_NOT_FOUND, Code.INVALID_PARAMS, Code.INTERNAL,
})  # fmt: skip
"""Codes of JSON-RPC itself."""
_DAEMON = frozenset({Code.DATABASE, Code.ADDRESS_OR_KEY})
log = logging.getLogger(__name__)


class Answer(NamedTuple):
    """What to send back."""

    line: bytes
    """Empty where nothing is answered."""
    is_over: bool = False
    """Whether nothing more can be understood of this client."""


async def answer(line: bytes, client: Client, admit: Callable[[], float]) -> Answer:
    """Answer one request or one batch; never raises for what a client sent.

    `admit` counts each call and says how many seconds it has to wait.
    """
    try:
        request = json.decode(line)
    except json.JsonError as error:
        return Answer(_failed(None, RpcError(Code.PARSE, f"not JSON: {error}")) + b"\n", True)
    if not isinstance(request, list):
        text = await _answer_one(request, client, admit, ANSWER_BYTES_MAX)
        return Answer(text + b"\n" if text else b"")
    if not 1 <= len(request) <= BATCH_MAX:
        reason = f"a batch has 1 to {BATCH_MAX} members"
        return Answer(_failed(None, RpcError(Code.INVALID_REQUEST, reason)) + b"\n")
    answers: list[bytes] = []
    left = ANSWER_BYTES_MAX
    for member in request:
        text = await _answer_one(member, client, admit, left)
        if text:
            answers.append(text)
            left -= len(text)
    return Answer(b"[" + b",".join(answers) + b"]\n" if answers else b"")


async def _answer_one(
    request: object, client: Client, admit: Callable[[], float], bytes_max: int
) -> bytes:  # fmt: skip
    call_id = _id_of(request)
    pause_s = admit()
    if pause_s > 0:
        await asyncio.sleep(pause_s)
    try:
        if bytes_max <= 0:
            raise RpcError(Code.TOO_LARGE, "the batch has too large an answer: ask for less")
        async with client.service.turns:
            # So that no more than may be worked on are worked on before everybody else has a turn, nor
            # do the next lines of who sends without waiting come before the lines of others.
            await asyncio.sleep(0)
            result = json.encode(await _run(request, client))
        if len(result) > bytes_max:
            raise RpcError(Code.TOO_LARGE, "the answer is too large: ask for less")
    except RpcError as error:
        text = _failed(call_id, error)
    except Violation as error:
        text = _failed(call_id, error_of(error))
    except StorageError as error:
        log.error("storage failed: %s", error)
        text = _failed(call_id, RpcError(Code.DATABASE, f"storage failed: {error.what}"))
    except Exception as error:
        log.error("a call failed unexpectedly", exc_info=error)
        text = _failed(call_id, RpcError(Code.INTERNAL, "internal error"))
    else:
        text = b'{"jsonrpc":"2.0","result":%b,"id":%b}' % (result, json.encode(call_id))
    is_notification = isinstance(request, dict) and "id" not in request and "method" in request
    return b"" if is_notification else text


def _id_of(request: object) -> json.Json:
    """The id to answer to, as far as it can be told."""
    value = request.get("id") if isinstance(request, dict) else None
    return value if isinstance(value, str | int | Decimal) and not isinstance(value, bool) else None


async def _run(request: object, client: Client) -> Any:
    """Raises: RpcError, Violation, StorageError."""
    if not isinstance(request, dict):
        raise RpcError(Code.INVALID_REQUEST, "a request is an object")
    name, params = request.get("method"), request.get("params")
    if not isinstance(name, str) or not isinstance(params, list | dict | None):
        raise RpcError(Code.INVALID_REQUEST, "`method` is a string, `params` an array or an object")
    if request.get("id") is not None and _id_of(request) is None:
        raise RpcError(Code.INVALID_REQUEST, "`id` is a string, a number or null")
    method = METHODS.get(name)
    if method is None:
        raise RpcError(Code.METHOD_NOT_FOUND, f"unknown method {name[:80]!r}")
    network = client.service.node.ledger.params
    found = method.function(client, *bind(method.arguments, params, network))
    return await found if isawaitable(found) else found


def _failed(call_id: json.Json, error: RpcError) -> bytes:
    code = int(error.code)
    if error.code not in _SAME:
        code = DAEMON_ERROR if error.code in _DAEMON else BAD_REQUEST
    return json.encode(
        {"jsonrpc": "2.0", "error": {"code": code, "message": error.message}, "id": call_id}
    )
