"""Random ledgers: nothing comes from nowhere, and every block can be taken off without a trace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consensus.asset import asset_id, authority_id
from consensus.block import Block, decode_header
from consensus.errors import Missing
from consensus.hashes import AssetId, BlockHash, LockHash
from consensus.locks import lock_hash
from consensus.tx import (
    BURN_LOCK,
    NATIVE,
    AfterHeight,
    AssetDefinition,
    Issuance,
    Issue,
    Key,
    Lock,
    Older,
    OutPoint,
    Reissue,
    Threshold,
    Tx,
    TxOut,
    outpoint,
)
from consensus.tx_rules import is_delayed
from tests.support.chain import ALICE, BOB, CAROL, ToyChain, coins_made

DEFINITION = AssetDefinition(b"NOTE", b"Note", 2, b"", True)
A, B, C = (Key(person.pubkey) for person in (ALICE, BOB, CAROL))
AGED = Threshold(2, (C, Older(1)))
LOCKS: dict[LockHash, Lock] = {
    lock_hash(lock): lock
    for lock in (A, B, C, AGED, Threshold(2, (A, B)), Threshold(2, (B, AfterHeight(100))))
}
PAYEES = [*LOCKS, BURN_LOCK]

slow = settings(max_examples=60, suppress_health_check=list(HealthCheck))


class Drawer:
    """Draws the transactions of one block, each valid after those before it."""

    def __init__(self, chain: ToyChain, data: st.DataObject) -> None:
        self.chain = chain
        self.draw = data.draw
        self.height = chain.tip.height + 1
        self.known = dict(chain.coins)
        self.assets = set(chain.records)

    def ready(self) -> list[OutPoint]:
        """Coins that can be spent now."""
        return sorted(
            place
            for place, coin in self.known.items()
            if coin.lock in LOCKS
            and not (coin.delayed and self.height - coin.height < 100)
            and not (LOCKS[coin.lock] == AGED and coin.height == self.height)
        )

    def issuances(self, first: OutPoint, pool: Counter[AssetId]) -> list[Issuance]:
        made: list[Issuance] = []
        for asset in sorted(self.assets):
            if pool[authority_id(asset)] and self.draw(st.booleans()):
                made.append(Reissue(asset, 7))
                pool[asset] += 7
        if self.draw(st.integers(0, 2)) == 0:
            asset, amount = asset_id(first, DEFINITION), self.draw(st.integers(1, 2**40))
            made.append(Issue(0, DEFINITION, amount))
            pool.update({asset: amount, authority_id(asset): 1})
        return made

    def outputs(self, pool: Counter[AssetId]) -> list[TxOut]:
        made: list[TxOut] = []
        for asset, amount in sorted(pool.items()):
            cut = self.draw(st.integers(0, amount))
            made += [
                TxOut(asset, part, LockHash(self.draw(st.sampled_from(PAYEES))))
                for part in (cut, amount - cut)
                if part
            ]
        return made

    def tx(self) -> Tx | None:
        ready = self.ready()
        if not ready:
            return None
        picked = self.draw(st.lists(st.sampled_from(ready), min_size=1, max_size=3, unique=True))
        pool: Counter[AssetId] = Counter()
        for place in picked:
            pool[self.known[place].asset] += self.known[place].amount
        issuances = self.issuances(picked[0], pool)
        pool[NATIVE] -= self.draw(st.integers(0, pool[NATIVE]))
        outputs = self.outputs(pool)
        if not outputs:
            return None
        tx = self.chain.spend(
            picked,
            outputs,
            issuances=issuances,
            expiry=self.draw(st.sampled_from([0, self.height, self.height + 50])),
            locks=[LOCKS[self.known[place].lock] for place in picked],
            extra_coins=self.known,
        )
        for place in picked:
            del self.known[place]
        made = coins_made(tx, self.height, is_delayed(tx.body, self.height))
        self.known.update({p: coin for p, coin in made.items() if coin.lock != BURN_LOCK})
        self.assets.update(pool)
        return tx

    def block(self) -> Block:
        txs = [tx for _ in range(self.draw(st.integers(0, 4))) if (tx := self.tx()) is not None]
        payee = LockHash(self.draw(st.sampled_from(PAYEES)))
        return self.chain.mine(txs, payee)


def funded() -> ToyChain:
    chain = ToyChain()
    chain.fund(ALICE, 3)
    return chain


def state(chain: ToyChain) -> Any:
    records = {
        asset: record for asset, record in chain.records.items() if record.issued or asset == NATIVE
    }
    return chain.coin_set(), records, set(chain.confirmed), chain.tip


# The second model: dictionaries and nothing else


def naive_coins(blocks: Iterable[Block]) -> dict[OutPoint, tuple[AssetId, int, LockHash]]:
    coins: dict[OutPoint, tuple[AssetId, int, LockHash]] = {}
    for block in blocks:
        for tx in (*block.txs[1:], block.txs[0]):
            for spent in tx.body.inputs:
                del coins[spent]
            for index, out in enumerate(tx.body.outputs):
                if out.lock != bytes(32):
                    coins[outpoint(tx.txid, index)] = (out.asset, out.amount, out.lock)
    return coins


def naive_supplies(blocks: Iterable[Block]) -> tuple[Counter[AssetId], Counter[AssetId]]:
    """What was issued (made less spent) and what was destroyed, over every output and input."""
    made: dict[OutPoint, TxOut] = {}
    issued: Counter[AssetId] = Counter()
    destroyed: Counter[AssetId] = Counter()
    for block in blocks:
        for tx in (*block.txs[1:], block.txs[0]):
            for spent in tx.body.inputs:
                issued[made[spent].asset] -= made[spent].amount
            for index, out in enumerate(tx.body.outputs):
                made[outpoint(tx.txid, index)] = out
                issued[out.asset] += out.amount
                if out.lock == bytes(32):
                    destroyed[out.asset] += out.amount
    return issued, destroyed


def chain_of(chain: ToyChain) -> list[Block]:
    return [chain.blocks[chain.tip.ancestor(h).hash] for h in range(chain.tip.height + 1)]


@given(st.data())
@slow
def test_value_is_conserved_for_every_asset(data: st.DataObject) -> None:
    chain = funded()
    for _ in range(data.draw(st.integers(1, 4))):
        Drawer(chain, data).block()
        held: Counter[AssetId] = Counter()
        for coin in chain.coins.values():
            held[coin.asset] += coin.amount
        for asset, record in chain.records.items():
            assert held[asset] + record.destroyed == record.issued
            assert held[asset] == record.supply == chain.supply(asset)
        assert set(held) <= set(chain.records)


@given(st.data())
@slow
def test_coins_and_supplies_are_those_of_a_naive_model(data: st.DataObject) -> None:
    chain = funded()
    for _ in range(data.draw(st.integers(1, 4))):
        Drawer(chain, data).block()
    blocks = chain_of(chain)
    found = {p: (coin.asset, coin.amount, coin.lock) for p, coin in chain.coins.items()}
    assert found == naive_coins(blocks)
    issued, destroyed = naive_supplies(blocks)
    assert {a: r.issued for a, r in chain.records.items()} == dict(issued)
    assert {a: r.destroyed for a, r in chain.records.items() if r.destroyed} == dict(destroyed)


@given(st.data())
@slow
def test_connecting_and_disconnecting_is_the_identity(data: st.DataObject) -> None:
    chain = funded()
    states, blocks = [state(chain)], []
    for _ in range(data.draw(st.integers(1, 4))):
        blocks.append(Drawer(chain, data).block())
        states.append(state(chain))
    for before in states[-2::-1]:
        chain.disconnect()
        assert state(chain) == before
    for block, after in zip(blocks, states[1:], strict=True):
        chain.connect(block.raw)
        assert state(chain) == after


@given(st.data())
@slow
def test_transaction_that_was_mined_is_never_valid_again(data: st.DataObject) -> None:
    chain = funded()
    block = Drawer(chain, data).block()
    for tx in block.txs[1:]:
        coins = [chain.coin(spent, LockHash(b"")) for spent in tx.body.inputs]
        assert coins.count(None) == len(coins)


class Follower(ToyChain):
    """A ledger that takes blocks in any order and follows the most work."""

    def __init__(self, base: Sequence[Block]) -> None:
        super().__init__()
        for block in base[1:]:
            self.connect(block.raw)
        self.known: dict[BlockHash, bytes] = {}
        self.early: list[bytes] = []

    def arrive(self, raw: bytes) -> None:
        header = decode_header(raw[3:83])
        try:
            node = self.tree.add(header, header.time)
        except Missing:
            self.early.append(raw)
            return
        self.known[node.hash] = raw
        self.tree.mark_stored(node)
        detach, attach = self.tree.path(self.tip, self.tree.best_linked(self.tip))
        for _ in detach:
            self.disconnect()
        for better in attach:
            self.connect(self.known[better.hash])
        waiting, self.early = self.early, []
        for late in waiting:
            self.arrive(late)


@given(st.data())
@slow
def test_any_order_of_the_same_blocks_gives_the_same_tip_and_coins(data: st.DataObject) -> None:
    chain = funded()
    base = chain_of(chain)
    made: list[Block] = []
    # A short branch, taken off again from some place, and a longer one from there.
    for _ in range(data.draw(st.integers(1, 3))):
        made.append(Drawer(chain, data).block())
    for _ in range(data.draw(st.integers(0, len(made)))):
        chain.disconnect()
    longest = len(base) - 1 + len(made)
    while chain.tip.height <= longest:
        made.append(Drawer(chain, data).block())
    winner = state(chain)[:3]
    for _ in range(2):
        follower = Follower(base)
        for block in data.draw(st.permutations(made)):
            follower.arrive(block.raw)
        assert not follower.early
        assert follower.tip.hash == chain.tip.hash
        assert state(follower)[:3] == winner
