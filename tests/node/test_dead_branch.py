"""After a reorganisation a payment of the branch that lost waits again if, and only if, it is valid.

The real ledger, with issuance, reissue, destruction, locks, expiry and coinbase coins in both branches;
what should wait is found by going through the lost payments over a plain copy of the coins.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

from consensus.asset import asset_id, authority_id
from consensus.block import Block
from consensus.errors import Violation
from consensus.hashes import AssetId
from consensus.params import COINBASE_MATURITY
from consensus.tx import BURN_LOCK, Issue, Key, Reissue, Threshold, Tx
from consensus.tx_rules import check_spend, check_tx, is_delayed
from tests.node.test_ledger import Desk, with_desk
from tests.support.chain import ToyChain, coins_made
from tests.support.economy import Economy, blocks_of, rewind, ripe_chain

DEEP = COINBASE_MATURITY + 1
DEPTHS = ((1, 2), (1, 3), (6, 1), (6, 2), (100, 1), (DEEP, 1))
"""Each with a seed."""
RIVALS = 2
"""So many blocks of the branch that wins hold a payment of their own; each bars what depends on it."""
LATE = 300
"""Blocks within which what expires does so: most of it after the reorganisation."""


class Walk:
    """The next block's state, kept with nothing but a dict of coins and one of supplies."""

    def __init__(self, toy: ToyChain) -> None:
        self._toy = toy
        self._coins = dict(toy.coins)
        self._issued: defaultdict[AssetId, int] = defaultdict(int)
        self.refused: Counter[str] = Counter()

    def valid(self, txs: Iterable[Tx]) -> list[Tx]:
        """Those that the rules allow, each after those before it."""
        return [tx for tx in txs if self._takes(tx)]

    def _takes(self, tx: Tx) -> bool:
        ctx = self._toy.context()
        found = [self._coins.get(spent) for spent in tx.body.inputs]
        try:
            check_spend(check_tx(tx), found, self._supply, ctx)
        except Violation as violation:
            self.refused[violation.rule] += 1
            return False
        for spent in tx.body.inputs:
            del self._coins[spent]
        made = coins_made(tx, ctx.height, is_delayed(tx.body, ctx.height))
        self._coins.update({o: coin for o, coin in made.items() if coin.lock != BURN_LOCK})
        self._count(tx)
        return True

    def _supply(self, asset: AssetId) -> int:
        return self._toy.supply(asset) + self._issued[asset]

    def _count(self, tx: Tx) -> None:
        for out in tx.body.outputs:
            if out.lock == BURN_LOCK:
                self._issued[out.asset] -= out.amount
        for issuance in tx.body.issuances:
            match issuance:
                case Issue():
                    made = asset_id(tx.body.inputs[issuance.input_index], issuance.definition)
                    self._issued[made] += issuance.amount
                    self._issued[authority_id(made)] += issuance.definition.reissuable
                case Reissue():
                    self._issued[AssetId(issuance.asset)] += issuance.amount


@cache
def rewritten(depth: int, seed: int) -> tuple[ToyChain, int, list[Block]]:
    """A chain whose last blocks were mined anew, the height below them, and the blocks of old."""
    rng = random.Random(seed)
    toy = ripe_chain(30)
    economy = Economy(toy, rng, expiry_max=LATE)
    economy.blocks(8)
    base = toy.tip.height
    economy.blocks(depth)
    old = blocks_of(toy)
    rewind(toy, depth)
    for _ in range(depth + 1):
        if rng.random() < RIVALS / depth:
            economy.block(txs=1)
            continue
        again = [tx for tx in lost(toy, old[base:]) if rng.random() < 0.02]
        toy.mine(Walk(toy).valid(again))
    return toy, base, old


def lost(toy: ToyChain, branch: list[Block]) -> list[Tx]:
    """Payments of a branch that `toy` does not hold."""
    txs = [tx for block in branch for tx in block.txs[1:]]
    return [tx for tx in txs if not toy.is_confirmed(tx.txid)]


@pytest.mark.parametrize(("depth", "seed"), DEPTHS)
def test_a_payment_of_the_lost_branch_waits_again_if_and_only_if_it_is_valid(
    tmp_path: Path, depth: int, seed: int
) -> None:
    toy, base, old = rewritten(depth, seed)
    wanted = {tx.txid for tx in Walk(toy).valid(lost(toy, old[base:]))}

    async def scenario(desk: Desk) -> None:
        await desk.give(old)
        assert len(desk.ledger.mempool) == 0
        await desk.give(blocks_of(toy, base))
        assert desk.ledger.tip.hash == toy.tip.hash
        while desk.ledger.mempool.bring_back(1):
            pass
        assert {entry.tx.txid for entry in desk.ledger.mempool.entries()} == wanted

    with_desk(tmp_path, scenario)


def test_the_lost_branches_of_these_tests_have_everything_inside() -> None:
    toy, base, old = rewritten(DEEP, 1)
    walk = Walk(toy)
    valid = walk.valid(lost(toy, old[base:]))
    assert len(valid) > 20
    assert walk.refused.keys() >= {"coin-missing", "tx-expired", "lock-older"}
    assert {type(i) for tx in valid for i in tx.body.issuances} == {Issue, Reissue}
    assert any(o.lock == BURN_LOCK for tx in valid for o in tx.body.outputs)
    assert {type(w.lock) for tx in valid for w in tx.witnesses} == {Key, Threshold}
    coinbases = {block.txs[0].txid for block in old}
    assert any(spent[:32] in coinbases for tx in valid for spent in tx.body.inputs)
