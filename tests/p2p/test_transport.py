"""What never becomes a message: HTTP, framing, silence, floods. Over real sockets."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from contextlib import AsyncExitStack

import aiohttp
import msgspec
import pytest

from consensus.params import BLOCK_BYTES_MAX
from p2p.messages import (
    FRAME_BYTES_MAX,
    BlockMessage,
    GetBlocks,
    Ping,
    encode_message,
)
from tests.support.attack import attacked
from tests.support.p2p_node import QUICK, ToyNode, make_network, until
from tests.support.raw_peer import RawSocket, hello_of, raw_peer


def test_text_is_no_message() -> None:
    async def scenario() -> None:
        async with attacked() as scene, raw_peer(scene.address) as peer:
            await peer.ws.send_str("hello")
            assert await peer.ending() == (4000, "misbehaving")

    asyncio.run(scenario())


@pytest.mark.parametrize("excess", [1, 1_000_000])
def test_an_oversized_message_is_closed_with_code_1009(excess: int) -> None:
    async def scenario() -> None:
        async with attacked() as scene, RawSocket(scene.address) as peer:
            assert b"101" in await peer.upgrade()
            peer.write_frame(b"", length=FRAME_BYTES_MAX + excess)
            assert await peer.close_code() == 1009

    asyncio.run(scenario())


def test_a_length_of_2_to_the_63_is_closed_at_once() -> None:
    async def scenario() -> None:
        async with attacked() as scene, RawSocket(scene.address) as peer:
            await peer.upgrade()
            peer.write_frame(b"", length=2**63 - 1)
            assert await peer.close_code() == 1009

    asyncio.run(scenario())


def test_fragments_that_add_up_to_too_much_are_closed_with_code_1009() -> None:
    async def scenario() -> None:
        async with attacked() as scene, RawSocket(scene.address) as peer:
            await peer.upgrade()
            peer.write_frame(bytes(2_500_000), first=0x02)
            peer.write_frame(bytes(2_500_000), first=0x80)
            assert await peer.close_code() == 1009

    asyncio.run(scenario())


def test_compression_is_not_negotiated_and_a_reserved_bit_is_closed_with_code_1002() -> None:
    async def scenario() -> None:
        async with attacked() as scene, RawSocket(scene.address) as peer:
            answer = await peer.upgrade("Sec-WebSocket-Extensions: permessage-deflate")
            assert b"101" in answer
            assert b"permessage-deflate" not in answer
            peer.write_frame(b"\x01", first=0xC2)
            assert await peer.close_code() == 1002

    asyncio.run(scenario())


def test_a_page_in_a_browser_cannot_speak_to_a_node() -> None:
    async def scenario() -> None:
        async with attacked() as scene, aiohttp.ClientSession() as session:
            for url, headers, status in (
                ("/", {"Origin": "http://evil.example"}, 403),
                ("/other", {}, 404),
                ("/", {}, 400),
            ):
                address = f"http://{scene.address}{url}"
                async with session.get(address, headers=headers) as response:
                    assert response.status == status
                    assert "Access-Control-Allow-Origin" not in response.headers

    asyncio.run(scenario())


def test_a_peer_cannot_send_us_elsewhere() -> None:
    async def scenario() -> None:
        async with attacked() as scene:
            asked: list[bytes] = []

            async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                asked.append(await reader.readuntil(b"\r\n\r\n"))
                where = f"http://{scene.address}/"
                writer.write(
                    b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: %b\r\n\r\n"
                    % where.encode()
                )
                await writer.drain()
                writer.close()

            server = await asyncio.start_server(redirect, "127.0.0.1", 0)
            peers = len(scene.network.peers())
            dialling = make_network(ToyNode())
            await dialling.start()
            dialling.add_node(*server.sockets[0].getsockname())
            # A second try shows that the first was given up.
            await until(lambda: len(asked) == 2)
            assert not dialling.peers()
            assert len(scene.network.peers()) == peers
            await dialling.close()
            server.close()

    asyncio.run(scenario())


def test_connections_that_say_nothing_are_cut_in_time() -> None:
    async def scenario() -> None:
        config = msgspec.structs.replace(QUICK, handshake_s=0.3)
        async with attacked(config) as scene, AsyncExitStack() as stack:
            silent, partial, greetless = [
                await stack.enter_async_context(RawSocket(scene.address)) for _ in range(3)
            ]
            partial.writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n")
            await greetless.upgrade()
            started = time.monotonic()
            assert await silent.is_cut()
            assert await partial.is_cut()
            assert await greetless.is_cut()
            assert time.monotonic() - started < 5

    asyncio.run(scenario())


def test_one_address_has_a_bounded_number_of_places() -> None:
    async def scenario() -> None:
        config = msgspec.structs.replace(QUICK, per_address_max=3)
        async with attacked(config) as scene, AsyncExitStack() as stack:
            for _ in range(2):
                peer = await stack.enter_async_context(raw_peer(scene.address))
                await peer.greet(scene.node)
            surplus = await stack.enter_async_context(raw_peer(scene.address))
            assert await surplus.ending() == (4000, "full")

    asyncio.run(scenario())


def test_a_flood_of_pings_ends_the_connection_and_stops_nobody() -> None:
    async def scenario() -> None:
        async with attacked() as scene:
            async with raw_peer(scene.address) as peer:
                await peer.greet(scene.node)
                for number in range(100):
                    await peer.send(Ping(number))
                assert (await peer.ending())[1] == "misbehaving"
            async with RawSocket(scene.address) as flood:
                await flood.upgrade()
                flood.write_frame(encode_message(hello_of(scene.node)))
                ping = b"\x89\x80" + bytes(4)
                flood.writer.write(ping * 100_000)
                assert await flood.is_cut()

    asyncio.run(scenario())


def test_a_peer_that_does_not_read_is_dropped_with_little_queued() -> None:
    async def scenario() -> None:
        config = msgspec.structs.replace(QUICK, send_timeout_s=0.5)
        async with attacked(config) as scene:
            node = scene.node
            node.served_bytes = 3_000_000
            # More than sockets hold, and less than may be queued: only the time is left to drop it.
            hashes = (node.tip.hash,) * 5
            assert len(hashes) * node.served_bytes < config.send_queue_bytes_max
            files = len(os.listdir("/proc/self/fd")) + 1
            async with RawSocket(scene.address) as peer:
                await peer.upgrade()
                peer.write_frame(encode_message(hello_of(node)))
                peer.write_frame(encode_message(GetBlocks(hashes)))
                await until(lambda: len(scene.network.peers()) == 2)
                await until(lambda: len(scene.network.peers()) == 1, "for the drop")
                # What is queued for it must not keep the connection open.
                await until(lambda: len(os.listdir("/proc/self/fd")) == files, "for the cut")
                assert scene.network.totals().bytes_sent < 16_000_000
            node.served_bytes = 0

    asyncio.run(scenario())


def test_the_largest_message_is_let_through() -> None:
    async def scenario() -> None:
        raw = b"\x92\xc4\x50" + bytes(BLOCK_BYTES_MAX - 3)
        async with attacked() as scene, RawSocket(scene.address) as peer:
            await peer.upgrade()
            peer.write_frame(encode_message(hello_of(scene.node)))
            peer.write_frame(encode_message(BlockMessage(raw)))
            peer.write_frame(encode_message(Ping(5)))
            # It was read, and not asked for: that is told by the score, and ends nothing.
            await until(lambda: any(info.score for info in scene.network.peers()))

    asyncio.run(scenario())


def test_who_is_gone_before_the_upgrade_is_answered_leaves_no_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        network = make_network(ToyNode())
        await network.start()
        assert network.local_address is not None
        head = (
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + b"A" * 22 + b"==\r\n\r\n"
        )
        for _ in range(50):
            with socket.create_connection(network.local_address) as peer:
                peer.sendall(head)
            await asyncio.sleep(0)
        async with raw_peer(network.local_address) as honest:
            await honest.greet(ToyNode())
        await network.close()

    asyncio.run(scenario())
    assert "Error handling request" not in caplog.text
