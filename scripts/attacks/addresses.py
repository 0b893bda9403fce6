"""Addresses in numbers, from peers that the node dials itself: only they are asked for any."""

from __future__ import annotations

import asyncio
import random
import time

import aiohttp
from aiohttp import web

from p2p.messages import (
    ADDRESSES_MAX,
    Addr,
    AddrEntry,
    GetAddr,
    Hello,
    Ping,
    Pong,
    decode_message,
    encode_message,
)
from p2p.ports import Endpoint
from scripts.attacks.callers import Caller
from scripts.attacks.stranger import Outcome, Stranger, Target, source
from tests.support.p2p_node import ToyNode
from tests.support.raw_peer import LIMIT_S, hello_of

SEED = 20_261_124
FIRST_SOURCE = 5_000
"""Numbers of the addresses that listen begin here, where no other attack connects from."""


class _Gossip:
    """Listens at many addresses, and answers whoever dials with more addresses than it asked for."""

    def __init__(self, rng: random.Random) -> None:
        self.asked = self.unasked = 0
        self._rng = rng
        self._guest = ToyNode()
        self._ended = asyncio.Event()

    async def answer(self, request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(compress=False)
        await ws.prepare(request)
        await ws.send_bytes(encode_message(hello_of(self._guest)))
        async for frame in ws:
            if frame.type is not aiohttp.WSMsgType.BINARY:
                break
            match decode_message(frame.data):
                case GetAddr():
                    await ws.send_bytes(encode_message(self._list()))
                    self.asked += ADDRESSES_MAX
                    await ws.send_bytes(encode_message(self._list()))
                    self.unasked += ADDRESSES_MAX
                    await ws.close()
                case Ping(nonce):
                    await ws.send_bytes(encode_message(Pong(nonce)))
        self._ended.set()
        return ws

    def _list(self) -> Addr:
        return Addr(
            tuple(
                AddrEntry(self._rng.randbytes(4), 9_932, int(time.time()))
                for _ in range(ADDRESSES_MAX)
            )
        )

    async def ended(self) -> None:
        """Wait until one has said it all."""
        async with asyncio.timeout(LIMIT_S):
            await self._ended.wait()
        self._ended.clear()


async def addresses(target: Target, count: int) -> Outcome:
    """`count` addresses that the node asked for, and as many that it did not."""
    gossip = _Gossip(random.Random(SEED))
    application = web.Application()
    application.router.add_get("/", gossip.answer)
    runner, caller = web.AppRunner(application), Caller(target)
    await runner.setup()
    began = time.monotonic()
    try:
        for number in range(max(1, count // ADDRESSES_MAX)):
            site = web.TCPSite(runner, source(FIRST_SOURCE + number, 1), 0)
            await site.start()
            host, port = runner.addresses[-1][:2]
            await caller.call("addnode", [str(Endpoint(host, port)), "onetry"])
            await gossip.ended()
            await site.stop()
    finally:
        await runner.cleanup()
    took = time.monotonic() - began
    told = await _told(target)
    failures = () if told <= ADDRESSES_MAX else ("more addresses are told than one list has",)
    return Outcome(
        f"{gossip.asked} taken and {gossip.unasked} more sent in {took:.0f} s; {told} told to a peer",
        failures,
    )


async def _told(target: Target) -> int:
    """How many addresses the node gives to a peer that asks."""
    async with Stranger(target, 0) as peer, asyncio.timeout(LIMIT_S):
        await peer.greet(ToyNode())
        peer.say(GetAddr())
        while True:
            match await peer.receive():
                case Addr(found):
                    return len(found)
                case Hello() | _:
                    pass
