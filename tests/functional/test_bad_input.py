"""What breaks a rule is refused by its name on all three ways in, and changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from consensus.asset import asset_id
from consensus.hashes import hash_wtxid
from consensus.params import AMOUNT_MAX, COIN
from consensus.tx import (
    NATIVE,
    AssetDefinition,
    Height,
    Issue,
    Key,
    Transaction,
    Tx,
    TxOut,
    Witness,
    identify,
    make_tx,
    outpoint,
)
from p2p.messages import (
    PROTOCOL_VERSION,
    Announce,
    BlockMessage,
    GetBlocks,
    GetTxs,
    Hello,
    Inv,
    Ping,
    Pong,
    Txs,
    encode_work,
)
from p2p.ports import Endpoint
from tests.support.chain import ALICE, BOB, ToyChain, blocks_of, digest_of, rebuilt
from tests.support.daemon import Daemon, RpcFailure, feed, running, wait_for
from tests.support.raw_peer import RawPeer, raw_peer

GOLD = AssetDefinition(b"GOLD", b"Gold", 0, b"", False)


def paid(chain: ToyChain) -> Tx:
    return chain.pay(ALICE, BOB, COIN)


def with_body(chain: ToyChain, **changes: object) -> bytes:
    tx = paid(chain)
    return make_tx(msgspec.structs.replace(tx.body, **changes), tx.witnesses).raw


def with_outputs(chain: ToyChain, *outputs: TxOut) -> bytes:
    return chain.spend(chain.coins_of(ALICE)[:1], outputs).raw


def _longer(chain: ToyChain) -> bytes:
    """The version as a two-byte integer."""
    return paid(chain).raw.replace(b"\x92\x95\x01", b"\x92\x95\xcc\x01", 1)


def _flipped(chain: ToyChain) -> bytes:
    tx = paid(chain)
    item = bytearray(tx.witnesses[0].items[0])
    item[40] ^= 1
    return make_tx(tx.body, [Witness(tx.witnesses[0].lock, (bytes(item),))]).raw


def _foreign_lock(chain: ToyChain) -> bytes:
    tx = paid(chain)
    return make_tx(tx.body, [Witness(Key(BOB.pubkey), tx.witnesses[0].items)]).raw


def _twice(chain: ToyChain) -> bytes:
    tx = paid(chain)
    body = msgspec.structs.replace(tx.body, inputs=tx.body.inputs * 2)
    return make_tx(body, tx.witnesses * 2).raw


def _young(chain: ToyChain) -> bytes:
    coinbase = chain.blocks[chain.tip.hash].txs[0]
    spent = outpoint(coinbase.txid, 0)
    return chain.spend([spent], [TxOut(NATIVE, COIN, ALICE.lock)]).raw


def _made_of_nothing(chain: ToyChain) -> bytes:
    spent = chain.coins_of(ALICE)[0]
    gold = asset_id(spent, GOLD)
    outputs = [TxOut(gold, 11, ALICE.lock), TxOut(NATIVE, COIN, ALICE.lock)]
    return chain.spend([spent], outputs, issuances=[Issue(0, GOLD, 10)]).raw


BAD: dict[str, Callable[[ToyChain], bytes]] = {
    "malformed": lambda chain: b"\xc1" + paid(chain).raw,
    "non-canonical": _longer,
    "tx-version": lambda chain: with_body(chain, version=2),
    "tx-outputs-empty": lambda chain: with_body(chain, outputs=()),
    "tx-duplicate-input": _twice,
    "output-amount-range": lambda chain: with_outputs(
        chain, TxOut(NATIVE, AMOUNT_MAX + 1, BOB.lock)
    ),
    "output-memo-size": lambda chain: with_outputs(
        chain, TxOut(NATIVE, COIN, BOB.lock, bytes(129))
    ),
    "witness-count": lambda chain: make_tx(paid(chain).body, ()).raw,
    "overspend": lambda chain: with_outputs(chain, TxOut(NATIVE, 6 * COIN, BOB.lock)),
    "asset-imbalance": _made_of_nothing,
    "coin-immature": _young,
    "coin-missing": lambda chain: with_body(chain, inputs=(outpoint(bytes(32), 0),)),
    "lock-mismatch": _foreign_lock,
    "tx-expired": lambda chain: with_body(chain, expiry=Height(50)),
    "bad-signature": _flipped,
}
BLAMELESS = {"coin-missing", "coin-immature", "tx-expired"}
"""What an honest peer may send: nobody is cut off for it."""


@pytest.fixture(scope="module")
def chain() -> ToyChain:
    made = ToyChain()
    made.fund(ALICE, 3)
    return made


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


def block_with(chain: ToyChain, raw: bytes) -> bytes:
    """A solved block that holds the bytes of a bad transaction."""
    honest = chain.template([paid(chain)])
    try:
        tx = identify(msgspec.msgpack.decode(raw, type=Transaction))
    except msgspec.DecodeError:
        return honest.raw.replace(paid(chain).raw, raw)
    block = rebuilt(honest, lambda txs: [txs[0], tx])
    return block.raw.replace(tx.raw, raw)


@pytest.mark.parametrize("rule", BAD)
def test_bad_transaction_is_refused_by_the_mempool(
    rule: str, node: Daemon, chain: ToyChain
) -> None:
    with pytest.raises(RpcFailure) as caught:
        node.call("sendrawtransaction", BAD[rule](chain).hex())
    assert rule in caught.value.message
    assert_untouched(node, chain)


@pytest.mark.parametrize("rule", BAD)
def test_block_with_a_bad_transaction_is_refused_by_submitblock(
    rule: str, node: Daemon, chain: ToyChain
) -> None:
    raw = block_with(chain, BAD[rule](chain))
    try:
        verdict = str(node.call("submitblock", raw.hex()))
    except RpcFailure as failure:
        verdict = failure.message
    assert rule in verdict
    assert_untouched(node, chain)


@asynccontextmanager
async def bad_peer(node: Daemon, chain: ToyChain) -> AsyncIterator[RawPeer]:
    """A peer that has said hello."""
    tip = chain.tip
    async with raw_peer(Endpoint("127.0.0.1", node.p2p_port)) as peer:
        hello = Hello(
            PROTOCOL_VERSION, 0, chain.chain_id, b"bad peer", chain.params.name, b"/bad/", 0,
            tip.height, tip.hash, encode_work(tip.work),
        )  # fmt: skip
        await peer.send(hello)
        await heard(peer, Hello)
        yield peer


async def heard(peer: RawPeer, kind: type) -> None:
    """Wait for a message of that kind."""
    while not isinstance(await peer.receive(), kind):
        pass


async def offer_tx(node: Daemon, chain: ToyChain, raw: bytes, ends: bool) -> str:
    """Announce a transaction, send it when asked; why the connection ended, or "" if it lives."""
    async with bad_peer(node, chain) as peer:
        await peer.send(Inv((hash_wtxid(raw),)))
        await heard(peer, GetTxs)
        await peer.send(Txs((raw,)))
        return await farewell(peer, ends)


async def offer_block(node: Daemon, chain: ToyChain, raw: bytes) -> str:
    async with bad_peer(node, chain) as peer:
        await peer.send(Announce((raw[3:83],)))
        await heard(peer, GetBlocks)
        await peer.send(BlockMessage(raw))
        return await farewell(peer, ends=True)


async def farewell(peer: RawPeer, ends: bool) -> str:
    if ends:
        return (await peer.ending())[1]
    # Messages are worked on in order: with the answer to this one, the last was dealt with.
    await peer.send(Ping(7))
    await heard(peer, Pong)
    return ""


@pytest.mark.parametrize("rule", BAD)
def test_bad_transaction_of_a_peer_is_refused(rule: str, node: Daemon, chain: ToyChain) -> None:
    feed(node, [chain.mine()])  # on another tip, what was refused before is asked for again
    ends = rule not in BLAMELESS
    said = asyncio.run(offer_tx(node, chain, BAD[rule](chain), ends))
    assert said == ("misbehaving" if ends else "")
    assert_untouched(node, chain)


@pytest.mark.parametrize("rule", BAD)
def test_block_with_a_bad_transaction_of_a_peer_is_refused(
    rule: str, node: Daemon, chain: ToyChain
) -> None:
    raw = block_with(chain, BAD[rule](chain))
    assert asyncio.run(offer_block(node, chain, raw)) == "misbehaving"
    wait_for(lambda: node.tip == chain.tip.hash[::-1].hex(), "the tip is as it was")
    assert_untouched(node, chain)
