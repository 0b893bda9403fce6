"""An HTTP server of the RPC with a few methods, and a client that sends what it is told to."""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Protocol

import pytest
import uvloop

from consensus.params import REGTEST
from node.later import Later
from node.rpc import json
from node.rpc.auth import make_user
from node.rpc.dispatch import Dispatcher
from node.rpc.errors import Code, RpcError
from node.rpc.limits import Limits
from node.rpc.method import Method, Role, table
from node.rpc.server import RpcServer

ALLOW = "Basic " + base64.b64encode(b"alice:secret").decode()
READER = "Basic " + base64.b64encode(b"shop:secret").decode()
USERS = [
    make_user("alice", "secret", "salt", Role.ADMIN),
    make_user("shop", "secret", "pepper", Role.READ),
]
CALLS: list[str] = []
LOOPS: Mapping[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
"""The node runs on uvloop, whose transports differ from asyncio's in small things."""
LOOP = ["asyncio"]
"""Which of them the present test runs on."""


def echo(node: object, text: str = "hello") -> json.Json:
    CALLS.append(text)
    return text


async def wait(node: object) -> json.Json:
    await asyncio.sleep(0.3)
    return None


def later(node: object, text: str = "late") -> Later:
    CALLS.append(text)
    result = Later()
    value = RpcError(Code.PARAMETER, text) if text == "refused" else text
    asyncio.get_running_loop().call_later(0.05, result.settle, value)
    return result


def large(node: object) -> json.Json:
    return "x" * (8 << 20)


METHODS = table(
    [
        Method("echo", echo, Role.READ, "test"),
        Method("wait", wait, Role.READ, "test"),
        Method("later", later, Role.READ, "test"),
        Method("large", large, Role.READ, "test"),
        Method("change", echo, Role.ADMIN, "test"),
    ]
)
BODY = b'{"method": "echo", "id": 7}'


class Client:
    """A connection that sends what it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, body: bytes = BODY, **request: Any) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the answer to what `write` writes."""
        self.write(body, **request)
        return await self.receive()

    def write(
        self, body: bytes = BODY, method: str = "POST", path: str = "/", **headers: str | None
    ) -> None:
        """Send a request. Underscores in names of headers are hyphens."""
        lines = {
            "Host": "127.0.0.1", "Authorization": ALLOW, "Content-Length": str(len(body)),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }  # fmt: skip
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
        self.writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)

    async def receive(self) -> tuple[int, dict[str, str], bytes]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        found = dict(line.split(": ", 1) for line in lines)
        found = {name.lower(): value for name, value in found.items()}
        body = await self.reader.readexactly(int(found.get("content-length", 0)))
        return int(first.split()[1]), found, body

    async def is_closed(self) -> bool:
        """Whether the server ends the connection without a word within 5 s."""
        try:
            return await asyncio.wait_for(self.reader.read(), 5) == b""
        except ConnectionResetError:
            return True


class Connect(Protocol):
    """Opens a connection, from an address of this machine."""

    def __call__(self, source: str = "127.0.0.1") -> Awaitable[Client]: ...


def serve(
    scenario: Callable[[Connect], Awaitable[None]], limits: Limits | None = None, **options: Any
) -> None:
    """Run `scenario` against a server."""

    async def run() -> None:
        dispatcher: Dispatcher[str] = Dispatcher(METHODS, REGTEST)
        dispatcher.node = "the node"
        server = RpcServer(dispatcher, USERS, time.time, limits=limits, **options)
        await server.start()
        opened: list[Client] = []

        async def connect(source: str = "127.0.0.1") -> Client:
            streams = await asyncio.open_connection(
                "127.0.0.1", server.port, local_addr=(source, 0)
            )
            client = Client(*streams)
            opened.append(client)
            return client

        try:
            await scenario(connect)
        finally:
            for client in opened:
                client.writer.close()
            await asyncio.wait_for(server.close(), 5)

    with asyncio.Runner(loop_factory=LOOPS[LOOP[0]]) as runner:
        runner.run(run())


async def read_whole(client: Client, size: int) -> bool:
    """Whether at least `size` bytes come before the end."""
    try:
        return len(await asyncio.wait_for(client.reader.read(-1), 5)) >= size
    except ConnectionResetError:
        return False


@pytest.fixture(autouse=True, params=LOOPS)
def quiet(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """On each loop, whatever a client does, the log shows no traceback."""
    CALLS.clear()
    LOOP[0] = request.param
    with caplog.at_level(logging.INFO):
        yield
    assert not [record for record in caplog.records if record.exc_info]
