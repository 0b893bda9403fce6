"""What it costs to turn away a transaction whose coins do not exist."""

from __future__ import annotations

from consensus.errors import Missing, Rule
from consensus.keys import are_signed
from consensus.params import COIN
from consensus.tx import (
    NATIVE,
    Body,
    Coin,
    Height,
    Key,
    OutPoint,
    TxOut,
    Witness,
    make_tx,
    outpoint,
)
from node.mempool import Mempool
from node.policy import Policy
from tests.support.chain import ALICE, ToyChain
from tests.support.verdicts import violates


def test_many_absent_coins_are_looked_up_dearly_once() -> None:
    class Counting(ToyChain):
        dear = 0

        def coin_at(self, spent: OutPoint) -> Coin | None:
            self.dear += 1
            return super().coin_at(spent)

    chain = Counting()
    mempool = Mempool(chain, Policy(), lambda: 0.0, lambda _: None, are_signed)
    inputs = tuple(outpoint(number.to_bytes(32, "big"), 0) for number in range(100))
    witness = Witness(Key(ALICE.pubkey), (b"\x01" + bytes(64),))
    body = Body(1, inputs, (TxOut(NATIVE, COIN, ALICE.lock),), (), Height(0))
    with violates(Rule.COIN_MISSING, Missing):
        mempool.submit(make_tx(body, [witness] * 100).raw)
    assert chain.dear == 1
