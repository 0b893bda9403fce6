"""A payment that is tried again after it expired is made once, whatever reorganisations do."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from consensus.errors import Violation
from consensus.tx import NATIVE, Tx, TxOut
from tests.node.test_ledger import Desk, with_desk
from tests.support.chain import ALICE, BOB, FEE, ToyChain
from tests.support.economy import blocks_of, ripe_chain

PAID = 1_000_000


def payment(toy: ToyChain, coin_number: int, expiry: int) -> Tx:
    spent = toy.coins_of(ALICE)[coin_number]
    rest = toy.coins[spent].amount - PAID - FEE
    outputs = [TxOut(NATIVE, PAID, BOB.lock), TxOut(NATIVE, rest, ALICE.lock)]
    return toy.spend([spent], outputs, expiry=expiry)


def paid_to_bob(desk: Desk) -> int:
    return sum(coin.amount for _, coin in desk.ledger.coins_of(BOB.lock, b"", 100))


@pytest.mark.parametrize("seed", range(4))
def test_a_payment_and_its_retry_are_never_both_mined_whatever_branch_wins(
    tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    toy = ripe_chain()
    start = toy.tip.height
    expiry = start + rng.randint(4, 6)
    first = payment(toy, 0, expiry)

    async def scenario(desk: Desk) -> None:
        await desk.give(blocks_of(toy))
        desk.ledger.submit_tx(first.raw)
        # It stays out of every block until it cannot be mined any more.
        waiting = toy.tip.height
        toy.mine_empty(expiry - waiting)
        await desk.give(blocks_of(toy, waiting))
        assert first.txid not in desk.ledger.mempool
        # So another coin is spent for the same purpose, which is what the sender relies on.
        retry = payment(toy, 1, 0)
        desk.ledger.submit_tx(retry.raw)
        toy.mine([retry])
        await desk.give(blocks_of(toy, toy.tip.height - 1))
        assert paid_to_bob(desk) == PAID
        # Shallow reorganisations above that height, in which a miner would like to have both.
        for _ in range(6):
            depth = rng.randint(1, min(3, toy.tip.height - expiry))
            for _ in range(depth):
                toy.disconnect()
            base = toy.tip.height
            assert base >= expiry
            again = [] if toy.is_confirmed(retry.txid) else [retry]
            for number in range(depth):
                toy.mine(again if number == 0 else ())
            await desk.give(blocks_of(toy, base))
            greedy = toy.template([first])
            with pytest.raises(Violation) as refused:
                await desk.ledger.submit_block(greedy.raw)
            assert refused.value.rule == "tx-expired"
            toy.mine()
            await desk.give(blocks_of(toy, base))
            assert desk.ledger.tip.hash == toy.tip.hash
            assert paid_to_bob(desk) == PAID
            assert first.txid not in desk.ledger.mempool

    with_desk(tmp_path, scenario)
