"""A chain of the easiest headers off genesis, against a node whose own chain has more work."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import msgspec

from consensus.block import (
    VERSION,
    Block,
    Header,
    block_root,
    genesis,
    make_block,
    make_header,
    transactions_root,
)
from consensus.hashes import BlockHash
from consensus.header_tree import HeaderTree, earliest_time, expected_bits
from consensus.params import REGTEST, Params
from consensus.pow import target_of, work_of
from consensus.tx import NATIVE, TxOut, make_coinbase
from node.miner_worker import search
from p2p.messages import HEADERS_MAX, GetHeaders, Headers, Ping, Pong, encode_work
from scripts.attacks.stranger import GONE, Outcome, Stranger, Target
from tests.support.chain import ALICE
from tests.support.p2p_node import ToyNode
from tests.support.raw_peer import hello_of

WORK_FACTOR = 4.4
"""How much more work the chain of the node has than all the headers: it asks to see half of it."""
GENESIS_TIME = 1_735_689_600
NONCES = 1 << 32
PARAMS: Params = msgspec.structs.replace(
    REGTEST, name=b"attacked", hrp=b"attacked", genesis_time=GENESIS_TIME, retarget=True,
    interval_s=5, half_life_blocks=10, spacing_s=1,
)  # fmt: skip


def network_toml() -> str:
    """`PARAMS` as a file for `taeld --network`."""
    entries = msgspec.structs.asdict(PARAMS)
    del entries["allocations"]
    return "".join(
        f"{name} = {json.dumps(value.decode() if isinstance(value, bytes) else value)}\n"
        for name, value in entries.items()
    )


def _solved(previous: BlockHash, root: bytes, at: int, bits: int) -> Header:
    head = make_header(VERSION, previous, root, at, bits, 0).raw[:-4]
    nonce = search(head, target_of(bits).to_bytes(32, "big"), 0, NONCES)
    assert nonce is not None
    return make_header(VERSION, previous, root, at, bits, nonce)


def strong_chain(headers: int) -> Iterator[Block]:
    """Blocks for a node that must not be impressed by so many of the easiest headers."""
    first = genesis(PARAMS)
    tree = HeaderTree(PARAMS, first.header)
    tip = tree.genesis
    while tip.work < WORK_FACTOR * headers * work_of(PARAMS.pow_limit_bits):
        reward = TxOut(NATIVE, PARAMS.subsidy_at(tip.height + 1), ALICE.lock)
        coinbase = make_coinbase(tip.height + 1, [reward], bytes(8))
        header = _solved(
            tip.hash, block_root(coinbase.raw, transactions_root(())), earliest_time(tip, PARAMS),
            expected_bits(tip, tree.genesis, PARAMS),
        )  # fmt: skip
        tip = tree.add(header, header.time)
        yield make_block(header, (coinbase,))


def easy_headers(count: int) -> list[tuple[bytes, ...]]:
    """In answers of 2 000; the last is not full."""
    first = genesis(PARAMS).header
    previous, at, answers = first.hash, first.time, []
    while count > 0:
        answer = []
        for _ in range(min(count, HEADERS_MAX)):
            at += PARAMS.interval_s
            header = _solved(previous, bytes(32), at, PARAMS.pow_limit_bits)
            previous = header.hash
            answer.append(header.raw)
        answers.append(tuple(answer))
        count -= len(answer)
    return [*answers, ()]


async def easy_chain(target: Target, count: int) -> Outcome:
    """Claim much work, and answer every question with the next headers."""
    guest = ToyNode(PARAMS)
    answers = easy_headers(count)
    hello = msgspec.structs.replace(
        hello_of(guest), tip=bytes(32), height=count, work=encode_work(2**64)
    )
    sent, began = 0, time.monotonic()
    async with Stranger(target, 0) as peer:
        await peer.greet(guest, hello)
        try:
            for answer in answers:
                while not isinstance(message := await peer.receive(), GetHeaders):
                    if isinstance(message, Ping):
                        peer.say(Pong(message.nonce))
                peer.say(Headers(answer))
                await peer.writer.drain()
                sent += len(answer)
            peer.say(Ping(2**40))
            while await peer.receive() != Pong(2**40):
                pass
        except GONE as error:
            return Outcome(f"{sent} sent", (f"the node did not read them all: {error!r}",))
    took = time.monotonic() - began
    return Outcome(f"{sent} sent in {took:.1f} s, {sent / took:.0f} a second")
