"""The chain that is measured: many payments of one input and two outputs, from fixed keys.

A private network allocates the first coins in its genesis; 99 empty blocks let them mature. Payer
and payee of each payment are drawn from `KEYS` keys by a fixed seed: how many locks there are
changes what the indexes cost.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import deque
from collections.abc import Iterator, Sequence

import coincurve
import msgspec

from consensus.address import encode_address
from consensus.block import (
    VERSION,
    Block,
    block_root,
    genesis,
    make_block,
    make_header,
    transactions_root,
)
from consensus.hashes import HASH_BYTES, LockHash, to_text
from consensus.header_tree import HeaderNode, HeaderTree, earliest_time, expected_bits
from consensus.locks import key_lock
from consensus.params import COIN, COINBASE_MATURITY, REGTEST, Allocation, Params
from consensus.pow import hash_as_number, target_of
from consensus.sighash import SCOPE_ALL, coins_digest, digest_all
from consensus.tx import (
    NATIVE,
    Body,
    Coin,
    Height,
    Key,
    OutPoint,
    Path,
    Tx,
    TxOut,
    Witness,
    make_coinbase,
    make_tx,
    outpoint,
)

KEYS = 10_000
FIRST_COINS = 1_000
PAYMENTS_PER_BLOCK = 2_000
FEE = 1_000
SEED = 20_261_123


class Payment(msgspec.Struct, frozen=True, array_like=True):
    """A signed payment that waits to be sent."""

    raw: bytes
    txid: str
    """As JSON-RPC writes it."""
    spent_txid: str
    spent_index: int


class _Person:
    def __init__(self, number: int) -> None:
        self.key = coincurve.PrivateKey(hashlib.sha256(b"tael bench %d" % number).digest())
        pubkey = self.key.public_key.format()
        self.lock = key_lock(pubkey)
        self.reveal = Key(pubkey)


Owned = tuple[OutPoint, Coin, _Person]
Paid = tuple[Tx, list[_Person]]
"""A transaction, and whom each of its outputs belongs to."""


class Workload:
    """A network and its blocks, the same for the same figures."""

    def __init__(
        self, payments: int, per_block: int = PAYMENTS_PER_BLOCK, payee: int | None = None
    ) -> None:
        """`payee` is the number of a person who gets every payment; else each is drawn."""
        self._payments = payments
        self._payee = payee
        self._per_block = per_block
        self._people = [_Person(number) for number in range(KEYS)]
        self._random = random.Random(SEED)
        allocations = tuple(
            Allocation(self._people[i].lock, 10_000 * COIN) for i in range(FIRST_COINS)
        )
        self.params: Params = msgspec.structs.replace(
            REGTEST, name=b"bench", hrp=b"bench", allocations=allocations
        )
        self.genesis: Block = genesis(self.params)
        self._tree = HeaderTree(self.params, self.genesis.header)
        self._parent = self._tree.genesis
        self._coins: deque[Owned] = deque()

    def blocks(self) -> Iterator[Block]:
        """Every block after genesis."""
        yield from self._ripen()
        left = self._payments
        while left:
            count = min(left, self._per_block, len(self._coins))
            left -= count
            yield self._append([self._pay() for _ in range(count)])

    def _ripen(self) -> Iterator[Block]:
        """Empty blocks, behind which the first coins can be spent."""
        self._take_outputs(self.genesis.txs[0], 0, self._people[:FIRST_COINS], first=1)
        while self._parent.height + 1 < COINBASE_MATURITY:
            yield self._append([])

    def _append(self, payments: Sequence[Paid]) -> Block:
        """The next block, whose outputs can be spent from then on."""
        block = self._block(self._tree, self._parent, [tx for tx, _ in payments])
        for tx, owners in payments:
            self._take_outputs(tx, self._parent.height + 1, owners)
        self._parent = self._tree.add(block.header, block.header.time)
        return block

    def waiting(self, count: int) -> Iterator[Payment]:
        """Payments for after the last block; each spends another confirmed coin."""
        for _ in range(count):
            spent = self._coins[0][0]
            tx, _ = self._pay()
            txid, index = spent[:HASH_BYTES], int.from_bytes(spent[HASH_BYTES:], "big")
            yield Payment(tx.raw, to_text(tx.txid), to_text(txid), index)

    def network_toml(self) -> str:
        """The network as a file for `taeld --network`."""
        hrp = self.params.hrp.decode()
        lines = [f"{name} = {json.dumps(value)}" for name, value in self._entries().items()]
        for allocation in self.params.allocations:
            address = encode_address(hrp, LockHash(allocation.lock))
            lines += ["[[allocations]]", f'address = "{address}"', f"amount = {allocation.amount}"]
        return "\n".join(lines) + "\n"

    def _entries(self) -> dict[str, str | int | bool]:
        fields = msgspec.structs.asdict(self.params)
        del fields["allocations"]
        return {
            name: value.decode() if isinstance(value, bytes) else value
            for name, value in fields.items()
        }

    def _take_outputs(self, tx: Tx, height: int, owners: list[_Person], first: int = 0) -> None:
        for index, owner in enumerate(owners, first):
            output = tx.body.outputs[index]
            # Allocations stand in the coinbase of genesis, which matures like any other.
            coin = Coin(output.asset, output.amount, output.lock, Height(height), first == 1)
            self._coins.append((outpoint(tx.txid, index), coin, owner))

    def _pay(self) -> Paid:
        spent = self._coins.popleft()
        _, coin, payer = spent
        drawn = self._random.choice(self._people)
        payee = drawn if self._payee is None else self._people[self._payee]
        amount = coin.amount // 2
        outputs = (
            TxOut(NATIVE, amount, payee.lock),
            TxOut(NATIVE, coin.amount - amount - FEE, payer.lock),
        )
        return self._sign(spent, outputs), [payee, payer]

    def _sign(self, owned: Owned, outputs: tuple[TxOut, ...]) -> Tx:
        spent, coin, payer = owned
        body = Body(1, (spent,), outputs, (), Height(0))
        txid = make_tx(body, ()).txid
        digest = digest_all(
            self.genesis.header.hash, Path(b""), spent, coin, txid, coins_digest([coin])
        )
        signature = payer.key.sign_recoverable(digest, hasher=None)[:64]
        witness = Witness(payer.reveal, (bytes((SCOPE_ALL,)) + signature,))
        return make_tx(body, (witness,))

    def _block(self, tree: HeaderTree, parent: HeaderNode, txs: list[Tx]) -> Block:
        height = parent.height + 1
        reward = self.params.subsidy_at(height) + FEE * len(txs)
        coinbase = make_coinbase(height, [TxOut(NATIVE, reward, self._people[0].lock)], bytes(8))
        root = block_root(coinbase.raw, transactions_root(txs))
        bits = expected_bits(parent, tree.genesis, self.params)
        nonce = 0
        while True:
            header = make_header(
                VERSION, parent.hash, root, earliest_time(parent, self.params), bits, nonce
            )
            if hash_as_number(header.hash) <= target_of(bits):
                return make_block(header, (coinbase, *txs))
            nonce += 1
