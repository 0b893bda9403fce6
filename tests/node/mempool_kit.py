"""A mempool on a toy chain, and short ways to make payments for it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from consensus.block import Block
from consensus.hashes import Txid
from consensus.keys import SigCheck, are_signed
from consensus.params import REGTEST, Params
from consensus.tx import NATIVE, Coin, OutPoint, Tx, TxOut, outpoint
from node.events import Event, Removal, TxAdded, TxRemoved
from node.mempool import Mempool
from node.mempool_entry import Entry
from node.policy import Policy
from tests.support.chain import ALICE, BOB, Person, ToyChain, coins_made

START = 1_800_000_000.0
PARAMS = msgspec.structs.replace(REGTEST, subsidy=500_000_000)


class Pool:
    """The parts, and what they said."""

    def __init__(
        self, policy: Policy | None = None, coins: int = 0, params: Params = PARAMS
    ) -> None:
        """`coins` mature coins of 5 TAEL belong to Alice."""
        self.chain = ToyChain(params)
        self.now = START
        self.events: list[Event] = []
        self.verified = 0
        self.coins: list[OutPoint] = self.chain.fund(ALICE, coins) if coins else []
        self.mempool = self.another(policy or Policy())

    def another(self, policy: Policy) -> Mempool:
        """An empty mempool on the same chain."""
        return Mempool(self.chain, policy, lambda: self.now, self.events.append, self._verify)

    def _verify(self, checks: Sequence[SigCheck]) -> bool:
        self.verified += len(checks)
        return are_signed(checks)

    # Transactions

    def coin(self, spent: OutPoint) -> Coin:
        """A coin of the chain or of an entry."""
        found = self.chain.coins.get(spent)
        if found is None:
            parent = self.mempool.get(Txid(spent[:32]))
            assert parent is not None
            found = coins_made(parent.tx, self.chain.context().height)[spent]
        return found

    def tx(
        self,
        inputs: Sequence[OutPoint],
        fee: int,
        outputs: int = 1,
        payee: Person = ALICE,
        memo: bytes = b"",
        expiry: int = 0,
    ) -> Tx:
        """A transaction of native coins that divides what `fee` leaves among `outputs`."""
        coins = {spent: self.coin(spent) for spent in inputs}
        each, rest = divmod(sum(coin.amount for coin in coins.values()) - fee, outputs)
        made = [TxOut(NATIVE, each, payee.lock, memo) for _ in range(outputs)]
        made[0] = TxOut(NATIVE, each + rest, payee.lock, memo)
        return self.chain.spend(inputs, made, (ALICE, BOB), expiry=expiry, extra_coins=coins)

    def enter(
        self, inputs: Sequence[OutPoint], fee: int, outputs: int = 1, payee: Person = ALICE
    ) -> Entry:
        return self.mempool.submit(self.tx(inputs, fee, outputs, payee).raw)

    def line(self, first: OutPoint, count: int, fee: int = 10_000) -> list[Entry]:
        """`count` payments, each spending the one before."""
        made: list[Entry] = []
        for _ in range(count):
            made.append(self.enter([out(made[-1]) if made else first], fee))
        return made

    def heavy(self, inputs: Sequence[OutPoint], cost: int, rate: int, payee: Person = ALICE) -> Tx:
        """A transaction of about `cost` that pays `rate` base units per 1 000 cost."""
        outputs = cost // 200
        real = 100 * outputs + 100 * (outputs - len(inputs))
        return self.tx(inputs, -(-real * rate // 1_000), outputs, payee)

    # Blocks

    def mine(self, txs: Sequence[Tx] = ()) -> Block:
        """Mine `txs` and tell the mempool."""
        block = self.chain.mine(txs)
        self.mempool.block_connected(block)
        self.mempool.tip_changed()
        return block

    def reorganise(self, depth: int, branch: Sequence[Sequence[Tx]]) -> None:
        """Take off `depth` blocks and mine `branch` instead, then tell the mempool."""
        off = [self.chain.disconnect() for _ in range(depth)]
        on = [self.chain.mine(txs) for txs in branch]
        for block in off:
            self.mempool.block_disconnected(block)
        for block in on:
            self.mempool.block_connected(block)
        self.mempool.tip_changed()

    # What was said

    def removals(self) -> list[tuple[Txid, Removal]]:
        return [(e.txid, e.reason) for e in self.events if isinstance(e, TxRemoved)]

    def additions(self) -> list[Txid]:
        return [event.tx.txid for event in self.events if isinstance(event, TxAdded)]


def out(entry: Entry | Tx, index: int = 0) -> OutPoint:
    """An output of a transaction, as an outpoint."""
    return outpoint(entry.txid if isinstance(entry, Tx) else entry.tx.txid, index)


def check_consistent(mempool: Mempool) -> None:
    """Count every sum and link anew and compare."""
    entries = list(mempool.entries())
    position = {entry: index for index, entry in enumerate(entries)}
    spent = [outpoint for entry in entries for outpoint in entry.tx.body.inputs]
    assert len(set(spent)) == len(spent), "one coin is spent twice"
    for entry in entries:
        assert entry.is_in
        made_by = {Txid(spent[:32]) for spent in entry.tx.body.inputs}
        parents = {other for other in entries if other.tx.txid in made_by}
        assert set(entry.parents) == parents
        assert all(position[parent] < position[entry] for parent in parents)
        assert set(entry.children) == {other for other in entries if entry in other.parents}
        above = [entry, *mempool.ancestors(entry.tx.txid)]
        assert entry.ancestor_count == len(above)
        assert entry.ancestor_cost == sum(other.cost for other in above)
        assert entry.ancestor_fee == sum(other.fee for other in above)
        below = [entry, *mempool.descendants(entry.tx.txid)]
        assert entry.descendant_count == len(below)
        assert entry.descendant_cost == sum(other.cost for other in below)
        assert entry.descendant_fee == sum(other.fee for other in below)
        assert all(mempool.spender(o) is entry for o in entry.tx.body.inputs)
        assert mempool.by_wtxid(entry.tx.wtxid) is entry
        for lock in {o.lock for o in entry.tx.body.outputs} | {c.lock for c in entry.coins}:
            assert entry in mempool.touching(lock)
    assert len(mempool) == len(entries)
    assert mempool.fees == sum(entry.fee for entry in entries)
    assert mempool.cost == sum(entry.cost for entry in entries)
    assert mempool.size_bytes == sum(entry.size_bytes for entry in entries)
    ranked = list(mempool.ranked())
    assert sorted(ranked, key=lambda e: position[e]) == entries
    scores = [entry.mining_score for entry in ranked]
    assert scores == sorted(scores, reverse=True)
