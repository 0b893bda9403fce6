"""A node with something of everything that a client may ask for."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from consensus.asset import asset_id, authority_id
from consensus.hashes import to_text
from consensus.params import COIN
from consensus.tx import NATIVE, AssetDefinition, Coin, Issue, OutPoint, Tx, TxOut, outpoint
from tests.support.chain import ALICE, BOB, FEE, ToyChain, coins_made
from tests.support.daemon import Daemon, feed

GOLD = AssetDefinition(b"GOLD", b"Gold in grams", 3, bytes(32), True)
PAID = 2 * COIN
"""What each of the payments to Bob is worth."""


class Served(NamedTuple):
    """A node, and the names of what it has."""

    daemon: Daemon
    chain: ToyChain
    names: dict[str, str]
    """Texts for calls: of the last block and what stands in it, of `parent` and `child` in the mempool, …"""

    @property
    def auth_url(self) -> str:
        """Where the node answers, with the credentials of its cookie."""
        cookie = (self.daemon.datadir / ".cookie").read_text()
        return f"http://{cookie}@127.0.0.1:{self.daemon.rpc_port}"

    def fill(self) -> None:
        """Hand the chain to the node, and the two transactions that wait."""
        feed(self.daemon, [self.chain.blocks[each] for each in list(self.chain.blocks)[1:]])
        for tx in waiting(self.chain):
            assert self.daemon.call("sendrawtransaction", tx.raw.hex()) == to_text(tx.txid)


def serve(datadir: Path, *options: str) -> Served:
    """A node that is not started yet."""
    chain = ToyChain()
    chain.fund(ALICE, 3)
    mined, issued = chain.pay(ALICE, BOB, PAID), issue(chain, chain.coins_of(ALICE)[1])
    block = chain.mine([mined, issued])
    parent, child = waiting(chain)
    names = {
        "block": to_text(block.header.hash),
        "height": str(chain.tip.height),
        "coinbase": to_text(block.txs[0].txid),
        "mined": to_text(mined.txid),
        "issued": to_text(issued.txid),
        "issue": issued.raw.hex(),
        "gold": to_text(asset_id(issued.body.inputs[0], GOLD)),
        "parent": to_text(parent.txid),
        "child": to_text(child.txid),
        "address": BOB.address(),
        "raw": child.raw.hex(),
        "before": to_text(block.header.previous),
        "first": to_text(chain.chain_id),
        "miner": ALICE.address(),
        "authority": to_text(authority_id(asset_id(issued.body.inputs[0], GOLD))),
        "old": block.raw.hex(),
        "next": chain.template([parent, child]).raw.hex(),
        "dearer": chain.pay(BOB, ALICE, COIN, 5 * FEE).raw.hex(),
        **fork(chain),
        "bare": chain.pay(ALICE, BOB, COIN).raw.hex(),
    }
    return Served(Daemon(datadir, *options), chain, names)


def fork(chain: ToyChain) -> dict[str, str]:
    """`fork1` to `fork3`: empty blocks beside the last two of the chain, and one more."""
    assert chain.tip.parent is not None
    parent, made = chain.tip.parent, {}
    for number in range(1, 4):
        block = chain.template(parent=parent)
        parent = chain.tree.add(block.header, block.header.time)
        made[f"fork{number}"] = block.raw.hex()
    return made


def issue(chain: ToyChain, paid: OutPoint) -> Tx:
    """Alice issues gold, gives some to Bob, and may issue more."""
    gold = asset_id(paid, GOLD)
    outputs = [
        TxOut(gold, 1_000, BOB.lock),
        TxOut(gold, 4_000, ALICE.lock),
        TxOut(authority_id(gold), 1, ALICE.lock),
        TxOut(NATIVE, chain.coins[paid].amount - FEE, ALICE.lock),
    ]
    return chain.spend([paid], outputs, issuances=[Issue(0, GOLD, 5_000)])


def is_gold(coin: Coin) -> bool:
    """Whether it is gold of Bob."""
    return coin.lock == BOB.lock and coin.asset != NATIVE


def waiting(chain: ToyChain) -> tuple[Tx, Tx]:
    """A payment of Bob to Alice, and one of its change that builds on it and pays her his gold."""
    parent = chain.pay(BOB, ALICE, COIN)
    change = outpoint(parent.txid, 1)
    rest = parent.body.outputs[1].amount - COIN // 2 - FEE
    gold = next(spent for spent, coin in chain.coins.items() if is_gold(coin))
    outputs = [
        TxOut(NATIVE, COIN // 2, ALICE.lock, b"thanks"),
        TxOut(NATIVE, rest, BOB.lock),
        TxOut(chain.coins[gold].asset, chain.coins[gold].amount, ALICE.lock),
    ]
    made = coins_made(parent, chain.tip.height + 1)
    return parent, chain.spend([change, gold], outputs, extra_coins=made)
