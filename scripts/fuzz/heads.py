"""HTTP to the RPC: what goes the short way is answered as aiohttp answers it.

The same bytes go to a server that knows no head, so that aiohttp parses all of them, and twice to one
that remembers; in one piece, and cut in pieces.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from consensus.params import REGTEST
from node.rpc import json
from node.rpc.auth import make_user
from node.rpc.connection import Connection, Desk
from node.rpc.dispatch import Dispatcher
from node.rpc.heads import Head, KnownHeads
from node.rpc.limits import Limits
from node.rpc.method import Method, Role, table
from node.rpc.server import RpcServer
from scripts.fuzz.conversation import Errors, Loop
from scripts.fuzz.target import need

ALLOW = base64.b64encode(b"alice:secret").decode()
PIECES_MAX = 16
PATIENCE_S = 8.0
"""Longer than a wrong password and the end of a refused request take, shorter than a deadline."""
LIMITS = Limits(body_bytes=4_096, failure_delay_s=0.1)


def echo(node: object, text: str = "hello") -> json.Json:
    return text


CALL = b'{"method": "echo", "params": ["a"], "id": 7}'
_STATUS = re.compile(rb"HTTP/\d\.\d \d{3} ")
METHODS = table([Method("echo", echo, Role.READ, "test")])


class _Forgetful(KnownHeads):
    """Knows no head."""

    def find(self, raw: bytes) -> Head | None:
        return None


class _Watched(Connection):
    """A connection of which is known what aiohttp would have been given, one piece at a time."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self.pieces: list[bytes] = []

    def _answer_next(self) -> bool:
        before = self._waiting
        goes_on = super()._answer_next()
        if self._is_short and len(self._waiting) < len(before):
            self.pieces.append(before[: len(before) - len(self._waiting)])
        return goes_on

    def _pass(self, data: bytes) -> None:
        self.pieces.append(data)
        super()._pass(data)


ERRORS = Errors()
"""What the server logged as its own errors."""
for _part in ("node", "aiohttp", "asyncio"):
    logging.getLogger(_part).addHandler(ERRORS)


class _Line(asyncio.Transport):
    """A connection whose other end keeps what it hears."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__({"peername": ("127.0.0.1", 9), "sockname": ("127.0.0.1", 8)})
        self._protocol = protocol
        self.heard = bytearray()
        self.is_ended = False
        self._waiting: list[bytes] = []
        self._is_reading = True

    def get_protocol(self) -> asyncio.Protocol:
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol

    def say(self, data: bytes) -> None:
        """What the client sends."""
        if self.is_ended:
            return
        if self._is_reading:
            self._protocol.data_received(data)
        else:
            self._waiting.append(data)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self.is_ended:
            self.heard += data

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        for data in list_of_data:
            self.write(data)

    def is_closing(self) -> bool:
        return self.is_ended

    def is_reading(self) -> bool:
        return self._is_reading

    def pause_reading(self) -> None:
        self._is_reading = False

    def resume_reading(self) -> None:
        self._is_reading = True
        waiting, self._waiting = self._waiting, []
        for data in waiting:
            self.say(data)

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None:
        if not self.is_ended:
            self.is_ended = True
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        self.close()


class Answer(NamedTuple):
    """One answer, without what may differ: the date, and the order of the headers."""

    status: bytes
    kind: str
    ends: bool
    body: bytes


class Heard(NamedTuple):
    """What a client heard."""

    answers: tuple[Answer, ...]
    is_ended: bool


def read_answers(data: bytes) -> tuple[Answer, ...]:
    """Raises: Broken, if what came is not a row of answers."""
    made = []
    while data:
        head, end, rest = data.partition(b"\r\n\r\n")
        # aiohttp names the version of the request in its answer, be it one that is refused.
        need(bool(end) and bool(_STATUS.match(head)), "what is sent is answers")
        need(head.startswith(b"HTTP/1.") or b" 505 " in head[:13], "other versions are refused")
        first, *lines = head.split(b"\r\n")
        pairs = [line.decode("latin-1").partition(": ") for line in lines]
        headers = {name.lower(): value for name, _, value in pairs}
        size = int(headers.get("content-length", "0"))
        need(len(rest) >= size, "an answer is as long as it says")
        ends = headers.get("connection", "").lower() == "close"
        made.append(Answer(first, headers.get("content-type", ""), ends, rest[:size]))
        data = rest[size:]
    return tuple(made)


def _cut(data: bytes, size: int) -> list[bytes]:
    """`data` in pieces of `size` bytes, and what is left of many."""
    starts = range(0, len(data), size)[:PIECES_MAX]
    pieces = [data[start : start + size] for start in starts]
    return [*pieces, data[starts[-1] + size :]] if pieces else []


class _Pair:
    """The two servers."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.knowing, self.forgetful = (self._server(known) for known in (True, False))

    def _server(self, knows: bool) -> RpcServer:
        dispatcher: Dispatcher[str] = Dispatcher(METHODS, REGTEST)
        dispatcher.node = "the node"
        users = [make_user("alice", "secret", "salt", Role.ADMIN)]
        server = RpcServer(dispatcher, users, lambda: 1_800_000_000.0, limits=LIMITS)
        if not knows:
            server._desk.heads = _Forgetful()
        self.loop.run_until_complete(server.start())
        return server

    def hear(self, server: RpcServer, pieces: Sequence[bytes]) -> tuple[Heard, list[bytes]]:
        """What a client hears, and the pieces in which the server took its bytes."""
        return self.loop.run_until_complete(self._hear(server, pieces))

    def compare(self, way: str, heard: Heard, slow: Heard, taken: Sequence[bytes]) -> None:
        """The one difference there may be: of what comes in one piece aiohttp answers nothing but the
        error, if there is one in it, so what it answers depends on how bytes were cut on their way. The
        short way answers the requests before the error. Given each of them in a piece of its own, aiohttp
        answers the very same."""
        exact, _ = self.hear(self.forgetful, taken)
        need(
            any(b" 400 " in answer.status for answer in slow.answers) and heard == exact,
            f"{way}: {heard} is not what aiohttp answers: {slow}; cut as it was taken: {exact}",
        )

    async def _hear(self, server: RpcServer, pieces: Sequence[bytes]) -> tuple[Heard, list[bytes]]:
        ERRORS.found.clear()
        connection = _Watched(server._desk)
        line = _Line(connection)
        connection.connection_made(line)
        for piece in pieces:
            line.say(piece)
            await asyncio.sleep(0)
        await asyncio.sleep(PATIENCE_S)
        heard = Heard(read_answers(bytes(line.heard)), line.is_ended)
        line.close()
        await asyncio.sleep(0.1)
        need(not server._desk.calls, "no call is left over")
        need(not ERRORS.found, "what a client sends is no error of ours")
        return heard, connection.pieces


