"""Attacks of peers: what they say."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from consensus.block import make_block, make_header
from consensus.codec import encode
from consensus.hashes import Wtxid
from consensus.pow import hash_as_number, target_of
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
from scripts.attacks.stranger import GONE, Outcome, Stranger, Target, parted
from tests.support.chain import ALICE, BOB, ToyChain
from tests.support.p2p_node import ToyNode
from tests.support.raw_peer import LIMIT_S, framed, hello_of

SEED = 20_261_124
PEERS = 8
CHUNK = 64
"""Frames written before a flood looks whether it was cut off."""
VAIN_MAX = 20
"""Connections in a row that come to nothing, after which a flood is given up."""
_BLOCK = 11
"""What a message that carries a block begins with."""


def attacked_chain() -> ToyChain:
    """The chain of the node, the same in every process."""
    chain = ToyChain()
    chain.fund(ALICE, 3)
    return chain


def recorded(guest: ToyNode, chain: ToyChain) -> list[Message]:
    """One message of each kind that a session has."""
    tip = chain.tip
    return [
        hello_of(guest), Ping(7), Pong(7), GetHeaders((tip.hash,)), Headers((tip.header.raw,)),
        Announce((tip.header.raw,)), Inv((Wtxid(bytes(32)),)), GetTxs((Wtxid(bytes(32)),)),
        GetBlocks((tip.hash,)), Txs((chain.pay(ALICE, BOB, 5).raw,)),
    ]  # fmt: skip


def mutated(rng: random.Random, messages: Sequence[Message]) -> bytes:
    """One of them with bytes changed, put in or taken out."""
    frame = bytearray(encode_message(rng.choice(messages)))
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


async def mutations(target: Target, count: int) -> Outcome:
    """Messages of a recorded session, changed, each on a connection of its own."""
    chain, guest = attacked_chain(), ToyNode()
    messages, ends = recorded(guest, chain), Counter[str]()

    async def some(numbers: range) -> None:
        rng = random.Random(SEED + numbers.start)
        for _ in numbers:
            try:
                async with asyncio.timeout(LIMIT_S):
                    ends[await _mutation(target, numbers.start, rng, guest, messages)] += 1
            except GONE:
                ends["cut"] += 1

    await asyncio.gather(*(some(numbers) for numbers in parted(count, PEERS)))
    return Outcome(
        f"{ends.total()} sent, {ends['cut']} cut off for it, {ends['answered']} answered on"
    )


async def _mutation(
    target: Target, number: int, rng: random.Random, guest: ToyNode, messages: Sequence[Message]
) -> str:
    async with Stranger(target, number) as peer:
        if rng.random() < 0.8:
            await peer.greet(guest)
        else:
            await peer.upgrade()
        peer.write_frame(mutated(rng, messages))
        peer.say(Ping(2**40))
        while await peer.receive() != Pong(2**40):
            pass
    return "answered"


FLOODS: dict[str, bytes] = {
    "junk": b"\x92\x0b" + bytes(FRAME_BYTES_MAX - 100),
    "one byte": b"\x90",
    "pings": encode_message(Ping(1)),
    "questions": encode_message(GetHeaders((ToyChain().chain_id,))),
}


async def flood(target: Target, count: int, what: str) -> Outcome:
    """`count` frames from eight peers, who come again whenever they are cut off."""
    guest, frame = ToyNode(), FLOODS[what]
    chunk = 1 if len(frame) > 2**20 else CHUNK
    connections = 0
    began = time.monotonic()

    async def some(number: int, left: int) -> None:
        nonlocal connections
        vain = 0
        while left > 0:
            try:
                async with Stranger(target, 100 * number) as peer:
                    connections += 1
                    await peer.greet(guest)
                    left = await _pour(peer, frame, left, chunk)
                    vain = 0
            except GONE:
                vain += 1
                if vain > VAIN_MAX:
                    raise

    shares = [len(numbers) for numbers in parted(count, PEERS)]
    await asyncio.gather(*(some(number, share) for number, share in enumerate(shares)))
    took = time.monotonic() - began
    return Outcome(f"{count} sent in {took:.1f} s over {connections} connections")


async def _pour(peer: Stranger, frame: bytes, left: int, chunk: int) -> int:
    """Send up to `left` frames until the node cuts; how many are left."""
    listening, whole = asyncio.create_task(peer.listen()), framed(frame)
    try:
        while left > 0 and not listening.done() and not peer.writer.is_closing():
            peer.writer.write(whole * min(chunk, left))
            left -= chunk
            with suppress(OSError):
                await asyncio.wait(
                    [listening, draining := asyncio.create_task(peer.writer.drain())],
                    timeout=LIMIT_S, return_when=asyncio.FIRST_COMPLETED,
                )  # fmt: skip
                draining.cancel()
                await asyncio.gather(draining, return_exceptions=True)
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    return left


async def junk(target: Target, count: int) -> Outcome:
    return await flood(target, count, "junk")


async def single_bytes(target: Target, count: int) -> Outcome:
    return await flood(target, count, "one byte")


async def pings(target: Target, count: int) -> Outcome:
    return await flood(target, count, "pings")


async def questions(target: Target, count: int) -> Outcome:
    return await flood(target, count, "questions")


async def invalid_blocks(target: Target, count: int) -> Outcome:
    """Blocks with proof of work whose transactions are not those of the header."""
    guest, good = ToyNode(), attacked_chain().template()
    reasons = Counter[str]()
    began = time.monotonic()

    async def some(numbers: range) -> None:
        rng = random.Random(SEED + numbers.start)
        for _ in numbers:
            head = good.header
            while True:
                header = make_header(
                    head.version, head.previous, rng.randbytes(32), head.time, head.bits, 0
                )
                if hash_as_number(header.hash) <= target_of(header.bits):
                    break
            try:
                async with Stranger(target, numbers.start) as peer, asyncio.timeout(LIMIT_S):
                    await peer.greet(guest)
                    peer.say(Announce((header.raw,)))
                    while not isinstance(await peer.receive(), GetBlocks):
                        pass
                    peer.write_frame(encode((_BLOCK, make_block(header, good.txs).raw)))
                    while True:
                        await peer.receive()
            except GONE as error:
                reasons[str(error)] += 1

    await asyncio.gather(*(some(numbers) for numbers in parted(count, PEERS)))
    took = time.monotonic() - began
    refused = reasons["misbehaving"]
    failures = () if refused == count else (f"connections ended otherwise: {dict(reasons)}",)
    return Outcome(f"{refused} refused in {took:.0f} s", failures)
