"""An in-memory ledger with the real rules: what tests build transactions and blocks on.

Deterministic: keys come from small numbers, time from the chain itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence

import coincurve

from consensus.address import encode_address
from consensus.asset import AssetRecord
from consensus.block import (
    VERSION,
    Block,
    block_root,
    genesis,
    make_block,
    make_header,
    transactions_root,
)
from consensus.block_rules import check_block
from consensus.coins import CoinSetDigest
from consensus.connect import Connection, Delta, delta_of
from consensus.errors import Invalid, Rule
from consensus.hashes import AssetId, BlockHash, LockHash, Txid
from consensus.header_tree import HeaderNode, HeaderTree, earliest_time, expected_bits
from consensus.keys import are_signed
from consensus.locks import BlockContext, key_lock, open_lock
from consensus.params import BLOCK_COST_MAX, REGTEST, Params
from consensus.pow import hash_as_number, target_of
from consensus.sighash import SCOPE_ALL, coins_digest, digest_all, digest_sponsored, terms_digest
from consensus.tx import (
    NATIVE,
    Body,
    Coin,
    Height,
    Issuance,
    Key,
    Lock,
    OutPoint,
    Sha256,
    Tx,
    TxOut,
    Witness,
    make_coinbase,
    make_tx,
    outpoint,
)
from consensus.tx_rules import check_spend, check_tx

FEE = 10_000
"""Base units that `ToyChain.pay` leaves for the miner."""


class Person:
    """A key pair made of a small number."""

    def __init__(self, number: int) -> None:
        secret = hashlib.sha256(b"tael test key %d" % number).digest()
        self.key = coincurve.PrivateKey(secret)
        self.pubkey = self.key.public_key.format()
        self.lock = key_lock(self.pubkey)

    def sign(self, digest: bytes) -> bytes:
        """r || s, low-S, deterministic."""
        return self.key.sign_recoverable(digest, hasher=None)[:64]

    def address(self, params: Params = REGTEST) -> str:
        return encode_address(params.hrp.decode(), self.lock)


ALICE, BOB, CAROL, DAVE = (Person(number) for number in range(4))


def sign_tx(
    body: Body,
    coins: Sequence[Coin],
    locks: Sequence[Lock],
    people: Iterable[Person],
    chain_id: bytes,
    preimages: Mapping[bytes, bytes] | None = None,
    scope: int = SCOPE_ALL,
) -> Tx:
    """`body` with a witness for every input; `locks` are revealed as they are given."""
    keys = {person.pubkey: person for person in people}
    txid = make_tx(body, ()).txid
    witnesses = []
    for spent, coin, lock in zip(body.inputs, coins, locks, strict=True):
        items = []
        for path, atom in open_lock(lock).atoms:
            if isinstance(atom, Key):
                if scope == SCOPE_ALL:
                    digest = digest_all(chain_id, path, spent, coin, txid, coins_digest(coins))
                else:
                    digest = digest_sponsored(chain_id, path, spent, coin, terms_digest(body))
                items.append(bytes((scope,)) + keys[atom.pubkey].sign(digest))
            elif isinstance(atom, Sha256):
                items.append((preimages or {})[atom.digest])
        witnesses.append(Witness(lock, tuple(items)))
    return make_tx(body, witnesses)


def solve(block: Block) -> Block:
    """The same block with a nonce that meets the target. Only for easy targets."""
    header = block.header
    target = target_of(header.bits)
    while hash_as_number(header.hash) > target:
        header = make_header(
            header.version, header.previous, header.root, header.time, header.bits,
            header.nonce + 1,
        )  # fmt: skip
    return make_block(header, block.txs)


class ToyChain:
    """Headers, coins and supplies in dictionaries; every block that enters passes every rule."""

    def __init__(self, params: Params = REGTEST) -> None:
        self.params = params
        first = genesis(params)
        self.chain_id: BlockHash = first.header.hash
        self.tree = HeaderTree(params, first.header)
        self.tip: HeaderNode = self.tree.genesis
        self.coins: dict[OutPoint, Coin] = {}
        self.records: dict[AssetId, AssetRecord] = {}
        self.blocks: dict[BlockHash, Block] = {first.header.hash: first}
        self.undo: dict[BlockHash, tuple[tuple[Coin, ...], ...]] = {first.header.hash: ()}
        self.confirmed: set[Txid] = {tx.txid for tx in first.txs}
        self._extranonce = 0
        self._apply(delta_of(first, 0, ()), 0, 1)

    def coin(self, spent: OutPoint, lock: LockHash) -> Coin | None:
        return self.coins.get(spent)

    def coin_at(self, spent: OutPoint) -> Coin | None:
        return self.coins.get(spent)

    def supply(self, asset: AssetId) -> int:
        record = self.records.get(asset)
        return record.supply if record else 0

    def is_confirmed(self, txid: Txid) -> bool:
        return txid in self.confirmed

    def context(self) -> BlockContext:
        """The context of the next block."""
        return BlockContext(self.chain_id, self.tip.height + 1, self.tip.median_time())

    def _apply(self, delta: Delta, height: int, sign: int) -> None:
        gone, come = (delta.spent, delta.created) if sign > 0 else (delta.created, delta.spent)
        for spent in gone:
            del self.coins[spent]
        self.coins.update(come)
        for asset, creation in delta.creations.items():
            if sign > 0:
                self.records[asset] = AssetRecord(
                    creation.definition, creation.authority_of, creation.outpoint,
                    Height(height), 0, 0,
                )  # fmt: skip
        for asset, change in delta.supply.items():
            old = self.records.get(asset) or AssetRecord(None, b"", b"", Height(0), 0, 0)
            self.records[asset] = AssetRecord(
                old.definition, old.authority_of, old.outpoint, old.height,
                old.issued + sign * change.issued, old.destroyed + sign * change.destroyed,
            )  # fmt: skip
        if sign < 0:
            for asset in delta.creations:
                del self.records[asset]

    def template(
        self,
        txs: Sequence[Tx] = (),
        payout: LockHash = DAVE.lock,
        parent: HeaderNode | None = None,
        time: int | None = None,
        reward: int | None = None,
        coinbase: Tx | None = None,
    ) -> Block:
        """A solved block on `parent` (the tip), which need not keep the rules."""
        parent = parent or self.tip
        height = parent.height + 1
        self._extranonce += 1
        if coinbase is None:
            amount = self.params.subsidy_at(height) if reward is None else reward
            coinbase = make_coinbase(
                height, [TxOut(NATIVE, amount, payout)], self._extranonce.to_bytes(8, "big")
            )
        header = make_header(
            VERSION, parent.hash, block_root(coinbase.raw, transactions_root(txs)),
            max(time or 0, earliest_time(parent, self.params)),
            expected_bits(parent, self.tree.genesis, self.params), 0,
        )  # fmt: skip
        return solve(make_block(header, (coinbase, *txs)))

    def mine(
        self, txs: Sequence[Tx] = (), payout: LockHash = DAVE.lock, time: int | None = None
    ) -> Block:
        """Mine and connect a block of `txs` that collects the subsidy only."""
        return self.connect(self.template(txs, payout, time=time).raw)

    def mine_empty(self, count: int, payout: LockHash = DAVE.lock) -> None:
        for _ in range(count):
            self.mine((), payout)

    def connect(self, raw: bytes) -> Block:
        """Connect a block on the tip, by every rule. Raises the kinds of `consensus.errors`."""
        checked = check_block(raw)
        header = checked.block.header
        assert header.previous == self.tip.hash, "only on the tip; disconnect first"
        node = self.tree.add(header, header.time)
        connection = Connection(checked, self.context(), self.params, self.coin, self.supply)
        while (work := connection.step(BLOCK_COST_MAX)) is not None:
            if not are_signed(work):
                raise Invalid(Rule.BAD_SIGNATURE)
        delta = connection.finish()
        self.tree.mark_stored(node)
        self._apply(delta, node.height, 1)
        self.blocks[node.hash] = checked.block
        self.undo[node.hash] = delta.undo
        self.confirmed.update(tx.txid for tx in checked.block.txs)
        self.tip = node
        return checked.block

    def disconnect(self) -> Block:
        """Take the tip off."""
        block = self.blocks[self.tip.hash]
        self._apply(delta_of(block, self.tip.height, self.undo[self.tip.hash]), self.tip.height, -1)
        self.confirmed.difference_update(tx.txid for tx in block.txs)
        assert self.tip.parent is not None
        self.tip = self.tip.parent
        return block

    def coins_of(self, person: Person, asset: AssetId = NATIVE) -> list[OutPoint]:
        """Spendable outpoints of `person`, oldest first."""
        height = self.tip.height + 1
        return [
            spent
            for spent, coin in self.coins.items()
            if coin.lock == person.lock
            and coin.asset == asset
            and not (coin.delayed and height - coin.height < 100)
        ]

    def fund(self, person: Person, blocks: int = 1) -> list[OutPoint]:
        """Give `person` that many mature coinbase coins."""
        self.mine_empty(blocks, person.lock)
        self.mine_empty(100)
        return self.coins_of(person)

    def spend(
        self,
        inputs: Sequence[OutPoint],
        outputs: Sequence[TxOut],
        people: Iterable[Person] = (ALICE, BOB, CAROL, DAVE),
        issuances: Sequence[Issuance] = (),
        expiry: int = 0,
        locks: Sequence[Lock] | None = None,
        preimages: Mapping[bytes, bytes] | None = None,
        scope: int = SCOPE_ALL,
        extra_coins: Mapping[OutPoint, Coin] | None = None,
    ) -> Tx:
        """A signed transaction; without `locks` every coin belongs to one of `people`.

        `extra_coins` are coins that are not in the ledger, such as those of unconfirmed parents.
        """
        people = tuple(people)
        known = {**self.coins, **(extra_coins or {})}
        if locks is None:
            owners = {person.lock: Key(person.pubkey) for person in people}
            locks = [owners[known[spent].lock] for spent in inputs]
        body = Body(1, tuple(inputs), tuple(outputs), tuple(issuances), Height(expiry))
        coins = [known[spent] for spent in inputs]
        return sign_tx(body, coins, locks, people, self.chain_id, preimages, scope)

    def pay(self, payer: Person, payee: Person, amount: int, fee: int = FEE) -> Tx:
        """A payment of one native coin of `payer`, with change."""
        spent = next(s for s in self.coins_of(payer) if self.coins[s].amount >= amount + fee)
        rest = self.coins[spent].amount - amount - fee
        outputs = [TxOut(NATIVE, amount, payee.lock)]
        outputs += [TxOut(NATIVE, rest, payer.lock)] if rest else []
        return self.spend([spent], outputs)

    def check(self, tx: Tx) -> int:
        """Check `tx` as if it stood first in the next block; return its fee."""
        checked = check_tx(tx)
        coins = [self.coins.get(spent) for spent in tx.body.inputs]
        spend = check_spend(checked, coins, self.supply, self.context())
        if not are_signed(spend.checks):
            raise Invalid(Rule.BAD_SIGNATURE)
        return spend.fee

    def coin_set(self) -> dict[OutPoint, Coin]:
        return dict(self.coins)


def coins_made(tx: Tx, height: int, delayed: bool = False) -> dict[OutPoint, Coin]:
    """The coins that `tx` would create at `height`, for spending them before it is mined."""
    return {
        outpoint(tx.txid, index): Coin(out.asset, out.amount, out.lock, Height(height), delayed)
        for index, out in enumerate(tx.body.outputs)
    }


def rebuilt(block: Block, change: Callable[[list[Tx]], Sequence[Tx]]) -> Block:
    """`block` with other transactions, a fitting root and new proof of work."""
    txs = tuple(change(list(block.txs)))
    header = block.header
    root = block_root(txs[0].raw, transactions_root(txs[1:]))
    changed = make_header(header.version, header.previous, root, header.time, header.bits, 0)
    return solve(make_block(changed, txs))


def digest_of(chain: ToyChain) -> str:
    """The coin-set hash that a node on this chain must have."""
    digest = CoinSetDigest()
    for spent, coin in sorted(chain.coins.items(), key=lambda item: item[1].lock + item[0]):
        digest.add(spent, coin)
    return digest.digest().hex()


def blocks_of(chain: ToyChain, after: int = 0) -> list[Block]:
    nodes = [chain.tip.ancestor(height) for height in range(after + 1, chain.tip.height + 1)]
    return [chain.blocks[node.hash] for node in nodes]
