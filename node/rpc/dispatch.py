"""From the bytes of a request to the bytes of its answer, without any network.

A request that says `"jsonrpc": "2.0"` gets a strict 2.0 answer and HTTP 200; one that does not gets
the older body with `result`, `error` and `id`, and an HTTP status that shows the error. Members of a
batch always get the older body: clients send 2.0 there and then read `error`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from decimal import Decimal
from types import CoroutineType
from typing import Any, Generic, NamedTuple, TypeVar

from consensus.errors import StorageError, Violation
from consensus.params import Params
from node.later import Later
from node.rpc import json
from node.rpc.errors import Code, RpcError, error_of
from node.rpc.method import Method, Role
from node.rpc.params import bind

BATCH_MAX = 1_000
ANSWER_BYTES_MAX = 32 << 20
"""All that one HTTP answer may hold. The largest block in hex takes a quarter of it."""
COPIED_MAX = 64 << 10
"""Bytes of a result that are copied into the answer; larger ones are sent as they are."""
_NO_ANSWER = 204
_STATUS: Mapping[Code, int] = {
    Code.METHOD_NOT_FOUND: 404,
    Code.INVALID_REQUEST: 400,
    Code.PARSE: 400,
    Code.FORBIDDEN: 403,
}
"""HTTP status of an error in the older form; 500 for all others."""

Node = TypeVar("Node")
_log = logging.getLogger(__name__)


class Reply(NamedTuple):
    """What to send back over HTTP; the body is empty with status 204."""

    status: int
    pieces: tuple[bytes, ...] = ()
    """The body. A large answer is not copied into one piece before the socket takes it."""

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def size(self) -> int:
        return sum(map(len, self.pieces))


class _Call(NamedTuple):
    """One well-formed request."""

    method: str
    params: object
    id: json.Json
    is_strict: bool
    """Whether it said 2.0."""
    is_notification: bool


class _Outcome(NamedTuple):
    """The encoded result, in pieces, or an error."""

    result: tuple[bytes, ...]
    error: RpcError | None


Note = Callable[[str, float, RpcError | None], None]
"""Told of a call that has ended: the method's name as it was sent, its seconds, its error."""
_Perform = Callable[[_Call, Role, int], _Outcome | Later | Coroutine[Any, Any, _Outcome]]


