"""Who follows and does not read is dropped, and keeps nobody else waiting."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest

from node.eventlog.layout import Kind
from node.rpc.auth import Authenticator, make_user
from node.rpc.method import Role
from node.web import events as web_events
from node.web.server import WebServer
from p2p.ports import Endpoint
from tests.events.event_kit import Life, open_life
from tests.support.node_chain import within_limit

EVENTS, SIZE = 6_000, 4_000
"""More than the buffers of a socket hold."""
WEBSOCKET = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


class Fake:
    """A node of which only the event log is asked."""

    def __init__(self, life: Life) -> None:
        self.events = life.events
        self.clock = lambda: 0.0
        self.ledger = life.ledger


@pytest.mark.parametrize(("path", "more"), [("/events", ""), ("/events/ws", WEBSOCKET)])
def test_a_client_that_does_not_read_is_dropped_while_others_get_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, more: str
) -> None:
    monkeypatch.setattr(web_events, "SLOW_S", 0.3)
    user = base64.b64encode(b"reader:word").decode()
    request = (
        f"GET {path}?after=0 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {user}\r\n{more}\r\n"
    ).encode()

    async def scenario() -> None:
        async with open_life(tmp_path, is_killed=True) as life:
            for _ in range(EVENTS):
                life.events.log._tell(Kind.PAYMENT_SEEN, {"memo": "x" * SIZE})
            await life.events.desk.settled()
            node: Any = Fake(life)
            users = Authenticator([make_user("reader", "word", "salt", Role.READ)])
            server = WebServer(node, Endpoint("127.0.0.1", 0), users, (), 10)
            await server.start()
            try:
                _, silent = await asyncio.open_connection(*server.endpoint)
                silent.write(request)
                reader, writer = await asyncio.open_connection(*server.endpoint)
                writer.write(request)
                taken = 0
                while taken < EVENTS * SIZE:
                    taken += len(await reader.read(1 << 20))
                async with asyncio.timeout(10):
                    while life.events.streams > 1:
                        await life.events.desk.wait(EVENTS, 1, frozenset(), 0.05)
                writer.close()
                silent.transport.abort()
            finally:
                life.events.end_waits()
                await server.close()
            assert life.events.streams == 0

    within_limit(scenario())
