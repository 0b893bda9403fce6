"""Attacks of peers on a real node, which must not notice."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress

import aiohttp
import pytest

from consensus.block import make_block, make_header
from consensus.codec import encode
from consensus.hashes import Wtxid, hash_wtxid
from consensus.pow import hash_as_number, target_of
from p2p.hub import LOGGED_FAULTS_BURST, LOGGED_FAULTS_PER_S
from p2p.messages import (
    FRAME_BYTES_MAX,
    Announce,
    GetBlocks,
    GetHeaders,
    GetTxs,
    Headers,
    Inv,
    Message,
    Ping,
    Pong,
    Txs,
    encode_message,
)
from tests.support.alive import Attack, alive
from tests.support.chain import ALICE, BOB, ToyChain, blocks_of
from tests.support.daemon import Daemon, feed, running
from tests.support.p2p_node import ToyNode
from tests.support.raw_peer import RawPeer, RawSocket, hello_of, raw_peer

FACTOR = int(os.environ.get("TAEL_ATTACK_FACTOR", "1"))
"""Makes every attack so many times longer."""
GUEST = ToyNode()
CHAIN = ToyChain()
CHAIN.fund(ALICE, 3)
GONE = (aiohttp.ClientError, ConnectionError, TypeError)
"""What a peer that was cut off meets when it goes on; aiohttp's receive raises the last."""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path_factory.mktemp("attacked"), "--verify-processes", "0")
    with running(daemon):
        feed(daemon, blocks_of(CHAIN))
        yield daemon


async def send_all(attack: Attack, frames: list[bytes], greeted: bool = True) -> bool:
    """Send frames as one peer; whether it was cut off before the end."""
    try:
        async with raw_peer(attack.address) as peer:
            if greeted:
                await peer.greet(GUEST)
            for frame in frames:
                if peer.ws.closed:
                    return True
                await peer.ws.send_bytes(frame)
            await peer.ws.send_bytes(encode_message(Ping(2**40)))
            while await peer.receive() != Pong(2**40):
                pass
    except GONE:
        return True
    return False


def test_changed_messages_of_a_recorded_session_harm_nobody(node: Daemon) -> None:
    rng = random.Random(1)
    tip = CHAIN.tip
    recorded: list[Message] = [
        hello_of(GUEST), Ping(7), Pong(7), GetHeaders((tip.hash,)), Headers((tip.header.raw,)),
        Announce((tip.header.raw,)), Inv((Wtxid(bytes(32)),)), GetTxs((Wtxid(bytes(32)),)),
        GetBlocks((tip.hash,)), Txs((CHAIN.pay(ALICE, BOB, 5).raw,)),
    ]  # fmt: skip

    def changed() -> bytes:
        frame = bytearray(encode_message(rng.choice(recorded)))
        for _ in range(rng.randrange(1, 4)):
            match rng.randrange(3):
                case 0:
                    frame[rng.randrange(len(frame))] = rng.randrange(256)
                case 1:
                    frame.insert(rng.randrange(len(frame)), rng.randrange(256))
                case _:
                    del frame[rng.randrange(len(frame))]
            frame = frame or bytearray(1)
        return bytes(frame)

    async def scenario() -> None:
        async with alive(node) as attack:
            # Nearly every change ends the connection, so each has one of its own.
            for _ in range(40 * FACTOR):
                tries = [send_all(attack, [changed()], rng.random() < 0.8) for _ in range(8)]
                await asyncio.gather(*tries)

    asyncio.run(scenario())


def test_empty_arrays_of_maximum_size_from_eight_peers_harm_nobody(node: Daemon) -> None:
    async def scenario() -> None:
        bombs = [
            b"\x92" + bytes((number,)) + b"\xdd\x00\x3d\x08\xf0" + filler * (FRAME_BYTES_MAX - 100)
            for number, filler in ((9, b"\x90"), (11, b"\x80"), (17, b"\x90"), (6, b"\x80"))
        ]
        async with alive(node) as attack:
            cut = await asyncio.gather(*(send_all(attack, [bomb]) for bomb in bombs * 2))
            assert all(cut)

    asyncio.run(scenario())


