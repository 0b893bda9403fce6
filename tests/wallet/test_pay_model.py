"""A request is asked for amid whatever a chain, a node and a careless owner can do: it is paid once."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable

import pytest

from consensus.errors import Violation
from consensus.params import COIN
from consensus.tx import Tx
from tests.support.chain import DAVE
from tests.support.rpc_node import RpcFault, ToyNode, pay_from
from tests.support.wallet_cli import Tael

DEPTH = 6
"""Blocks until a payment is void, in place of a hundred; no reorganisation here is as deep."""
STEPS = 30
CODES = {0, 1, 4, 5}


class World:
    """One wallet that pays one request, and everything around it."""

    def __init__(self, node: ToyNode, wallet: Tael, shop: str, rng: random.Random) -> None:
        self.node, self.wallet, self.shop, self.rng = node, wallet, shop, rng
        self.seen: dict[bytes, Tx] = {}
        """Every transaction that ever was in the mempool: anybody may send it again."""
        self.old = wallet.path.with_name("old copy")
        shutil.copy(wallet.path, self.old)

    def pay(self) -> int:
        args = ["pay", self.shop, "1", "--request-id", "7", "--yes", "--expiry", "+4"]
        if self.rng.random() < 0.6:
            args.append("--again")
        result = self.wallet.invoke(*args)
        assert result.exit_code in CODES, result.output
        return result.exit_code

    def mine(self) -> None:
        self.note()
        if self.rng.random() < 0.3:
            self.node.mine(self.rng.randint(1, 3))
        else:  # by somebody who leaves out what waits
            self.node.chain.mine_empty(self.rng.randint(1, DEPTH), DAVE.lock)
            self.prune()

    def evict(self) -> None:
        self.note()
        self.node.mempool.clear()

    def reorganise(self) -> None:
        self.note()
        depth = self.rng.randint(1, DEPTH - 1)
        back = [tx for _ in range(depth) for tx in self.node.chain.disconnect().txs[1:]]
        self.node.mempool.clear()
        self.offer(self.rng.choice(([], back[::-1], [*self.seen.values()])))
        for _ in range(depth + 1):
            self.node.mine() if self.rng.random() < 0.5 else self.node.chain.mine_empty(
                1, DAVE.lock
            )
            self.prune()

    def revive(self) -> None:
        """Somebody sends everything that was ever seen, in an order of his own."""
        self.note()
        txs = list(self.seen.values())
        self.rng.shuffle(txs)
        self.offer(txs)

    def bump(self) -> None:
        self.note()
        own = [tx for tx in self.node.mempool.values() if tx[0].body.expiry]
        if own:
            self.wallet.invoke("bump", own[0][0].txid[::-1].hex(), "--yes")

    def send(self) -> None:
        self.wallet.invoke("send", self.wallet.json("address")["address"], "0.5", "--yes")

    def gift(self) -> None:
        """Another coin, which a payment that is made anew might be made of."""
        amount = self.rng.randint(102, 300) * COIN // 100
        pay_from(self.node, str(self.wallet.json("address")["address"]), amount)

    def refuse(self) -> None:
        self.node.faults["sendrawtransaction"] = RpcFault(-26, "fee-below-floor: 1, 2")
        self.pay()
        self.node.faults.clear()

    def break_off(self) -> None:
        self.node.silent.add("sendrawtransaction")
        self.pay()
        self.node.silent.clear()

    def restore(self) -> None:
        shutil.copy(self.old, self.wallet.path)

    def note(self) -> None:
        self.seen |= {txid: entry[0] for txid, entry in self.node.mempool.items()}

    def offer(self, txs: list[Tx]) -> None:
        for tx in txs:
            try:
                self.node.submit(tx)
            except Violation:
                continue

    def prune(self) -> None:
        """What the last blocks made invalid leaves the mempool."""
        waiting = [tx for tx, _, _ in self.node.mempool.values()]
        self.node.mempool.clear()
        self.offer(waiting)

    @property
    def ways(self) -> list[Callable[[], object]]:
        return [
            self.pay, self.pay, self.pay, self.mine, self.mine, self.evict, self.reorganise,
            self.revive, self.bump, self.send, self.gift, self.refuse, self.break_off, self.restore,
        ]  # fmt: skip


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_in_between_the_request_is_paid_once(
    node: ToyNode, alice: Tael, bob: Tael, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wallet.standing.FINAL_DEPTH", DEPTH)
    rng = random.Random(seed)
    for _ in range(4):
        pay_from(node, str(alice.json("address", "--new")["address"]), 4 * COIN)
        node.mine()
    world = World(node, alice, str(bob.json("address")["address"]), rng)
    story = []
    for _ in range(STEPS):
        way = rng.choice(world.ways)
        story.append(way.__name__)
        way()
        assert node.balance_of(world.shop) in (0, COIN), story
    for _ in range(4 * DEPTH):  # in the end it is paid, if it is asked for often enough
        if world.pay() == 0:
            world.node.mine()
        else:
            node.chain.mine_empty(2, DAVE.lock)
            world.prune()
    assert node.balance_of(world.shop) == COIN, story
