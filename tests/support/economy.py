"""Random valid blocks on a toy chain, with everything inside that the rules allow."""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from consensus.asset import asset_id, authority_id
from consensus.block import Block
from consensus.hashes import AssetId, BlockHash, LockHash
from consensus.locks import lock_hash
from consensus.params import COINBASE_MATURITY, REGTEST, Params
from consensus.tx import (
    BURN_LOCK,
    NATIVE,
    AfterHeight,
    AssetDefinition,
    Body,
    Coin,
    Height,
    Issuance,
    Issue,
    Key,
    Lock,
    Older,
    OutPoint,
    Pruned,
    Reissue,
    Sha256,
    Threshold,
    Tx,
    TxOut,
    outpoint,
)
from consensus.tx_rules import is_delayed
from tests.support.chain import ALICE, BOB, CAROL, DAVE, Person, ToyChain, sign_tx

SECRET = hashlib.sha256(b"a secret of the tests").digest()
PEOPLE = (ALICE, BOB, CAROL, DAVE)


class _Way(NamedTuple):
    """How a lock is opened."""

    lock: Lock
    """As it is revealed."""
    older: int = 0
    after_height: int = 0


def _ways() -> dict[LockHash, _Way]:
    ways = [_Way(Key(person.pubkey)) for person in PEOPLE]
    for number, person in enumerate(PEOPLE, 1):
        key = Key(person.pubkey)
        ways.append(_Way(Threshold(2, (key, Older(number))), older=number))
        height = 90 + 11 * number  # from 101 on now and then another becomes spendable
        ways.append(_Way(Threshold(2, (key, AfterHeight(height))), after_height=height))
        hashed = Sha256(hashlib.sha256(SECRET).digest())
        ways.append(_Way(Threshold(1, (hashed, Pruned(person.lock)))))
    return {lock_hash(way.lock): way for way in ways}


WAYS = _ways()
LOCKS = tuple(WAYS)


def is_ready(coin: Coin, height: int) -> bool:
    """Whether somebody here can spend a coin in the block at `height`."""
    way = WAYS.get(coin.lock)
    age = height - coin.height
    if way is None or (coin.delayed and age < COINBASE_MATURITY):
        return False
    return age >= way.older and height >= way.after_height


class Traders:
    """Random valid transactions: payments, issuance, reissue, destruction, time locks, expiry."""

    def __init__(
        self, chain_id: BlockHash, rng: random.Random, fee: int = 0, expiry_max: int = 40
    ) -> None:  # fmt: skip
        """What expires does so within `expiry_max` blocks."""
        self._expiry_max = expiry_max
        self._chain_id = chain_id
        self._rng = rng
        self._fee = fee

    def trade(
        self, pool: Mapping[OutPoint, Coin], assets: Collection[AssetId], height: int
    ) -> Tx | None:
        """A transaction for the block at `height` that spends coins of `pool`; None if none can be.

        `assets` are those that exist.
        """
        ready = [spent for spent, coin in pool.items() if is_ready(coin, height)]
        native = [
            spent
            for spent in ready
            if pool[spent].asset == NATIVE and pool[spent].amount > self._fee
        ]
        if not native:
            return None
        inputs = self._rng.sample(native, min(len(native), self._rng.randint(1, 2)))
        others = [spent for spent in ready if pool[spent].asset != NATIVE]
        if others and self._rng.random() < 0.7:
            inputs += self._rng.sample(others, min(len(others), self._rng.randint(1, 2)))
        issuances: list[Issuance] = []
        amounts: defaultdict[AssetId, int] = defaultdict(int)
        for spent in inputs:
            amounts[pool[spent].asset] += pool[spent].amount
        amounts[NATIVE] -= self._fee
        self._issue(inputs, issuances, amounts, assets)
        outputs = [out for asset, amount in amounts.items() for out in self._split(asset, amount)]
        expiry = (
            height - 1 + self._rng.randint(1, self._expiry_max) if self._rng.random() < 0.2 else 0
        )
        coins = [pool[spent] for spent in inputs]
        return sign_tx(
            Body(1, tuple(inputs), tuple(outputs), tuple(issuances), Height(expiry)),
            coins, [WAYS[coin.lock].lock for coin in coins], PEOPLE, self._chain_id,
            {hashlib.sha256(SECRET).digest(): SECRET},
        )  # fmt: skip

    def _issue(
        self, inputs: Sequence[OutPoint], issuances: list[Issuance],
        amounts: dict[AssetId, int], assets: Collection[AssetId],
    ) -> None:  # fmt: skip
        reissuable = {authority_id(asset): asset for asset in assets if len(asset) == 32}
        held = {reissuable[asset] for asset in amounts if asset in reissuable}
        for asset in sorted(held):
            issuances.append(Reissue(asset, 7))
            amounts[asset] = amounts.get(asset, 0) + 7
        if self._rng.random() < 0.3:
            name = b"T%d" % self._rng.randrange(10**6)
            definition = AssetDefinition(name, b"a toy", 2, b"", self._rng.random() < 0.7)
            made = asset_id(inputs[0], definition)
            issuances.append(Issue(0, definition, 1_000))
            amounts[made] = 1_000
            if definition.reissuable:
                amounts[authority_id(made)] = 1

    def _split(self, asset: AssetId, amount: int) -> list[TxOut]:
        first = self._rng.randint(1, amount)
        parts = [part for part in (first, amount - first) if part]
        locks = [self._rng.choice(LOCKS) for _ in parts]
        if asset != NATIVE and self._rng.random() < 0.2:
            locks[0] = BURN_LOCK
        return [TxOut(asset, part, lock) for part, lock in zip(parts, locks, strict=True)]


