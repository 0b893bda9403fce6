"""The dearest blocks that the rules allow, one for each thing that can be dear."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import coincurve

from consensus.block import Block, block_root, make_block, make_header, transactions_root
from consensus.hashes import LockHash
from consensus.locks import lock_hash
from consensus.params import BLOCK_COST_MAX, TX_COST_MAX
from consensus.sighash import SCOPE_ALL, coins_digest, digest_all
from consensus.tx import (
    NATIVE,
    Body,
    Coin,
    Height,
    Key,
    Lock,
    Older,
    OutPoint,
    Path,
    Threshold,
    Tx,
    TxOut,
    Witness,
    make_tx,
    outpoint,
)
from consensus.tx_rules import (
    COST_PER_GROWTH,
    COST_PER_INPUT,
    COST_PER_NODE,
    COST_PER_OUTPUT,
    COST_PER_SIGCHECK,
)
from tests.support.chain import ALICE, ToyChain, solve

KEYS = 60
"""Keys in one lock: more than that would not leave room for the threshold above them."""
NODES = 63
MIXED = 6
"""Atoms in a lock of the block that has the most of everything: with the threshold seven nodes for
each input, which is what the cost of an input pays for."""
EACH = 1_000
"""Base units in each coin."""
KEYLESS = Older(1)
MANY_NODES = Threshold(NODES, (KEYLESS,) * NODES)
_WITNESS = Witness(KEYLESS, ())
_SPARE = 2_000
"""Cost left in each transaction and block for what is not counted one by one."""
_PER_TX = TX_COST_MAX - _SPARE


def _signer(number: int) -> coincurve.PrivateKey:
    """Keys of their own for each place: none is known from before when it is met."""
    return coincurve.PrivateKey(hashlib.sha256(b"dear %d" % number).digest())


def _keys_of(signers: Sequence[coincurve.PrivateKey]) -> tuple[Key, ...]:
    return tuple(Key(signer.public_key.format()) for signer in signers)


class Kind(NamedTuple):
    """What one transaction is made of, so as to cost as much as it may."""

    inputs: int
    outputs: int
    cost: int


KINDS: Mapping[str, Kind] = {
    "inputs without keys": Kind(_PER_TX // COST_PER_INPUT, 1, _PER_TX),
    "signatures": Kind(
        _PER_TX // (COST_PER_SIGCHECK * KEYS), 1,
        _PER_TX // (COST_PER_SIGCHECK * KEYS) * COST_PER_SIGCHECK * KEYS,
    ),
    "nodes of locks": Kind(_PER_TX // (COST_PER_NODE * (NODES + 1)), 1, _PER_TX),
    "outputs": Kind(1, _PER_TX // (COST_PER_OUTPUT + COST_PER_GROWTH), _PER_TX),
    # Only the dearest of these counts, so one transaction can have the most of nearly each.
    "all at once": Kind(_PER_TX // COST_PER_INPUT, 1, _PER_TX),
}  # fmt: skip


class Ground:
    """A chain with the coins that the dearest blocks spend, so many of each kind."""

    def __init__(self, share: float) -> None:
        """`share` of the cost limit is what the blocks will take."""
        self.chain = ToyChain()
        self.txs = {
            name: int(share * (BLOCK_COST_MAX - _SPARE) / k.cost) for name, k in KINDS.items()
        }
        self.signers: dict[bytes, list[coincurve.PrivateKey]] = {}
        self.locks: dict[bytes, Lock] = {}
        self._keys = 0
        self.wanted: dict[str, list[LockHash]] = {
            name: [self._lock(name, number) for number in range(self.txs[name] * kind.inputs)]
            for name, kind in KINDS.items()
        }
        self.of: dict[bytes, list[OutPoint]] = {}
        self._fill([lock for locks in self.wanted.values() for lock in locks])

    def _lock(self, name: str, number: int) -> LockHash:
        signers: list[coincurve.PrivateKey] = []
        match name:
            case "signatures":
                signers = self._more_signers(KEYS)
                lock: Lock = Threshold(KEYS, _keys_of(signers))
            case "nodes of locks":
                lock = MANY_NODES
            case "all at once" if number % 4:
                signers = self._more_signers(1)
                lock = Threshold(MIXED, (*_keys_of(signers), *[KEYLESS] * (MIXED - 1)))
            case "all at once":
                lock = Threshold(MIXED, (KEYLESS,) * MIXED)
            case _:
                lock = KEYLESS
        found = lock_hash(lock)
        self.locks[found] = lock
        if signers:
            self.signers[found] = signers
        return found

    def _more_signers(self, count: int) -> list[coincurve.PrivateKey]:
        self._keys += count
        return [_signer(self._keys - number) for number in range(count)]

    def _fill(self, wanted: Sequence[LockHash]) -> None:
        """Make a coin under each of the locks."""
        chain, per_tx = self.chain, KINDS["outputs"].outputs
        parts = [wanted[i : i + per_tx] for i in range(0, len(wanted), per_tx)]
        (source,) = chain.fund(ALICE)
        purses = chain.spend([source], [TxOut(NATIVE, EACH * per_tx, ALICE.lock)] * len(parts))
        chain.mine([purses])
        fillings = [
            chain.spend([outpoint(purses.txid, i)], [TxOut(NATIVE, EACH, lock) for lock in part])
            for i, part in enumerate(parts)
        ]
        per_block = BLOCK_COST_MAX // TX_COST_MAX
        for first in range(0, len(fillings), per_block):
            chain.mine(fillings[first : first + per_block])
        chain.mine()
        for spent, coin in chain.coins.items():
            if coin.lock in self.locks:
                self.of.setdefault(coin.lock, []).append(spent)

    def block(self, name: str) -> Block:
        """The dearest block of one kind, on the tip; the chain goes on with it."""
        return self.chain.connect(self.chain.template(list(self._transactions(name))).raw)

    def _transactions(self, name: str) -> Iterator[Tx]:
        kind = KINDS[name]
        for _ in range(self.txs[name]):
            coins = {s: self.chain.coins[s] for s in self._take(name, kind.inputs)}
            amount = EACH * kind.inputs // kind.outputs or 1
            outputs = (TxOut(NATIVE, amount, ALICE.lock),) * kind.outputs
            yield self._signed(Body(1, tuple(coins), outputs, (), Height(0)), coins)

    def _take(self, name: str, count: int) -> Iterator[OutPoint]:
        locks = self.wanted[name]
        return (self.of[locks.pop()].pop() for _ in range(count))

    def _signed(self, body: Body, coins: Mapping[OutPoint, Coin]) -> Tx:
        txid, everything = make_tx(body, ()).txid, coins_digest(list(coins.values()))
        witnesses = []
        for spent, coin in coins.items():
            items = []
            for number, signer in enumerate(self.signers.get(coin.lock, ())):
                path = Path(bytes((number,)))
                digest = digest_all(self.chain.chain_id, path, spent, coin, txid, everything)
                signature = signer.sign_recoverable(digest, hasher=None)[:64]
                items.append(bytes((SCOPE_ALL,)) + signature)
            witnesses.append(Witness(self.locks[coin.lock], tuple(items)))
        return make_tx(body, witnesses)


def crowded(chain: ToyChain, inputs: int) -> Block:
    """A block of so many inputs without keys, whatever they cost, of coins that there are not."""
    per_tx = KINDS["inputs without keys"].inputs
    output = (TxOut(NATIVE, 1, ALICE.lock),)
    txs = [
        make_tx(
            Body(
                1, tuple(outpoint(bytes(32), n) for n in range(first, first + per_tx)), output, (),
                Height(0),
            ),
            (_WITNESS,) * per_tx,
        )
        for first in range(0, inputs, per_tx)
    ]  # fmt: skip
    plain = chain.template()
    header, txs = plain.header, [plain.txs[0], *txs]
    root = block_root(txs[0].raw, transactions_root(txs[1:]))
    changed = make_header(
        header.version, header.previous, root, header.time, header.bits, header.nonce
    )
    return solve(make_block(changed, txs))
