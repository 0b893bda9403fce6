"""Watches a real node from outside while it is attacked: whether it holds, and how far its answers were
delayed.

A short call is made every 5 ms on a connection that stays, and one every 100 ms on a new one. The event
loop of the node answers both, so the longest answer is the longest time that the loop was busy with something
else, or that the machine gave the node no processor.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import NamedTuple

from p2p.messages import Ping, Pong
from p2p.ports import Endpoint, NodePort
from tests.support.alive import (
    GROWTH_BYTES_MAX,
    LOG_BYTES_MAX,
    PING_S_MAX,
    RPC_S_MAX,
    memory_bytes,
)
from tests.support.daemon import Daemon
from tests.support.raw_peer import LIMIT_S, RawPeer, raw_peer

STALL_S_MAX = 0.2
"""Longest time that a flood may keep the event loop."""
GREETING_S_MAX = 2.0
"""Longest time in which an honest peer gets in."""
SAMPLE_S = 0.005
NEW_CALL_S = 0.1
VISIT_S = 0.5
"""Between two honest peers that come and go."""
MEMORY_S = 0.25
PING_S = 1.1
"""60 a minute are allowed."""
_MIB = 2**20
_BODY = b'{"method":"getblockcount","id":1}'


class Bounds(NamedTuple):
    """What has to hold beside what holds under every attack."""

    stall_s: float = RPC_S_MAX
    growth_bytes: int = GROWTH_BYTES_MAX
    is_visited: bool = False
    """Whether honest peers come and go meanwhile, each of which has to get in."""
    stores_nothing: bool = False
    """Whether no branch may be stored."""
    has_friend: bool = True
    """Whether an honest peer is connected all the while."""


class Seen:
    """What the node was like from the beginning to the end of an attack. Times in seconds."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.calls = 0
        self.stall_s = 0.0
        self.new_calls = 0
        self.new_call_s = 0.0
        """Longest call on a connection of its own."""
        self.pings = 0
        self.ping_s = 0.0
        self.visits = 0
        self.greeting_s = 0.0
        self.before_bytes = self.peak_bytes = self.after_bytes = self.log_bytes = 0
        self.failures: list[str] = []

    def figures(self) -> str:
        bounds = self.bounds
        parts = [
            f"answers delayed by at most {1_000 * self.stall_s:.0f} ms ({self.calls} calls), "
            f"on new connections {1_000 * self.new_call_s:.0f} ms"
        ]
        if bounds.has_friend:
            parts.append(f"pings {1_000 * self.ping_s:.0f} ms")
        if bounds.is_visited:
            parts.append(f"{self.visits} honest peers in within {1_000 * self.greeting_s:.0f} ms")
        parts.append(
            f"memory {self.before_bytes / _MIB:.0f} → {self.after_bytes / _MIB:.0f} MiB "
            f"(at most {self.peak_bytes / _MIB:.0f})"
        )
        parts.append(f"log {self.log_bytes / 1_000:.1f} kB")
        return "; ".join(parts)

    def judge(self) -> list[str]:
        """What did not hold."""
        grown = self.after_bytes - self.before_bytes
        held = {
            "an answer took too long": max(self.stall_s, self.new_call_s) < RPC_S_MAX,
            "the event loop was stalled": self.stall_s < self.bounds.stall_s,
            "a ping took too long": self.ping_s < PING_S_MAX,
            "an honest peer got in too late": self.greeting_s < GREETING_S_MAX,
            "memory grew": grown < self.bounds.growth_bytes,
            "the log grew": self.log_bytes < LOG_BYTES_MAX,
            "nothing was measured": self.calls > 0 and self.new_calls > 0,
            "no ping came back": self.pings > 0 or not self.bounds.has_friend,
        }
        return self.failures + [what for what, is_so in held.items() if not is_so]


