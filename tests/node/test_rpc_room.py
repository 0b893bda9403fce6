"""Every place for a connection to the RPC is taken: who gives way, and who does not."""

from __future__ import annotations

import asyncio
import socket

import pytest

from node.descriptors import OWN, share_out
from node.rpc.limits import Limits
from node.rpc.listener import Listener
from tests.node import http_kit
from tests.node.http_kit import READER, Connect, serve

quiet = http_kit.quiet
WAIT = b'{"method": "wait", "id": 1}'
WRONG = "Basic d3Jvbmc6d3Jvbmc="


def test_who_rests_longest_gives_way_to_a_new_connection() -> None:
    async def scenario(connect: Connect) -> None:
        first, second = await connect(), await connect()
        assert (await second.send())[0] == (await first.send())[0] == 200
        await connect()  # so that it shows who was used since
        third = await connect()
        assert (await third.send())[0] == (await first.send())[0] == 200
        fourth = await connect()
        assert (await fourth.send())[0] == 200
        assert await second.is_closed()
        assert (await first.send())[0] == 200

    serve(scenario, Limits(connections=3))


@pytest.mark.parametrize("begun", [b"", b"POST / HTTP/1.1\r\nHost: 127"])
def test_who_showed_no_password_gives_way_before_who_did(begun: bytes) -> None:
    async def scenario(connect: Connect) -> None:
        good = await connect()
        assert (await good.send())[0] == 200
        idle = [await connect() for _ in range(6)]
        for each in idle:
            each.writer.write(begun)
        late = await connect()
        assert (await late.send(Authorization=READER))[0] == 200
        assert all([await each.is_closed() for each in idle[:-1]])
        assert (await good.send())[0] == (await late.send(Authorization=READER))[0] == 200

    serve(scenario, Limits(connections=3))


def test_guesses_that_wait_for_their_refusal_give_way() -> None:
    async def scenario(connect: Connect) -> None:
        guessing = [await connect() for _ in range(2)]
        for each in guessing:
            each.write(Authorization=WRONG)
        await asyncio.sleep(0.05)
        late = await connect()
        assert (await asyncio.wait_for(late.send(), 2))[0] == 200

    serve(scenario, Limits(connections=2, failure_delay_s=30))


def test_who_is_being_answered_does_not_give_way() -> None:
    async def scenario(connect: Connect) -> None:
        first = await connect()
        for _ in range(2):  # the second is one that a known head let in
            first.write(WAIT)
            await asyncio.sleep(0.1)
            assert await (await connect()).is_closed()
            assert (await first.receive())[0] == 200

    serve(scenario, Limits(connections=1))


def test_a_connection_that_cannot_be_accepted_now_is_accepted_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refusals = [OSError(24, "Too many open files")] * 3

    async def run() -> None:
        loop = asyncio.get_running_loop()
        accept = loop.sock_accept

        async def short(listening: socket.socket) -> tuple[socket.socket, object]:
            if refusals:
                raise refusals.pop()
            return await accept(listening)

        monkeypatch.setattr(loop, "sock_accept", short)

        class Greeting(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                assert isinstance(transport, asyncio.WriteTransport)
                transport.write(b"hello")

        listener = Listener(lambda: True, Greeting)
        port = await listener.start("127.0.0.1", 0)
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert await asyncio.wait_for(reader.readexactly(5), 5) == b"hello"
            writer.close()
        finally:
            await listener.close()

    asyncio.run(run())
    assert not refusals


@pytest.mark.parametrize("descriptors", [64, 256, 1_024, 1 << 20])
def test_descriptors_suffice_for_every_share(descriptors: int) -> None:
    shares = share_out(descriptors)
    outbound, tables = 8, descriptors // 5
    assert sum(shares) + OWN + outbound <= descriptors
    assert descriptors < 256 or sum(shares) + OWN + outbound + min(tables, 512) <= descriptors
    assert min(shares) >= 2
    assert shares.are_short == (descriptors < 1_024)
