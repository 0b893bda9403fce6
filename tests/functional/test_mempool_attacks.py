"""A peer that fills the mempool with what is no use: a real node stays well and forgives it."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from consensus.tx import NATIVE, Body, Height, Key, OutPoint, Tx, TxOut, Witness, make_tx, outpoint
from p2p.messages import GetTxs, Inv, Ping, Txs
from p2p.orphans import ORPHANS_MAX
from tests.functional.test_bad_input import dealt_with, peer_of
from tests.support.chain import ALICE, FEE, ToyChain, blocks_of, coins_made
from tests.support.daemon import Daemon, feed, running
from tests.support.raw_peer import RawPeer

GROWTH_BYTES_MAX = 64 << 20
ORPHANS = 10_000
PER_MESSAGE = 1_000


@pytest.fixture
def chain() -> ToyChain:
    made = ToyChain()
    made.fund(ALICE, 2)
    return made


@pytest.fixture
def node(chain: ToyChain, tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path / "node")
    with running(daemon):
        feed(daemon, blocks_of(chain))
        yield daemon


def memory_of(node: Daemon) -> int:
    """Bytes of memory that the process has."""
    status = Path(f"/proc/{node.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1_024


async def relay(peer: RawPeer, txs: Sequence[Tx]) -> None:
    """Announce transactions, and send those that are asked for."""
    by_wtxid = {tx.wtxid: tx.raw for tx in txs}
    await peer.send(Inv(tuple(by_wtxid)))
    left = len(by_wtxid)
    while left:
        if isinstance(message := await peer.receive(), GetTxs):
            await peer.send(Txs(tuple(by_wtxid[wtxid] for wtxid in message.wtxids)))
            left -= len(message.wtxids)


async def asked_for(peer: RawPeer, txs: Sequence[Tx]) -> int:
    """Announce transactions, and send none; how many are asked for."""
    await peer.send(Inv(tuple(tx.wtxid for tx in txs)))
    return sum(len(m.wtxids) for m in await dealt_with(peer) if isinstance(m, GetTxs))


def orphan(number: int) -> Tx:
    """A payment of a coin that nobody knows."""
    spent = OutPoint(hashlib.sha256(b"%d" % number).digest() + bytes(4))
    body = Body(1, (spent,), (TxOut(NATIVE, 100_000, ALICE.lock),), (), Height(0))
    return make_tx(body, [Witness(Key(ALICE.pubkey), (b"\1" * 65,))])


def line(chain: ToyChain, first: OutPoint, count: int) -> list[Tx]:
    """`count` payments, each of which spends the one before."""
    made: list[Tx] = []
    spent, coins = first, dict(chain.coins)
    for _ in range(count):
        rest = coins[spent].amount - FEE
        made.append(
            chain.spend(
                [spent], [TxOut(NATIVE, rest, ALICE.lock)], extra_coins={spent: coins[spent]}
            )
        )
        coins |= coins_made(made[-1], chain.tip.height + 1)
        spent = outpoint(made[-1].txid, 0)
    return made


def test_ten_thousand_orphans_take_no_room_and_no_time(node: Daemon, chain: ToyChain) -> None:
    async def scenario() -> None:
        async with peer_of(node, chain) as bad, peer_of(node, chain) as good:
            before = memory_of(node)
            for first in range(0, ORPHANS, PER_MESSAGE):
                await relay(bad, [orphan(n) for n in range(first, first + PER_MESSAGE)])
                began = time.monotonic()
                await asyncio.to_thread(node.call, "getblockcount")
                assert time.monotonic() - began < 1
                await good.send(Ping(first))
                await dealt_with(good)
                assert time.monotonic() - began < 2
            assert memory_of(node) - before < GROWTH_BYTES_MAX
            # Of those it has kept, it knows that it need not ask.
            last = [orphan(n) for n in range(ORPHANS - PER_MESSAGE, ORPHANS)]
            assert len(last) - await asked_for(bad, last) == ORPHANS_MAX
            payment = line(chain, chain.coins_of(ALICE)[0], 1)
            await relay(good, payment)
            await dealt_with(good)
            assert node.call("getrawmempool") == [payment[0].txid[::-1].hex()]

    asyncio.run(scenario())
    assert not any("Traceback" in text for text in node.log)


def test_a_long_line_of_payments_enters_as_far_as_the_limit_and_whole_in_a_block(
    node: Daemon, chain: ToyChain
) -> None:
    payments = line(chain, chain.coins_of(ALICE)[0], 1_000)

    async def scenario() -> None:
        async with peer_of(node, chain) as peer:
            for tx in payments[:30]:
                await relay(peer, [tx])
            await dealt_with(peer)
            assert [one["banscore"] for one in node.call("getpeerinfo")] == [0]

    asyncio.run(scenario())
    waiting = {tx.txid[::-1].hex() for tx in payments[:25]}
    assert set(node.call("getrawmempool")) == waiting
    # What a node relays is its own choice: as a block the whole line is as valid as any.
    feed(node, [chain.mine(payments)])
    assert node.call("getrawmempool") == []