@pytest.mark.parametrize("depth", [32, 600, 100_000])
def test_nesting_is_refused(node: Daemon, depth: int) -> None:
    async def scenario() -> None:
        async with alive(node) as attack:
            for start in (b"\x92\x09", b"\x92\x06", b"\x91"):
                assert await send_all(attack, [start + b"\x91" * depth + b"\x90"])

    asyncio.run(scenario())


def test_lengths_over_the_limit_take_no_memory(node: Daemon) -> None:
    async def scenario() -> None:
        async with alive(node, 8 * 2**20) as attack:
            for length in (FRAME_BYTES_MAX + 1, 2**32, 2**63 - 1):
                async with RawSocket(attack.address) as peer:
                    await peer.upgrade()
                    peer.write_frame(b"", length=length)
                    assert await peer.close_code() == 1009
            async with RawSocket(attack.address) as peer:
                await peer.upgrade()
                peer.write_frame(bytes(2_500_000), first=0x02)
                peer.write_frame(bytes(2_500_000), first=0x80)
                assert await peer.close_code() == 1009

    asyncio.run(scenario())


async def hold(address: tuple[str, int], source: str, kind: int) -> bool:
    """One of the slow connections; whether it was cut."""
    try:
        reader, writer = await asyncio.open_connection(*address, local_addr=(source, 0))
    except OSError:
        return True
    upgrade = (
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    try:
        if kind == 1:
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n")
        elif kind >= 3:
            writer.write(upgrade)
        if kind == 4:
            # Says hello, and never reads.
            body = encode_message(hello_of(GUEST))
            writer.write(b"\x82\xff" + len(body).to_bytes(8, "big") + bytes(4) + body)
            ended = asyncio.create_task(writer.wait_closed())
            await asyncio.wait([ended], timeout=30)
            return ended.done() or writer.transport.is_closing()
        if kind == 2:
            for byte in b"GET / HTTP/1.1\r\nX-" + b"y" * 60:
                writer.write(bytes((byte,)))
                await writer.drain()
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.5):
                        if not await reader.read(1):
                            return True
            return False
        async with asyncio.timeout(30):
            while await reader.read(65_536):
                pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    finally:
        writer.transport.abort()
    return True


def test_three_hundred_slow_connections_are_cut_and_an_honest_peer_gets_in(node: Daemon) -> None:
    async def scenario() -> None:
        async with alive(node) as attack:
            tasks = [
                asyncio.create_task(hold(attack.address, f"127.0.1.{1 + n // 15}", n % 4))
                for n in range(300)
            ]
            await asyncio.wait(tasks, timeout=0.5)
            began = time.monotonic()
            async with raw_peer(attack.address) as late:
                await late.greet(GUEST)
                assert time.monotonic() - began < 2
            kept = [n % 4 for n, cut in enumerate(await asyncio.gather(*tasks)) if not cut]
            assert not kept, f"kept, by kind: {kept}"
            assert time.monotonic() - began < 30

    asyncio.run(scenario())


FLOODS = {
    "junk of maximum size": [b"\x92\x0b" + bytes(FRAME_BYTES_MAX - 100)] * 10,
    "messages of one byte": [b"\x90"] * 12_500,
    "pings": [encode_message(Ping(1))] * 12_500,
    "questions": [encode_message(GetHeaders((GUEST.chain_id,)))] * 2_000,
}


@pytest.mark.parametrize("frames", FLOODS.values(), ids=FLOODS)
def test_a_flood_from_eight_peers_harms_nobody(node: Daemon, frames: list[bytes]) -> None:
    async def scenario() -> None:
        async with alive(node) as attack:
            cut = await asyncio.gather(*(send_all(attack, frames * FACTOR) for _ in range(8)))
            assert all(cut)

    asyncio.run(scenario())