class Dispatcher(Generic[Node]):
    """Finds the method, checks role and parameters, calls it, and puts the answer together."""

    def __init__(self, methods: Mapping[str, Method], network: Params) -> None:
        self._methods = methods
        self._network = network
        self.node: Node | None = None
        """What methods get as first argument. None: the node is starting, and answers −28."""
        self.state = "starting"
        """What a caller is told meanwhile."""
        self._perform: _Perform = self._call

    def watch(self, note: Note, monotonic: Callable[[], float]) -> None:
        """Have every call timed from now on, and `note` told of it. `monotonic` gives seconds."""
        self._perform = _timed(self._call, note, monotonic)

    async def answer(self, body: bytes, role: Role) -> Reply:
        """Answer one request or one batch. Never raises for what a client sent."""
        reply = self.begin(body, role)
        return reply if isinstance(reply, Reply) else await reply

    def begin(self, body: bytes, role: Role) -> Reply | Later | Coroutine[Any, Any, Reply]:
        """Like `answer`, at once if the method takes no turns: a task costs more than most calls."""
        try:
            request = json.decode(body)
        except json.JsonError as error:
            return _reply_strict(RpcError(Code.PARSE, f"Parse error: {error}"), None, 400)
        if not isinstance(request, list):
            return self._begin_one(request, role)
        if not 1 <= len(request) <= BATCH_MAX:
            error_text = f"Invalid Request: a batch has 1 to {BATCH_MAX} members"
            return _reply_strict(RpcError(Code.INVALID_REQUEST, error_text), None, 400)
        return self._answer_batch(request, role)

    def _begin_one(
        self, request: object, role: Role
    ) -> Reply | Later | Coroutine[Any, Any, Reply]:  # fmt: skip
        try:
            call = _parse(request)
        except RpcError as error:
            if isinstance(request, dict) and request.get("jsonrpc") == "2.0":
                return _reply_strict(error, _id_of(request), 200)
            return _reply_old(_Outcome((), error), _id_of(request))
        outcome = self._perform(call, role, ANSWER_BYTES_MAX)
        if isinstance(outcome, _Outcome):
            return _reply(call, outcome)
        if isinstance(outcome, Later):
            return outcome.then(lambda outcome: _reply(call, outcome))
        return _reply_later(call, outcome)

    async def _answer_batch(self, requests: list[object], role: Role) -> Reply:
        answers: list[bytes] = []
        left = ANSWER_BYTES_MAX
        for request in requests:
            try:
                call = _parse(request)
            except RpcError as error:
                answers.append(b"".join(_body_old(_Outcome((), error), _id_of(request))))
                continue
            found = self._perform(call, role, left)
            outcome = found if isinstance(found, _Outcome) else await found
            if not call.is_notification:
                answers.append(b"".join(_body_old(outcome, call.id)))
                # One that was too large ends it: to make such answers costs more than to refuse them.
                is_over = outcome.error is not None and outcome.error.code is Code.TOO_LARGE
                left = 0 if is_over else left - sum(map(len, outcome.result))
            await asyncio.sleep(0)  # others may have waited for the length of a whole batch
        if not answers:
            return Reply(_NO_ANSWER)
        return Reply(200, (b"[" + b",".join(answers) + b"]",))

    def _call(
        self, call: _Call, role: Role, bytes_max: int
    ) -> _Outcome | Later | Coroutine[Any, Any, _Outcome]:  # fmt: skip
        try:
            if bytes_max <= 0:
                raise RpcError(Code.TOO_LARGE, "the batch has too large an answer: ask for less")
            result = self._run(call, role)
            if isinstance(result, Later):
                return result.then(lambda result: _settled(call, result, bytes_max))
            # Not `inspect.isawaitable`: it looks for three kinds and takes as long as a short call.
            if isinstance(result, CoroutineType):
                return _finish(call, result, bytes_max)
            return _encoded(result, bytes_max)
        except Exception as error:
            return _failed(call, error)

    def _run(self, call: _Call, role: Role) -> object:
        method = self._methods.get(call.method)
        if method is None:
            raise RpcError(Code.METHOD_NOT_FOUND, "Method not found")
        if role < method.role:
            raise RpcError(Code.FORBIDDEN, f"{method.name} needs a user of role admin")
        if self.node is None:
            raise RpcError(Code.WARMING_UP, self.state)
        if not method.arguments and not call.params:
            return method.function(self.node)
        return method.function(self.node, *bind(method.arguments, call.params, self._network))


def _timed(perform: _Perform, note: Note, monotonic: Callable[[], float]) -> _Perform:
    """Like `perform`, and `note` is told of each call. A short call takes 0.3 us more."""

    def timed(
        call: _Call, role: Role, bytes_max: int
    ) -> _Outcome | Later | Coroutine[Any, Any, _Outcome]:  # fmt: skip
        began = monotonic()
        outcome = perform(call, role, bytes_max)
        if not isinstance(outcome, _Outcome):
            return _timed_later(call.method, outcome, note, monotonic, began)
        note(call.method, monotonic() - began, outcome.error)
        return outcome

    return timed


def _timed_later(
    method: str, outcome: Later | Coroutine[Any, Any, _Outcome], note: Note,
    monotonic: Callable[[], float], began: float,
) -> Later | Coroutine[Any, Any, _Outcome]:  # fmt: skip

    def ended(outcome: _Outcome) -> _Outcome:
        note(method, monotonic() - began, outcome.error)
        return outcome

    async def ended_later(outcome: Coroutine[Any, Any, _Outcome]) -> _Outcome:
        return ended(await outcome)

    return outcome.then(ended) if isinstance(outcome, Later) else ended_later(outcome)


async def _finish(
    call: _Call, result: Coroutine[Any, Any, object], bytes_max: int
) -> _Outcome:  # fmt: skip
    try:
        return _encoded(await result, bytes_max)
    except Exception as error:
        return _failed(call, error)