class Economy:
    """Random valid blocks on a toy chain."""

    def __init__(self, toy: ToyChain, rng: random.Random, expiry_max: int = 40) -> None:
        self.toy = toy
        self._rng = rng
        self._traders = Traders(toy.chain_id, rng, expiry_max=expiry_max)
        self._pool: dict[OutPoint, Coin] = {}

    def blocks(self, count: int, txs: int = 4) -> list[Block]:
        """Mine `count` blocks of up to `txs` random transactions each."""
        return [self.block(txs) for _ in range(count)]

    def block(self, txs: int = 4, time: int | None = None) -> Block:
        self._pool = dict(self.toy.coins)
        made = [tx for _ in range(self._rng.randint(0, txs)) if (tx := self._tx()) is not None]
        return self.toy.mine(made, self._rng.choice(LOCKS), time)

    def _tx(self) -> Tx | None:
        height = Height(self.toy.tip.height + 1)
        tx = self._traders.trade(self._pool, self.toy.records, height)
        if tx is None:
            return None
        for spent in tx.body.inputs:
            del self._pool[spent]
        for index, out in enumerate(tx.body.outputs):
            if out.lock != BURN_LOCK:
                delayed = is_delayed(tx.body, height)
                coin = Coin(out.asset, out.amount, out.lock, height, delayed)
                self._pool[outpoint(tx.txid, index)] = coin
        return tx


def ripe_chain(coins: int = 6, person: Person = ALICE, params: Params = REGTEST) -> ToyChain:
    """A toy chain with that many coins of `person` to spend."""
    toy = ToyChain(params)
    toy.fund(person, coins)
    return toy


def blocks_of(toy: ToyChain, above: int = 0) -> list[Block]:
    """Blocks of its best chain higher than `above`, in order."""
    tip = toy.tip
    return [toy.blocks[tip.ancestor(h).hash] for h in range(above + 1, tip.height + 1)]


def whole_chain(toy: ToyChain) -> list[Block]:
    """Its best chain with genesis."""
    return [toy.blocks[toy.chain_id], *blocks_of(toy)]


def rewind(toy: ToyChain, count: int) -> BlockHash:
    """Take `count` blocks off; return the hash of the old tip."""
    tip = toy.tip.hash
    for _ in range(count):
        toy.disconnect()
    return tip
