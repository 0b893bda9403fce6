"""Targets: what clients of the RPC send, from the head of a request to the parameters in its body."""

from __future__ import annotations

import asyncio
import atexit
import base64
import binascii
import json as standard_json
import re
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import Path
from typing import Any

from consensus.hashes import to_text
from consensus.params import REGTEST
from node.rpc import json
from node.rpc.auth import Authenticator, AuthError, make_user, parse_user, user_line
from node.rpc.dispatch import BATCH_MAX
from node.rpc.errors import Code
from node.rpc.method import Role
from node.rpc.methods import METHODS
from scripts.fuzz import heads, mutate
from scripts.fuzz.target import Target, need
from tests.node.rpc_kit import Bench, open_node
from tests.support.chain import ALICE, BOB, ToyChain

STATUSES = {200, 204, 400, 403, 404, 500}
PASSWORD = "secret"
_USERS = (
    make_user("alice", PASSWORD, "salt", Role.ADMIN),
    make_user("shop", PASSWORD, "pepper", Role.READ),
)
_ESCAPED = re.compile(rb"\\u[dD][89a-fA-F]")
"""Half of a surrogate pair, which is text to Python and to nobody else."""


class _Office:
    """A node with a real ledger, in a folder of its own, for as long as the process lives."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._stack = AsyncExitStack()
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="tael-fuzz-")))
        self.bench: Bench = self._loop.run_until_complete(self._begin(folder))
        atexit.register(self._close)

    async def _begin(self, folder: Path) -> Bench:
        chain = ToyChain()
        chain.fund(ALICE, 2)
        bench = await self._stack.enter_async_context(open_node(folder, REGTEST, chain, True))
        await bench.catch_up()
        bench.send(chain.pay(ALICE, BOB, 1_000))
        return bench

    def _close(self) -> None:
        self._loop.run_until_complete(self._stack.aclose())
        self._loop.close()

    def answer(self, body: bytes, role: Role) -> tuple[int, bytes]:
        reply = self._loop.run_until_complete(self.bench.reply(body, role))
        return reply.status, reply.body


@cache
def _office() -> _Office:
    return _Office()


def body(data: bytes) -> None:
    """The body of a request of somebody who may only read, so that inputs stay alone."""
    office = _office()
    ledger = office.bench.ledger
    before = ledger.tip.hash, len(ledger.mempool)
    status, answer = office.answer(data, Role.READ)
    need(status in STATUSES, f"status {status}")
    need((ledger.tip.hash, len(ledger.mempool)) == before, "a reader changes nothing")
    need(not office.bench.stopped, "a reader does not stop the node")
    if status == 204:
        need(not answer, "nothing has no bytes")
        return
    found = standard_json.loads(answer, parse_float=Decimal)
    try:
        asked = json.decode(data)
    except json.JsonError:
        need(status == 400 and found["error"]["code"] == Code.PARSE, "what is no JSON is told so")
        return
    members = found if isinstance(found, list) else [found]
    for member in members:
        _check_member(member)
    if isinstance(asked, list) and isinstance(found, list):
        need(len(found) <= len(asked) <= BATCH_MAX, "a batch has as many answers as members")
    elif isinstance(asked, dict) and "error" not in found:
        need(found["id"] == asked.get("id"), "the answer has the id of the request")


def _check_member(member: dict[str, Any]) -> None:
    need("id" in member and ("result" in member or "error" in member), "an answer is one")
    error = member.get("error")
    if error is None:
        return
    need(member.get("result") is None, "there is a result or an error")
    need(error["code"] in set(Code), "the code is one of ours")
    need(error["code"] != Code.INTERNAL, f"an error of ours: {error['message']}")
    need(bool(error["message"]), "the error says what it is")


def text(data: bytes) -> None:
    """What our JSON reads, the standard library reads as the same; and the other way about."""
    try:
        value = json.decode(data)
        ours = True
    except json.JsonError:
        ours, value = False, None
    try:
        other = standard_json.loads(
            data.decode("utf-8"), parse_float=Decimal, parse_constant=_no_constant
        )
    except (ValueError, InvalidOperation, RecursionError):
        need(not ours, "what we read is JSON")
        return
    if ours:
        need(_is_same(value, other), "both read the same value")
        need(_is_same(json.decode(json.encode(_plain(value))), value), "we read what we write")
        return
    brackets = data.count(b"[") + data.count(b"{")
    is_excused = brackets > json.DEPTH_MAX or _ESCAPED.search(data) or re.search(rb"\d{19}|[eE]",
                                                                                data)  # fmt: skip
    need(bool(is_excused), "what is JSON and within the limits is read")


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _plain(value: Any) -> json.Json:
    """A value that was read, as one that can be written."""
    made: json.Json = value
    return made


def _is_same(first: Any, other: Any) -> bool:
    """Whether both are one value; 1 and true are two."""
    if isinstance(first, dict) and isinstance(other, dict):
        return first.keys() == other.keys() and all(_is_same(first[k], other[k]) for k in first)
    if isinstance(first, list) and isinstance(other, list):
        return len(first) == len(other) and all(map(_is_same, first, other))
    return bool(first == other and isinstance(first, bool) == isinstance(other, bool))


def auth(data: bytes) -> None:
    """A header and, behind a line feed, a line of the configuration."""
    header, _, line = data.decode("utf-8", "surrogateescape").partition("\n")
    found = Authenticator(_USERS).check(header)
    if found is not None:
        scheme, _, value = header.partition(" ")
        need(scheme.lower() == "basic", "the scheme is basic")
        said = binascii.a2b_base64(value.strip())
        need(said == f"{found.name}:{PASSWORD}".encode(), "only name and password let in")
    try:
        user = parse_user(line)
    except AuthError:
        return
    need(parse_user(user_line(user)) == user, "a user reads back as it was written")
    need(Authenticator([user]).check(header) in (None, user), "one user is one")


def _basic(name: str) -> str:
    return base64.b64encode(f"{name}:{PASSWORD}".encode()).decode()


def _bodies() -> Iterator[bytes]:
    chain = ToyChain()
    chain.fund(ALICE, 2)
    block = chain.mine([chain.pay(ALICE, BOB, 1_000)])
    samples: dict[str, Any] = {
        "integer": 1, "boolean": True, "text": "getblock", "hex": block.txs[0].raw.hex(),
        "txid": to_text(block.txs[0].txid), "block hash": to_text(chain.chain_id),
        "asset id": "", "address": BOB.address(), "amount": "1.5", "height or block hash": "1",
        "addresses": {"addresses": [ALICE.address()], "limit": 1}, "object": {},
    }  # fmt: skip
    for method in METHODS.values():
        kinds = [argument.kind for argument in method.arguments]
        values = [samples.get(kind, [] if kind.startswith("array") else 1) for kind in kinds]
        names = {arg.name: value for arg, value in zip(method.arguments, values, strict=True)}
        for given in (values, names, values[:1]):
            call = {"jsonrpc": "2.0", "method": method.name, "params": given, "id": 1}
            yield standard_json.dumps(call).encode()
    calls = [{"method": "getblockcount", "id": "a"}, {"jsonrpc": "2.0", "method": "uptime"}, 1]
    yield standard_json.dumps(calls).encode()
    yield b'{"method":"getblockhash","params":[1e2],"id":null}'
    yield b"[]"


def _texts() -> Iterator[bytes]:
    folder = Path(__file__).resolve().parents[2] / "tests" / "vectors" / "json-parsing"
    suite = standard_json.loads((folder / "json-test-suite-part.json").read_text())
    for part in suite.values():
        if isinstance(part, dict):
            for value in part.values():
                whole = base64.b64decode(value)
                if len(whole) <= 2_000:
                    yield whole
    yield b'{"a": [1, -2.50, 1e-8, true, null, "\\u00e9\\ud83d\\ude00"], "a": {"b": ""}}'


def _headers() -> Iterator[bytes]:
    for user in _USERS:
        line = user_line(user)
        yield f"Basic {_basic(user.name)}\n{line}".encode()
        yield f"basic  {_basic(user.name)}=\n{line}:readonly".encode()
    yield b"Bearer x\nx:$00"
    yield b"Basic \xff\n:"


TARGETS = (
    Target(
        "rpc-body", "any body before the real ledger: valid JSON out, no internal error, no change",
        body, _bodies, mutate=mutate.written,
    ),
    Target("rpc-json", "JSON as the standard library reads it", text, _texts, 1_024, mutate.written),
    Target(
        "rpc-head", "bytes of HTTP: the short way answers as aiohttp does, however they are cut",
        heads.run, heads.seeds, 2_048,
    ),
    Target("rpc-auth", "only name and password let in; users read back", auth, _headers, 512),
)  # fmt: skip
