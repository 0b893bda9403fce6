"""A real node whose dialling peers are all hostile: they say that they have what they never send."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from consensus.block import Block
from consensus.tx import Tx
from p2p.compact import make_compact
from p2p.messages import Compact, GetTxs, Inv
from p2p.ports import Endpoint
from tests.support.chain import ALICE, BOB, ToyChain, blocks_of
from tests.support.daemon import Daemon, feed, running, wait_for, wait_for_one_tip
from tests.support.p2p_node import ToyNode
from tests.support.raw_peer import RawPeer, raw_peer

QUIET = ("--verify-processes", "0", "--outbound", "0")
CROWD = 12
BLOCK_S_MAX = 6.0
"""A second for the hold, half of one for the tick, and time for a machine that is busy."""
PAYMENT_S_MAX = 12.0
"""Five seconds for the first that was asked, and likewise."""


@pytest.fixture
def chain() -> ToyChain:
    chain = ToyChain()
    chain.fund(ALICE, 3)
    return chain


@pytest.fixture
def nodes(tmp_path: Path, chain: ToyChain) -> Iterator[tuple[Daemon, Daemon]]:
    """One to attack, and an honest one that it will dial."""
    node, honest = Daemon(tmp_path / "node", *QUIET), Daemon(tmp_path / "honest", *QUIET)
    with running(node, honest):
        for each in (node, honest):
            feed(each, blocks_of(chain))
        yield node, honest


@asynccontextmanager
async def crowd(node: Daemon) -> AsyncIterator[list[RawPeer]]:
    async with AsyncExitStack() as stack:
        address, guest = Endpoint("127.0.0.1", node.p2p_port), ToyNode()
        peers = [await stack.enter_async_context(raw_peer(address)) for _ in range(CROWD)]
        for number, peer in enumerate(peers):
            await peer.greet(guest, nonce=b"crowd%03d" % number)
        yield peers


async def withhold_block(peer: RawPeer, message: Compact) -> None:
    """Send a block by the names of payments that the node does not have, again and again."""

    async def again() -> None:
        while True:
            await peer.send(message)
            await asyncio.sleep(0.05)

    sending = asyncio.create_task(again())
    try:
        while True:
            await peer.receive()
    finally:
        sending.cancel()


def test_peers_that_name_a_block_in_turns_and_withhold_it_delay_it_little(
    nodes: tuple[Daemon, Daemon], chain: ToyChain
) -> None:
    node, honest = nodes

    async def scenario(block: Block) -> float:
        message = make_compact(block, b"saltsalt")
        async with crowd(node) as peers:
            await asyncio.to_thread(node.call, "addnode", honest.p2p, "add")
            await asyncio.to_thread(
                wait_for, lambda: honest.call("getconnectioncount"), "they are connected"
            )
            # The first that came are those that the node asks for compact blocks.
            tasks = []
            for peer in peers[:3]:
                tasks.append(asyncio.create_task(withhold_block(peer, message)))
                await asyncio.sleep(0.3)
            began = time.monotonic()
            await asyncio.to_thread(feed, honest, [block])
            await asyncio.to_thread(wait_for_one_tip, [node, honest])
            took_s = time.monotonic() - began
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(end, asyncio.CancelledError) for end in ended), ended
            return took_s

    payments = [chain.pay(ALICE, BOB, 5_000)]
    block = chain.mine(payments)
    assert asyncio.run(scenario(block)) < BLOCK_S_MAX
    assert node.tip == block.header.hash[::-1].hex()
    assert not any("Traceback" in line for line in node.log)


def test_a_crowd_that_announces_a_payment_and_withholds_it_delays_it_little(
    nodes: tuple[Daemon, Daemon], chain: ToyChain
) -> None:
    node, honest = nodes

    async def scenario(tx: Tx) -> float:
        async with crowd(node) as peers:
            await asyncio.to_thread(node.call, "addnode", honest.p2p, "add")
            await asyncio.to_thread(
                wait_for, lambda: honest.call("getconnectioncount"), "they are connected"
            )
            for peer in peers:
                await peer.send(Inv((tx.wtxid,)))
            while not isinstance(await peers[0].receive(), GetTxs):
                pass
            began = time.monotonic()
            await asyncio.to_thread(honest.call, "sendrawtransaction", tx.raw.hex())
            await asyncio.to_thread(
                wait_for, lambda: node.call("getrawmempool"), "the payment is there"
            )
            return time.monotonic() - began

    assert asyncio.run(scenario(chain.pay(ALICE, BOB, 5_000))) < PAYMENT_S_MAX
    assert not any("Traceback" in line for line in node.log)