_PAIRS: list[_Pair] = []


def run(data: bytes) -> None:
    """First byte: the size of the pieces. The rest is what the client sends."""
    if not data:
        return
    if not _PAIRS:
        _PAIRS.append(_Pair())
    pair = _PAIRS[0]
    # It knows the head of the seeds and no other, so that an input does the same every time.
    pair.knowing._desk.heads = KnownHeads()
    pair.hear(pair.knowing, [_request(CALL)])
    size, sent = data[0] + 1, data[1:]
    for pieces in ([sent], _cut(sent, size)):
        slow, _ = pair.hear(pair.forgetful, pieces)
        for way in ("new", "known"):
            heard, taken = pair.hear(pair.knowing, pieces)
            need(sent.startswith(b"".join(taken)), "bytes are taken in their order")
            if heard != slow:
                pair.compare(way, heard, slow, taken)


def _request(body: bytes, *lines: str, first: str = "POST / HTTP/1.1", length: int = -1) -> bytes:
    size = len(body) if length < 0 else length
    head = [first, "Host: 127.0.0.1", f"Authorization: Basic {ALLOW}", f"Content-Length: {size}"]
    return "\r\n".join([*head, *lines, "", ""]).encode() + body


def seeds() -> Iterator[bytes]:
    call = CALL
    plain = _request(call)
    yield b"\xff" + plain
    yield b"\x1f" + plain * 3
    yield b"\x40" + plain + _request(b"", first="GET / HTTP/1.1") + plain
    yield b"\x80" + _request(call, "Connection: close") + plain
    yield b"\x80" + _request(call, first="POST / HTTP/1.0") + plain
    yield b"\x80" + _request(b"2c\r\n" + call + b"\r\n0\r\n\r\n", "Transfer-Encoding: chunked")
    yield b"\x80" + _request(call, length=len(call) + 9) + plain
    yield b"\x80" + _request(call, length=5_000)
    yield b"\x80" + _request(call, "Expect: 100-continue") + plain
    for line in ("Origin: http://x", "Host: evil", "X: \n", "Content-Type: text/html", "A : b"):
        yield b"\x80" + _request(call, line) + plain
    yield b"\x80" + plain.replace(b"\r\n", b"\n")
    yield b"\x80" + plain.replace(ALLOW.encode(), b"eDp5") + plain
