"""A peer that sends whatever a test wants it to, frame by frame or byte by byte."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

import aiohttp
import msgspec

from p2p.messages import (
    PROTOCOL_VERSION,
    Hello,
    Message,
    Ping,
    Pong,
    decode_message,
    encode_message,
    encode_work,
)
from p2p.ports import Endpoint, NodePort

LIMIT_S = 20.0


def hello_of(node: NodePort, nonce: bytes = b"raw peer") -> Hello:
    """What an honest peer with the same chain as `node` says."""
    tip = node.tip
    return Hello(
        PROTOCOL_VERSION, 0, node.chain_id, nonce, node.params.name, b"/raw/", 0, tip.height,
        tip.hash, encode_work(tip.work),
    )  # fmt: skip


class RawPeer:
    """One WebSocket connection to a node. Answers pings, as long as it is asked to receive."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws

    async def send(self, message: Message) -> None:
        await self.ws.send_bytes(encode_message(message))

    async def greet(self, node: NodePort, **changes: object) -> Hello:
        """Exchange hellos."""
        await self.send(msgspec.structs.replace(hello_of(node), **changes))
        answer = await self.receive()
        assert isinstance(answer, Hello)
        return answer

    async def receive(self) -> Message:
        """The next message that is not a ping."""
        async with asyncio.timeout(LIMIT_S):
            while True:
                message = decode_message(await self.ws.receive_bytes())
                if isinstance(message, Ping):
                    await self.send(Pong(message.nonce))
                else:
                    return message

    async def ending(self) -> tuple[int | None, str]:
        """Wait until the node closes; its code and reason."""
        async with asyncio.timeout(LIMIT_S):
            while True:
                message = await self.ws.receive()
                if message.type is aiohttp.WSMsgType.CLOSE:
                    return message.data, str(message.extra)
                if message.type in (
                    aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.ERROR,
                ):  # fmt: skip
                    return self.ws.close_code, ""


@asynccontextmanager
async def raw_peer(address: Endpoint, compress: int = 0) -> AsyncIterator[RawPeer]:
    """A connection to `address`."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"ws://{address}/", max_msg_size=0, compress=compress) as ws,
    ):
        yield RawPeer(ws)


def framed(payload: bytes, first: int = 0x82, length: int | None = None) -> bytes:
    """A masked frame of a WebSocket. The mask is zero."""
    size = len(payload) if length is None else length
    return bytes((first, 0xFF)) + size.to_bytes(8, "big") + bytes(4) + payload


class RawSocket:
    """A TCP connection that knows nothing of messages."""

    def __init__(self, address: Endpoint, source: str = "127.0.0.1") -> None:
        self._address = address
        self._source = source

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection(
            *self._address, local_addr=(self._source, 0)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.writer.transport.abort()

    async def upgrade(self, *headers: str) -> bytes:
        """Ask for a WebSocket; the answer as far as the end of its headers."""
        key = base64.b64encode(bytes(16)).decode()
        lines = [
            "GET / HTTP/1.1", f"Host: {self._address}", "Upgrade: websocket",
            "Connection: Upgrade", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13",
            *headers, "", "",
        ]  # fmt: skip
        self.writer.write("\r\n".join(lines).encode())
        async with asyncio.timeout(LIMIT_S):
            return await self.reader.readuntil(b"\r\n\r\n")

    def write_frame(self, payload: bytes, first: int = 0x82, length: int | None = None) -> None:
        """A masked frame (the mask is zero), which may lie about its length."""
        self.writer.write(framed(payload, first, length))

    async def close_code(self) -> int | None:
        """Read to the end; the code of the close frame, if there is one."""
        received = b""
        try:
            async with asyncio.timeout(LIMIT_S):
                while chunk := await self.reader.read(65_536):
                    received += chunk
                    if received[:1] == b"\x88" and len(received) >= 4:
                        return int.from_bytes(received[2:4], "big")
        except ConnectionError:
            return None
        return None

    async def is_cut(self) -> bool:
        """Wait until the other side ends the connection."""
        try:
            async with asyncio.timeout(LIMIT_S):
                while await self.reader.read(65_536):
                    pass
        except ConnectionError:
            return True
        except TimeoutError:
            return False
        return True