def test_requests_of_a_peer_that_never_reads_are_bounded_and_bad_ones_do_not_spin(
    node: Daemon,
) -> None:
    async def scenario() -> None:
        async with alive(node) as attack, AsyncExitStack() as stack:
            deaf = await stack.enter_async_context(RawSocket(attack.address))
            await deaf.upgrade()
            deaf.write_frame(encode_message(hello_of(GUEST)))
            for start in range(50):
                wtxids = tuple(Wtxid((start * 1_000 + n).to_bytes(32, "big")) for n in range(1_000))
                deaf.write_frame(encode_message(Inv(wtxids)))
                deaf.write_frame(encode_message(GetTxs(wtxids)))
            await asyncio.wait([asyncio.create_task(deaf.writer.drain())], timeout=3)
            for bad in (
                b"\x92\x08\xdc\xff\xff",
                b"\x92\x0a\xc0",
                b"\x92\x08\x91\xc4\x1f" + bytes(31),
            ):
                assert await send_all(attack, [bad])
            assert not await send_all(
                attack, [encode_message(GetTxs(())), encode_message(GetBlocks(()))]
            )

    asyncio.run(scenario())


def test_many_invalid_blocks_do_not_fill_the_log(node: Daemon) -> None:
    earlier = len(node.log)

    def told() -> list[str]:
        return [line for line in node.log[earlier:] if ", score " in line]

    async def scenario() -> None:
        rng = random.Random(14)
        good = CHAIN.template()
        async with alive(node) as attack:
            # So many in a row are told; after them no more than one in a second.
            for _ in range(int(LOGGED_FAULTS_BURST) // 8 + 2):
                await asyncio.gather(*(send_all(attack, [b"\xc1"]) for _ in range(8)))
            before, since = len(told()), time.monotonic()
            for _ in range(60 * FACTOR):
                nonce = rng.randrange(2**31)
                while True:
                    head = good.header
                    header = make_header(
                        head.version, head.previous, rng.randbytes(32), head.time, head.bits, nonce
                    )
                    if hash_as_number(header.hash) <= target_of(header.bits):
                        break
                async with raw_peer(attack.address) as peer:
                    await peer.greet(GUEST)
                    await peer.send(Announce((header.raw,)))
                    while not isinstance(await peer.receive(), GetBlocks):
                        pass
                    raw = make_block(header, good.txs).raw
                    await peer.ws.send_bytes(encode((11, raw)))
                    assert (await peer.ending())[1] == "misbehaving"
            assert len(told()) - before <= (time.monotonic() - since) * LOGGED_FAULTS_PER_S + 2

    asyncio.run(scenario())


def test_a_flood_of_orphans_harms_nobody(node: Daemon) -> None:
    async def scenario() -> None:
        count = 1_000 * FACTOR
        base = CHAIN.pay(ALICE, BOB, 1_000)
        spent = base.body.inputs[0]
        async with alive(node) as attack, raw_peer(attack.address) as peer:
            await peer.greet(GUEST)
            raws = [
                base.raw.replace(spent, n.to_bytes(32, "big") + spent[32:]) for n in range(count)
            ]
            await offer(peer, raws)

    asyncio.run(scenario())


async def offer(peer: RawPeer, raws: list[bytes]) -> None:
    """Announce transactions and hand over what is asked for, until nothing is."""
    from_wtxid = {hash_wtxid(raw): raw for raw in raws}
    waiting = list(from_wtxid)
    given = 0
    for start in range(0, len(waiting), 1_000):
        await peer.send(Inv(tuple(waiting[start : start + 1_000])))
    while given < len(waiting):
        message = await peer.receive()
        if isinstance(message, GetTxs):
            await peer.send(Txs(tuple(from_wtxid[wtxid] for wtxid in message.wtxids)))
            given += len(message.wtxids)
    await peer.send(Ping(1))
    while await peer.receive() != Pong(1):
        pass