def _settled(call: _Call, result: object, bytes_max: int) -> _Outcome:
    """What came of a `Later`."""
    try:
        if isinstance(result, Exception):
            raise result
        return _encoded(result, bytes_max)
    except Exception as error:
        return _failed(call, error)


def _encoded(result: object, bytes_max: int) -> _Outcome:
    """Raises: RpcError."""
    pieces = result.pieces if isinstance(result, json.Written) else (json.encode(result),)
    if sum(map(len, pieces)) > bytes_max:
        raise RpcError(Code.TOO_LARGE, "the answer is too large: ask for less at once")
    return _Outcome(pieces, None)


def _failed(call: _Call, error: Exception) -> _Outcome:
    """What a call answers that ended in `error`."""
    match error:
        case RpcError():
            return _Outcome((), error)
        case Violation():
            return _Outcome((), error_of(error))
        case StorageError():
            _log.error("%s: storage failed: %s", call.method, error)
            return _Outcome((), RpcError(Code.DATABASE, f"storage failed: {error.what}"))
        case _:
            _log.error("%s failed unexpectedly", call.method, exc_info=error)
            return _Outcome((), RpcError(Code.INTERNAL, "internal error"))


def _parse(request: object) -> _Call:
    """Raises: RpcError (−32600)."""
    if not isinstance(request, dict):
        raise _invalid("it must be an object")
    version = request.get("jsonrpc")
    if version not in (None, "1.0", "1.1", "2.0"):
        raise _invalid("this version of JSON-RPC is not known")
    method, params = request.get("method"), request.get("params")
    if not isinstance(method, str):
        raise _invalid("`method` must be a string")
    if not isinstance(params, list | dict | None):
        raise _invalid("`params` must be an array or an object")
    if not _is_id(request.get("id")):
        raise _invalid("`id` must be a string, a number or null")
    is_strict = version == "2.0"
    return _Call(method, params, _id_of(request), is_strict, is_strict and "id" not in request)


def _invalid(reason: str) -> RpcError:
    return RpcError(Code.INVALID_REQUEST, f"Invalid Request: {reason}")


def _is_id(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, str | int | Decimal | None)


def _id_of(request: object) -> json.Json:
    """The id to answer to, as far as it can be told."""
    value = request.get("id") if isinstance(request, dict) else None
    if isinstance(value, str | int | Decimal) and not isinstance(value, bool):
        return value
    return None


def _error_object(error: RpcError) -> json.Json:
    return {"code": int(error.code), "message": error.message}


def _reply(call: _Call, outcome: _Outcome) -> Reply:
    if call.is_notification:
        return Reply(_NO_ANSWER)
    if not call.is_strict:
        return _reply_old(outcome, call.id)
    if outcome.error is not None:
        status = 403 if outcome.error.code is Code.FORBIDDEN else 200
        return _reply_strict(outcome.error, call.id, status)
    end = b',"id":%b}' % json.encode(call.id)
    return Reply(200, _around(b'{"jsonrpc":"2.0","result":', outcome.result, end))


async def _reply_later(call: _Call, outcome: Coroutine[Any, Any, _Outcome]) -> Reply:
    return _reply(call, await outcome)


def _reply_strict(error: RpcError, call_id: json.Json, status: int) -> Reply:
    body = {"jsonrpc": "2.0", "error": _error_object(error), "id": call_id}
    return Reply(status, (json.encode(body),))


def _around(start: bytes, result: tuple[bytes, ...], end: bytes) -> tuple[bytes, ...]:
    """A body. Short ones are put together at once, which saves the socket work."""
    if len(result) == 1 and len(result[0]) < COPIED_MAX:
        return (start + result[0] + end,)
    return (start, *result, end)


def _body_old(outcome: _Outcome, call_id: json.Json) -> tuple[bytes, ...]:
    if outcome.error is not None:
        error = _error_object(outcome.error)
        return (json.encode({"result": None, "error": error, "id": call_id}),)
    end = b',"error":null,"id":%b}' % json.encode(call_id)
    return _around(b'{"result":', outcome.result, end)


def _reply_old(outcome: _Outcome, call_id: json.Json) -> Reply:
    status = _STATUS.get(outcome.error.code, 500) if outcome.error is not None else 200
    return Reply(status, _body_old(outcome, call_id))
