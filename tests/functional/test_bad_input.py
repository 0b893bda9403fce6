"""What breaks a rule is refused by its name on all three ways in, and changes nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from consensus.block import Block
from consensus.hashes import hash_wtxid
from consensus.params import EXPIRY_MARGIN
from consensus.tx import NATIVE, TxOut, outpoint
from node.config import load_params
from p2p.messages import (
    PROTOCOL_VERSION,
    Announce,
    BlockMessage,
    GetBlocks,
    GetTxs,
    Hello,
    Inv,
    Message,
    Ping,
    Pong,
    Txs,
    encode_work,
)
from p2p.ports import Endpoint
from tests.support.attacks import TRANSACTIONS, Stage
from tests.support.block_attacks import BLOCKS, block_with, child_of, forged
from tests.support.chain import ALICE, FEE, ToyChain, blocks_of, digest_of
from tests.support.daemon import Daemon, RpcFailure, feed, running, wait_for
from tests.support.raw_peer import RawPeer, raw_peer


@pytest.fixture(scope="module")
def stage() -> Stage:
    return Stage()


@pytest.fixture(scope="module")
def chain(stage: Stage) -> ToyChain:
    return stage.chain


@pytest.fixture(scope="module")
def node(chain: ToyChain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path_factory.mktemp("bad") / "node")
    with running(daemon):
        feed(daemon, blocks_of(chain))
        yield daemon


def assert_untouched(node: Daemon, chain: ToyChain) -> None:
    assert node.tip == chain.tip.hash[::-1].hex()
    assert node.call("getrawmempool") == []
    assert node.call("gettxoutsetinfo")["coinset"] == digest_of(chain)
    assert not any("Traceback" in line for line in node.log)


def verdict_of(node: Daemon, raw: bytes) -> str:
    """What `submitblock` says; "None" if it likes it."""
    try:
        return str(node.call("submitblock", raw.hex()))
    except RpcFailure as failure:
        return failure.message


def good_block(stage: Stage) -> Block:
    """An honest block, connected on our side: what was attacked, or one with a payment."""
    original, stage.original = stage.original, None
    chain = stage.chain
    return chain.connect((original or chain.template([stage.honest()])).raw)


# By JSON-RPC


@pytest.mark.parametrize("name", TRANSACTIONS)
def test_bad_transaction_is_refused_by_the_mempool(name: str, node: Daemon, stage: Stage) -> None:
    attack = TRANSACTIONS[name]
    with pytest.raises(RpcFailure) as caught:
        node.call("sendrawtransaction", attack.build(stage).hex())
    assert attack.rule in caught.value.message
    assert_untouched(node, stage.chain)
    assert node.call("testmempoolaccept", [stage.honest().raw.hex()])[0]["allowed"]


@pytest.mark.parametrize("name", TRANSACTIONS)
def test_block_with_a_bad_transaction_is_refused_by_submitblock(
    name: str, node: Daemon, stage: Stage
) -> None:
    attack = TRANSACTIONS[name]
    raw = block_with(stage, attack.build(stage))
    assert (attack.rule_in_block or attack.rule) in verdict_of(node, raw)
    assert_untouched(node, stage.chain)
    feed(node, [good_block(stage)])


@pytest.mark.parametrize("name", BLOCKS)
def test_bad_block_is_refused_by_submitblock(name: str, node: Daemon, stage: Stage) -> None:
    attack = BLOCKS[name]
    assert attack.rule in verdict_of(node, attack.build(stage))
    assert_untouched(node, stage.chain)
    feed(node, [good_block(stage)])


# By a peer


@asynccontextmanager
async def peer_of(node: Daemon, chain: ToyChain) -> AsyncIterator[RawPeer]:
    """A peer that has said hello."""
    tip = chain.tip
    async with raw_peer(Endpoint("127.0.0.1", node.p2p_port)) as peer:
        hello = Hello(
            PROTOCOL_VERSION, 0, chain.chain_id, b"any peer", chain.params.name, b"/any/", 0,
            tip.height, tip.hash, encode_work(tip.work),
        )  # fmt: skip
        await peer.send(hello)
        await heard(peer, Hello)
        yield peer


async def heard(peer: RawPeer, kind: type) -> None:
    """Wait for a message of that kind."""
    while not isinstance(await peer.receive(), kind):
        pass


async def dealt_with(peer: RawPeer) -> list[Message]:
    """What comes until what was sent so far was worked on: messages are, in their order."""
    await peer.send(Ping(7))
    found: list[Message] = []
    while not isinstance(message := await peer.receive(), Pong):
        found.append(message)
    return found


async def offer_tx(node: Daemon, chain: ToyChain, raw: bytes, ends: bool) -> str:
    """Announce a transaction, send it when asked; why the connection ended, or "" if it lives."""
    async with peer_of(node, chain) as peer:
        await peer.send(Inv((hash_wtxid(raw),)))
        await heard(peer, GetTxs)
        await peer.send(Txs((raw,)))
        if ends:
            return (await peer.ending())[1]
        await dealt_with(peer)
        return ""


async def offer_block(node: Daemon, chain: ToyChain, raw: bytes, is_header_good: bool) -> str:
    """Announce a block and send it when asked; why the connection ended."""
    async with peer_of(node, chain) as peer:
        await peer.send(Announce((raw[3:83],)))
        if is_header_good:
            await heard(peer, GetBlocks)
            await peer.send(BlockMessage(raw))
        return (await peer.ending())[1]


async def bring_block(node: Daemon, chain: ToyChain, block: Block) -> None:
    """What an honest peer does with a new block."""
    async with peer_of(node, chain) as peer:
        await peer.send(Announce((block.header.raw,)))
        await heard(peer, GetBlocks)
        await peer.send(BlockMessage(block.raw))
        await asyncio.to_thread(wait_for, lambda: node.tip == block.header.hash[::-1].hex(), "tip")


@pytest.mark.parametrize("name", TRANSACTIONS)
def test_bad_transaction_of_a_peer_is_refused(name: str, node: Daemon, stage: Stage) -> None:
    attack, chain = TRANSACTIONS[name], stage.chain
    feed(node, [good_block(stage)])  # on another tip, what was refused before is asked for again
    ends = not attack.is_blameless
    said = asyncio.run(offer_tx(node, chain, attack.build(stage), ends))
    assert said == ("misbehaving" if ends else "")
    assert_untouched(node, chain)
    honest = stage.honest()
    assert asyncio.run(offer_tx(node, chain, honest.raw, False)) == ""
    assert node.call("getrawmempool") == [honest.txid[::-1].hex()]
    feed(node, [chain.mine([honest])])


@pytest.mark.parametrize("name", TRANSACTIONS)
def test_block_with_a_bad_transaction_of_a_peer_is_refused(
    name: str, node: Daemon, stage: Stage
) -> None:
    chain = stage.chain
    raw = block_with(stage, TRANSACTIONS[name].build(stage))
    assert asyncio.run(offer_block(node, chain, raw, True)) == "misbehaving"
    wait_for(lambda: node.tip == chain.tip.hash[::-1].hex(), "the tip is as it was")
    assert_untouched(node, chain)
    asyncio.run(bring_block(node, chain, good_block(stage)))


@pytest.mark.parametrize("name", BLOCKS)
def test_bad_block_of_a_peer_is_refused(name: str, node: Daemon, stage: Stage) -> None:
    attack, chain = BLOCKS[name], stage.chain
    raw = attack.build(stage)
    is_header_good = not attack.rule.startswith("header-")
    assert asyncio.run(offer_block(node, chain, raw, is_header_good)) == "misbehaving"
    wait_for(lambda: node.tip == chain.tip.hash[::-1].hex(), "the tip is as it was")
    assert_untouched(node, chain)
    asyncio.run(bring_block(node, chain, good_block(stage)))


# Who is to blame, and what is remembered


def test_a_bad_block_is_told_to_nobody_and_costs_its_sender_alone(
    node: Daemon, stage: Stage
) -> None:
    chain = stage.chain

    async def scenario() -> None:
        async with peer_of(node, chain) as witness:
            bad = BLOCKS["a unit more than the subsidy"].build(stage)
            assert await offer_block(node, chain, bad, True) == "misbehaving"
            assert not [m for m in await dealt_with(witness) if isinstance(m, Announce)]
            good = good_block(stage)
            await bring_block(node, chain, good)
            assert Announce((good.header.raw,)) in await dealt_with(witness)

    asyncio.run(scenario())


def test_what_builds_on_a_bad_block_is_refused_on_every_way(node: Daemon, stage: Stage) -> None:
    chain = stage.chain
    bad = chain.template(reward=chain.params.subsidy + 1)
    child = child_of(bad, chain.template())
    assert "coinbase-amount" in verdict_of(node, bad.raw)
    assert verdict_of(node, bad.raw) == "duplicate-invalid"
    assert "header-parent-invalid" in verdict_of(node, child.raw)
    for block in (bad, child):
        assert asyncio.run(offer_block(node, chain, block.raw, False)) == "misbehaving"
    assert_untouched(node, chain)


def test_a_bad_witness_bars_neither_the_good_one_nor_its_block(node: Daemon, stage: Stage) -> None:
    chain = stage.chain
    feed(node, [good_block(stage)])
    # Not the coin of a coinbase: what the mempool knows of its spender shortens the check.
    spent = next(s for s in chain.coins_of(ALICE) if not chain.coins[s].delayed)
    good = chain.spend([spent], [TxOut(NATIVE, chain.coins[spent].amount - FEE, ALICE.lock)])
    bad = forged(good)
    assert bad.txid == good.txid
    assert asyncio.run(offer_tx(node, chain, bad.raw, True)) == "misbehaving"
    assert asyncio.run(offer_tx(node, chain, good.raw, False)) == ""
    assert node.call("getrawmempool") == [good.txid[::-1].hex()]
    spoilt = chain.template([bad])
    assert "bad-signature" in verdict_of(node, spoilt.raw)
    assert asyncio.run(offer_block(node, chain, chain.template([bad]).raw, True)) == "misbehaving"
    assert node.call("getrawmempool") == [good.txid[::-1].hex()]
    feed(node, [chain.mine([good])])
    assert_untouched(node, chain)


# What is not valid yet


def test_coins_of_a_payment_about_to_expire_are_immature_on_every_way(
    node: Daemon, stage: Stage
) -> None:
    chain = stage.chain
    feed(node, [good_block(stage)])
    spent = next(s for s in chain.coins_of(ALICE) if not chain.coins[s].delayed)
    outputs = [TxOut(NATIVE, chain.coins[spent].amount - FEE, ALICE.lock)]
    hurried = chain.spend([spent], outputs, expiry=chain.tip.height + EXPIRY_MARGIN)
    feed(node, [chain.mine([hurried])])
    made = outpoint(hurried.txid, 0)
    child = chain.spend([made], [TxOut(NATIVE, chain.coins[made].amount - FEE, ALICE.lock)])
    # It becomes valid with time, so who relays it is not to blame; who mines it is.
    assert asyncio.run(offer_tx(node, chain, child.raw, False)) == ""
    with pytest.raises(RpcFailure) as caught:
        node.call("sendrawtransaction", child.raw.hex())
    assert "coin-immature" in caught.value.message
    assert "coin-immature" in verdict_of(node, block_with(stage, child.raw))
    raw = block_with(stage, child.raw)
    assert asyncio.run(offer_block(node, chain, raw, True)) == "misbehaving"
    assert_untouched(node, chain)


SOON_S = 3
NEARLY_NOW = """
name = "soon"
hrp = "soon"
ticker = "SOON"
genesis_time = 1700000000
interval_s = 30
spacing_s = 0
future_s = 1
subsidy = 500_000_000
pow_limit_bits = 0x207fffff
retarget = false
"""


@pytest.fixture
def soon(tmp_path: Path) -> Iterator[tuple[Daemon, ToyChain]]:
    """A node that takes blocks of which the time is at most a second ahead of its clock."""
    network = tmp_path / "soon.toml"
    network.write_text(NEARLY_NOW)
    daemon = Daemon(tmp_path / "node", network=str(network))
    with running(daemon):
        yield daemon, ToyChain(load_params(str(network)))


def test_a_block_ahead_of_the_clock_blames_nobody_and_becomes_valid(
    soon: tuple[Daemon, ToyChain],
) -> None:
    node, chain = soon
    early = chain.template(time=int(time.time()) + SOON_S)

    async def scenario() -> None:
        async with peer_of(node, chain) as peer:
            await peer.send(Announce((early.header.raw,)))
            await dealt_with(peer)
            assert "header-time-too-new" in verdict_of(node, early.raw)
            assert node.call("getblockcount") == 0
            # Nobody is cut off for a clock that is ahead, and the block is not bad for ever.
            await dealt_with(peer)
            assert [one["banscore"] for one in node.call("getpeerinfo")] == [0]
            await asyncio.to_thread(
                wait_for, lambda: verdict_of(node, early.raw) in ("None", "duplicate"), "its time"
            )
            await dealt_with(peer)

    asyncio.run(scenario())
    assert node.tip == early.header.hash[::-1].hex()