class _Client:
    """Short calls by hand: what is measured is the node, not a library."""

    def __init__(self, node: Daemon) -> None:
        token = base64.b64encode((node.datadir / ".cookie").read_bytes()).decode()
        self._port = node.rpc_port
        self._request = (
            f"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic {token}\r\n"
            f"Content-Length: {len(_BODY)}\r\n\r\n"
        ).encode() + _BODY
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def call(self) -> float:
        """Seconds until the answer is there. Raises: OSError, EOFError, TimeoutError."""
        began = time.monotonic()
        async with asyncio.timeout(LIMIT_S):
            if self._reader is None or self._writer is None:
                self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
            self._writer.write(self._request)
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split()[0])
            body = await self._reader.readexactly(length)
        if b'"result"' not in body:
            raise OSError(f"answered {body[:100]!r}")
        return time.monotonic() - began

    def close(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None


class _Watcher:
    def __init__(self, node: Daemon, chain: NodePort, seen: Seen) -> None:
        self._node = node
        self._chain = chain
        self._seen = seen
        self._address = Endpoint("127.0.0.1", node.p2p_port)

    async def sample(self) -> None:
        client, seen = _Client(self._node), self._seen
        try:
            await client.call()  # the first is checked at length
            while True:
                took = await client.call()
                seen.calls += 1
                seen.stall_s = max(seen.stall_s, took)
                await asyncio.sleep(max(0.0, SAMPLE_S - took))
        finally:
            client.close()

    async def call_anew(self) -> None:
        client, seen = _Client(self._node), self._seen
        while True:
            try:
                seen.new_call_s = max(seen.new_call_s, await client.call())
            finally:
                client.close()
            seen.new_calls += 1
            await asyncio.sleep(NEW_CALL_S)

    async def ping(self, friend: RawPeer) -> None:
        seen = self._seen
        while True:
            began = time.monotonic()
            await friend.send(Ping(seen.pings))
            while await friend.receive() != Pong(seen.pings):
                pass
            seen.ping_s = max(seen.ping_s, time.monotonic() - began)
            seen.pings += 1
            await asyncio.sleep(PING_S)

    async def visit(self) -> None:
        seen = self._seen
        while True:
            await asyncio.sleep(VISIT_S)
            began = time.monotonic()
            async with raw_peer(self._address) as visitor:
                await visitor.greet(self._chain)
                seen.greeting_s = max(seen.greeting_s, time.monotonic() - began)
            seen.visits += 1

    async def weigh(self) -> None:
        while True:
            self._seen.peak_bytes = max(self._seen.peak_bytes, memory_bytes(self._node.pid))
            await asyncio.sleep(MEMORY_S)


@asynccontextmanager
async def watched(node: Daemon, chain: NodePort, bounds: Bounds) -> AsyncIterator[Seen]:
    """Watch what is done to `node` inside. `chain` knows its genesis; an honest peer shows that."""
    seen = Seen(bounds)
    watcher = _Watcher(node, chain, seen)
    state = await _state(node, bounds)
    lines = len(node.log)
    seen.before_bytes = memory_bytes(node.pid)
    parts: dict[str, Awaitable[None]] = {
        "calls": watcher.sample(), "new calls": watcher.call_anew(), "memory": watcher.weigh(),
    }  # fmt: skip
    if bounds.is_visited:
        parts["an honest peer that comes"] = watcher.visit()
    async with _friend(node, chain, bounds) as friend:
        if friend is not None:
            parts["an honest peer"] = watcher.ping(friend)
        tasks = {what: asyncio.ensure_future(part) for what, part in parts.items()}
        try:
            yield seen
            if friend is not None:
                await _another_ping(seen, tasks["an honest peer"])
        finally:
            for task in tasks.values():
                task.cancel()
            ended = await asyncio.gather(*tasks.values(), return_exceptions=True)
    for what, how in zip(tasks, ended, strict=True):
        if not isinstance(how, asyncio.CancelledError):
            seen.failures.append(f"{what} failed: {how!r}")
    seen.after_bytes = memory_bytes(node.pid)
    said = node.log[lines:]
    seen.log_bytes = sum(len(line) + 1 for line in said)
    if any("Traceback" in line for line in said):
        seen.failures.append("the log shows a traceback")
    if await _state(node, bounds) != state:
        seen.failures.append("tip, branches or coins are others than before")


async def _state(node: Daemon, bounds: Bounds) -> object:
    """What no attack may change."""
    info = await asyncio.to_thread(node.call, "getblockchaininfo")
    coins = await asyncio.to_thread(node.call, "gettxoutsetinfo")
    # Of blocks that cost nothing there can be more branches than one answer holds.
    stored = bounds.stores_nothing
    tips = await asyncio.to_thread(node.call, "getchaintips") if stored else None
    return info["bestblockhash"], info["chainwork"], coins, tips


@asynccontextmanager
async def _friend(node: Daemon, chain: NodePort, bounds: Bounds) -> AsyncIterator[RawPeer | None]:
    if not bounds.has_friend:
        yield None
        return
    async with raw_peer(Endpoint("127.0.0.1", node.p2p_port)) as friend:
        await friend.greet(chain)
        yield friend


async def _another_ping(seen: Seen, pinging: asyncio.Future[None]) -> None:
    """Once more after the attack."""
    pings, deadline = seen.pings, time.monotonic() + LIMIT_S
    while seen.pings == pings and time.monotonic() < deadline:
        await asyncio.wait([pinging], timeout=SAMPLE_S)
        if pinging.done():
            return
