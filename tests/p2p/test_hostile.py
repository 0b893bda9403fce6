"""Peers that break the protocol are dropped; an honest one goes on. Over real sockets."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack

import msgspec
import pytest

from consensus.block import make_block, make_header
from consensus.codec import encode
from consensus.hashes import BlockHash, Wtxid, hash_wtxid
from consensus.tx import NATIVE, TxOut, make_coinbase
from p2p.compact import make_compact
from p2p.messages import (
    Addr,
    Announce,
    BlockMessage,
    BlockTxs,
    Compact,
    CompactMode,
    GetBlocks,
    GetBlockTxs,
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
from tests.support.attack import Scene, attacked
from tests.support.chain import ALICE, BOB, DAVE
from tests.support.p2p_node import QUICK, until
from tests.support.raw_peer import RawPeer, RawSocket, hello_of, raw_peer

NOT_CANONICAL = {
    "an id of two bytes": b"\x92\xcc\x01\x05",
    "an integer of two bytes": b"\x92\x01\xcc\x05",
    "a boolean": b"\x92\x01\xc3",
    "a float": b"\x92\x01\xcb\x40\x14\x00\x00\x00\x00\x00\x00",
    "a field too many": b"\x93\x01\x05\x05",
    "a field too few": b"\x91\x01",
    "a map": b"\x81\x01\x05",
    "an array of a long form": b"\xdc\x00\x02\x01\x05",
    "an unknown id": b"\x92\x7f\x05",
    "nothing": b"",
    "nesting": b"\x92\x06" + b"\x91" * 100_000,
    "a short hash": encode((7, (bytes(31),))),
    "too many hashes": encode((10, (bytes(32),) * 33)),
    "a message over its cap": encode((1, 2**40, bytes(100))),
}


@pytest.mark.parametrize("frame", NOT_CANONICAL.values(), ids=NOT_CANONICAL)
def test_a_frame_that_is_no_message_ends_the_connection(frame: bytes) -> None:
    async def scenario() -> None:
        async with attacked() as scene, raw_peer(scene.address) as peer:
            await peer.greet(scene.node)
            await peer.ws.send_bytes(frame)
            assert await peer.ending() == (4000, "misbehaving")

    asyncio.run(scenario())


def test_a_new_honest_peer_gets_in_past_a_crowd_that_says_nothing() -> None:
    async def scenario() -> None:
        config = msgspec.structs.replace(
            QUICK, handshake_s=30.0, handshaking_max=8, per_address_max=1_000
        )
        async with attacked(config) as scene, AsyncExitStack() as stack:
            crowd = []
            for number in range(60):
                crowd.append(await stack.enter_async_context(RawSocket(scene.address)))
                if number >= 30:
                    await crowd[number].upgrade()
            async with raw_peer(scene.address) as late:
                started = time.monotonic()
                await late.greet(scene.node)
                # Those that came first had to go, long before their time was up.
                assert await crowd[0].is_cut()
                assert await crowd[30].is_cut()
                assert time.monotonic() - started < 5

    asyncio.run(scenario())


def test_a_crowd_from_one_address_leaves_a_slow_peer_from_another_its_time() -> None:
    async def scenario() -> None:
        config = msgspec.structs.replace(QUICK, handshake_s=30.0, handshaking_max=8)
        async with attacked(config) as scene, AsyncExitStack() as stack:
            slow = await stack.enter_async_context(RawSocket(scene.address))
            for _ in range(20):
                crowd = RawSocket(scene.address, "127.0.0.66")
                await stack.enter_async_context(crowd)
            assert b"101" in await slow.upgrade()
            for _ in range(20):
                crowd = RawSocket(scene.address, "127.0.0.66")
                await stack.enter_async_context(crowd)
                await crowd.upgrade()
            slow.write_frame(encode_message(hello_of(scene.node)))
            await until(lambda: bool(scene.network.peers()))

    asyncio.run(scenario())


@pytest.mark.parametrize("message", [Ping(1), GetHeaders(())])
def test_a_message_before_hello_ends_the_connection(message: Message) -> None:
    async def scenario() -> None:
        async with attacked() as scene, raw_peer(scene.address) as peer:
            await peer.send(message)
            assert await peer.ending() == (4000, "misbehaving")

    asyncio.run(scenario())


def test_a_second_hello_ends_the_connection() -> None:
    async def scenario() -> None:
        async with attacked() as scene, raw_peer(scene.address) as peer:
            await peer.greet(scene.node)
            await peer.send(hello_of(scene.node))
            assert await peer.ending() == (4000, "misbehaving")

    asyncio.run(scenario())


def test_a_hello_for_another_chain_is_refused_with_the_reason() -> None:
    async def scenario() -> None:
        async with attacked() as scene, raw_peer(scene.address) as peer:
            hello = msgspec.structs.replace(hello_of(scene.node), chain=bytes(32))
            await peer.send(hello)
            assert await peer.ending() == (4000, "wrong-chain")

    asyncio.run(scenario())


UNREQUESTED: dict[str, Message] = {
    "headers": Headers((bytes(80),)),
    "a block": BlockMessage(b"\x92\xc4\x50" + bytes(100)),
    "a transaction": Txs((b"\x92\x90\x90",)),
    "addresses": Addr(()),
    "transactions of a block": BlockTxs(BlockHash(bytes(32)), (b"\x90",)),
}


@pytest.mark.parametrize("message", UNREQUESTED.values(), ids=UNREQUESTED)
def test_what_was_not_asked_for_ends_the_connection_when_it_goes_on(message: Message) -> None:
    async def scenario() -> None:
        async with attacked() as scene, raw_peer(scene.address) as peer:
            await peer.greet(scene.node)
            await peer.send(message)
            await until(lambda: any(info.score for info in scene.network.peers()))
            for _ in range(20):
                await peer.send(message)
            assert (await peer.ending())[1] == "misbehaving"

    asyncio.run(scenario())


def test_asking_for_more_blocks_than_can_be_under_way_ends_the_connection() -> None:
    async def scenario() -> None:
        async with attacked() as scene, RawSocket(scene.address) as peer:
            await peer.upgrade()
            peer.write_frame(encode_message(hello_of(scene.node)))
            scene.node.served_bytes = 3_000_000
            for _ in range(5):
                peer.write_frame(encode_message(GetBlocks((scene.node.tip.hash,) * 32)))
            assert await peer.is_cut()
            scene.node.served_bytes = 0

    asyncio.run(scenario())


async def serve_block(peer: RawPeer, scene: Scene, raw: bytes, header: bytes) -> None:
    """Announce a block and hand it over when asked."""
    await peer.greet(scene.node)
    await peer.send(Announce((header,)))
    while not isinstance(await peer.receive(), GetBlocks):
        pass
    await peer.send(BlockMessage(raw))


def test_a_block_that_takes_too_much_ends_the_connection_and_is_not_passed_on() -> None:
    async def scenario() -> None:
        async with attacked() as scene, raw_peer(scene.address) as peer:
            block = scene.node.chain.template(reward=10**12)
            await serve_block(peer, scene, block.raw, block.header.raw)
            assert await peer.ending() == (4000, "misbehaving")
            assert scene.friend.tree.get(block.header.hash) is None

    asyncio.run(scenario())


def test_a_block_with_other_transactions_than_its_root_does_not_spoil_the_right_one() -> None:
    async def scenario() -> None:
        async with attacked() as scene:
            good = scene.node.chain.template()
            coinbase = make_coinbase(
                good.txs[0].body.expiry, [TxOut(NATIVE, 1, DAVE.lock)], bytes(8)
            )
            bad = make_block(good.header, (coinbase,))
            async with raw_peer(scene.address) as peer:
                await serve_block(peer, scene, bad.raw, bad.header.raw)
                assert await peer.ending() == (4000, "misbehaving")
            async with raw_peer(scene.address) as other:
                await serve_block(other, scene, good.raw, good.header.raw)
                await until(lambda: scene.node.tip.hash == good.header.hash)

    asyncio.run(scenario())


async def ask_for_compact(peer: RawPeer, scene: Scene) -> None:
    """Greet, and wait until the node asks for new blocks at once."""
    await peer.greet(scene.node)
    while not isinstance(await peer.receive(), CompactMode):
        pass


def test_junk_under_an_honest_header_does_not_keep_the_block_away() -> None:
    async def scenario() -> None:
        async with attacked() as scene, raw_peer(scene.address) as peer:
            await ask_for_compact(peer, scene)
            block = scene.node.chain.template()
            junk = msgspec.structs.replace(make_compact(block, bytes(8)), ids=bytes(range(60)))
            await peer.send(junk)
            while not isinstance(await peer.receive(), GetBlockTxs):
                pass
            # It withholds what it made up; an honest peer brings the block.
            async with raw_peer(scene.address) as other:
                await serve_block(other, scene, block.raw, block.header.raw)
                await until(lambda: scene.node.tip.hash == block.header.hash)
            assert scene.friend.tree.get(block.header.hash) is not None

    asyncio.run(scenario())


def test_transactions_that_a_compact_block_did_not_name_end_the_connection() -> None:
    async def scenario() -> None:
        async with attacked() as scene, raw_peer(scene.address) as peer:
            await ask_for_compact(peer, scene)
            block = scene.node.chain.template()
            await peer.send(msgspec.structs.replace(make_compact(block, bytes(8)), ids=b"sixsix"))
            while not isinstance(await peer.receive(), GetBlockTxs):
                pass
            await peer.send(BlockTxs(block.header.hash, (block.txs[0].raw,)))
            assert await peer.ending() == (4000, "misbehaving")

    asyncio.run(scenario())


def test_a_compact_block_that_cannot_be_connected_costs_its_sender_nothing() -> None:
    async def scenario() -> None:
        async with attacked() as scene, raw_peer(scene.address) as peer:
            await ask_for_compact(peer, scene)
            block = scene.node.chain.template(reward=10**12)
            await peer.send(make_compact(block, bytes(8)))
            await until(lambda: block.header.hash in scene.node.rebuilt)
            await peer.send(Ping(5))
            while await peer.receive() != Pong(5):
                pass
            assert all(info.score == 0 for info in scene.network.peers())
            assert scene.node.tip.hash != block.header.hash

    asyncio.run(scenario())


def test_headers_without_work_end_the_connection() -> None:
    async def scenario() -> None:
        async with attacked() as scene, raw_peer(scene.address) as peer:
            await peer.greet(scene.node)
            header = scene.node.chain.template().header
            nonce = header.nonce
            while True:
                nonce += 1
                weak = make_header(
                    header.version, header.previous, header.root, header.time, header.bits, nonce
                )
                if weak.hash[-1] >= 0x80:
                    break
            await peer.send(Announce((weak.raw,)))
            assert await peer.ending() == (4000, "misbehaving")
            assert scene.node.tree.get(weak.hash) is None

    asyncio.run(scenario())


def test_a_transaction_with_a_bad_signature_ends_the_connection() -> None:
    async def scenario() -> None:
        async with attacked(blocks=0) as scene:
            scene.node.chain.fund(ALICE)
            scene.network.on_tip_changed(scene.node.tip)
            await until(lambda: scene.friend.tip.hash == scene.node.tip.hash)
            tx = scene.node.chain.pay(ALICE, BOB, 1_000)
            item = tx.witnesses[0].items[0]
            raw = tx.raw.replace(item, item[:-1] + bytes((item[-1] ^ 1,)))
            async with raw_peer(scene.address) as peer:
                await peer.greet(scene.node)
                await peer.send(Inv((hash_wtxid(raw),)))
                while not isinstance(await peer.receive(), GetTxs):
                    pass
                await peer.send(Txs((raw,)))
                assert await peer.ending() == (4000, "misbehaving")
                assert not scene.node.mempool

    asyncio.run(scenario())


def test_seeded_junk_from_many_peers_changes_nothing() -> None:
    async def scenario() -> None:
        rng = random.Random(20_261_124)
        async with attacked() as scene:
            tip = scene.node.tip
            recorded = [
                encode_message(message)
                for message in (
                    hello_of(scene.node), Ping(7), Pong(7), GetHeaders((tip.hash,)),
                    Headers((tip.header.raw,)), Announce((tip.header.raw,)), Inv((Wtxid(bytes(32)),)),
                    GetTxs((Wtxid(bytes(32)),)), GetBlocks((tip.hash,)),
                    CompactMode(1), Compact(tip.header.raw, bytes(8), b"x", bytes(60)),
                    GetBlockTxs(tip.hash, (0, 5)), BlockTxs(tip.hash, (b"\x90",)),
                )
            ]  # fmt: skip
            for _ in range(60):
                async with raw_peer(scene.address) as peer:
                    with_hello = rng.random() < 0.7
                    if with_hello:
                        await peer.greet(scene.node)
                    for _ in range(20):
                        frame = bytearray(rng.choice(recorded))
                        for _ in range(rng.randrange(1, 4)):
                            frame[rng.randrange(len(frame))] = rng.randrange(256)
                        if peer.ws.closed:
                            break
                        await peer.ws.send_bytes(bytes(frame))
            assert scene.node.tip is tip
            await until(lambda: len(scene.network.peers()) == 1)

    asyncio.run(scenario())
