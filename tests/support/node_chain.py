"""A real chain in a directory: LevelDB, block files and rules; and the same things counted plainly.

`open_chain` gives a chain that follows the most work, as a node does, without network and mempool.
`Economy` makes valid blocks of every kind. `Recount` says from blocks alone what must be known.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from consensus.asset import asset_id, authority_id
from consensus.block import Block, genesis
from consensus.coins import CoinSetDigest
from consensus.errors import StorageError, Violation
from consensus.hashes import AssetId, BlockHash, LockHash, Txid
from consensus.header_tree import HeaderNode
from consensus.locks import lock_hash
from consensus.params import COINBASE_MATURITY, REGTEST, Params
from consensus.tx import (
    BURN_LOCK,
    NATIVE,
    AfterHeight,
    AssetDefinition,
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
from node.blockfiles import FILE_BYTES_MAX, RecordFiles
from node.chain import Chain, ChainListener, Change
from node.db import Database
from node.layout import BALANCE, COIN, HISTORY, TX
from node.recovery import restore
from node.store import Store
from node.verify import Verifier
from tests.support.chain import ALICE, BOB, CAROL, DAVE, Person, ToyChain

T = TypeVar("T")
FAR_FUTURE = 4_000_000_000.0
"""A clock at which no block of a test lies in the future."""
LIMIT_S = 60.0


def within_limit(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` on a loop of its own; what hangs fails."""

    async def limited() -> T:
        return await asyncio.wait_for(work, LIMIT_S)

    return asyncio.run(limited())


class NodeChain:
    """A chain that runs, and what it told its listener."""

    def __init__(self, params: Params, store: Store, verifier: Verifier) -> None:
        self.changes: list[Change] = []
        self.condemned: list[tuple[HeaderNode, Violation]] = []
        self.headers: list[HeaderNode] = []
        self.store = store
        self.verifier = verifier
        listener = ChainListener(
            self.changes.append, lambda *what: self.condemned.append(what), self.headers.append
        )
        self.chain = Chain(
            genesis(params), params, store, verifier, lambda: FAR_FUTURE, listener
        )  # fmt: skip
        self.following: asyncio.Task[None] | None = None

    def follow(self) -> None:
        self.following = asyncio.create_task(self.chain.run())

    async def settled(self) -> None:
        """Wait until the tip is where it belongs; raise what broke the chain."""
        assert self.following is not None
        settled = asyncio.create_task(self.chain.settled())
        await asyncio.wait([settled, self.following], return_when=asyncio.FIRST_COMPLETED)
        if self.following.done():
            settled.cancel()
            self.following.result()
        await settled

    async def give(self, blocks: Iterable[Block]) -> None:
        """Hand blocks in, in this order, and wait until the tip is where it belongs."""
        for block in blocks:
            await self.chain.accept_block(block.raw)
        await self.settled()

    def best_blocks(self) -> list[Block]:
        """The best chain as it is stored, genesis first."""
        tip = self.chain.tip
        return [self.chain.archive.read(tip.ancestor(h)) for h in range(tip.height + 1)]

    async def coins_on_disk(self) -> dict[OutPoint, Coin]:
        await self.chain.flush()
        return dict(self.store.scan_coins()[1])


async def _end(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.wait([task])


@contextlib.asynccontextmanager
async def open_chain(
    directory: Path, params: Params = REGTEST, *, indexed: bool = True, processes: int = 0,
    file_bytes_max: int = FILE_BYTES_MAX, database_of: Callable[[Path], Database] = Database,
    follows: bool = True,
) -> AsyncIterator[NodeChain]:  # fmt: skip
    """A chain over `directory`. On leaving nothing is flushed, as when the process is killed.

    With `follows` false it stays where it was when it was written.
    """
    for name in ("state", "blocks", "undo"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    writer = ThreadPoolExecutor(1)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(writer.shutdown)
        database = database_of(directory / "state")
        stack.callback(database.close)
        store = Store(
            database,
            RecordFiles(directory / "blocks", "blk", file_bytes_max),
            RecordFiles(directory / "undo", "undo", file_bytes_max),
            writer,
            genesis(params).header.hash,
            indexed,
        )
        stack.callback(store.close)
        verifier = Verifier(processes)
        stack.push_async_callback(verifier.close)
        node = NodeChain(params, store, verifier)
        await restore(node.chain)
        if not follows:
            yield node
            return
        node.follow()

        async def stop() -> None:
            await _end(node.following)

        stack.push_async_callback(stop)
        await node.settled()
        yield node


def with_chain(
    directory: Path, scenario: Callable[[NodeChain], Awaitable[T]], params: Params = REGTEST,
    **options: Any,
) -> T:  # fmt: skip
    """Run `scenario` with a chain in `directory`."""

    async def run() -> T:
        async with open_chain(directory, params, **options) as node:
            return await scenario(node)

    return within_limit(run())


class HeldDatabase(Database):
    """A database whose writes wait, and may fail, as a test says."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.may_write = threading.Event()
        self.may_write.set()
        self.writes = 0
        self.fails = False

    def write(self, rows: Iterable[tuple[bytes, bytes | None]]) -> None:
        self.may_write.wait(LIMIT_S)
        if self.fails:
            raise StorageError("no room on the disk of this test", "make some")
        super().write(rows)
        self.writes += 1


# The same, counted plainly


class History(NamedTuple):
    """What one transaction did to one lock, for one asset."""

    height: int
    position: int
    asset: AssetId
    txid: Txid
    received: int
    spent: int


class Recount:
    """Everything that a node must know after `blocks`, genesis first, computed from them alone."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.coins: dict[OutPoint, Coin] = {}
        self.history: defaultdict[LockHash, list[History]] = defaultdict(list)
        self.txs: dict[Txid, tuple[bytes, int, int]] = {}
        self.issued: defaultdict[AssetId, list[int]] = defaultdict(lambda: [0, 0])
        """Asset → base units issued and destroyed."""
        for height, block in enumerate(blocks):
            for position, tx in enumerate(block.txs):
                self._add(tx, height, position)
        self.issued.pop(NATIVE, None)

    def _add(self, tx: Tx, height: int, position: int) -> None:
        self.txs[tx.txid] = tx.raw, height, position
        moved: defaultdict[tuple[LockHash, AssetId], list[int]] = defaultdict(lambda: [0, 0])
        for spent in tx.body.inputs:
            coin = self.coins.pop(spent)
            moved[coin.lock, coin.asset][1] += coin.amount
        delayed = is_delayed(tx.body, height)
        for index, out in enumerate(tx.body.outputs):
            if out.lock == BURN_LOCK:
                self.issued[out.asset][1] += out.amount
                continue
            moved[out.lock, out.asset][0] += out.amount
            coin = Coin(out.asset, out.amount, out.lock, Height(height), delayed)
            self.coins[outpoint(tx.txid, index)] = coin
        for (lock, asset), (received, gone) in moved.items():
            entry = History(height, position, asset, tx.txid, received, gone)
            self.history[lock].append(entry)
        for issuance in tx.body.issuances:
            if isinstance(issuance, Reissue):
                self.issued[issuance.asset][0] += issuance.amount
                continue
            asset = asset_id(tx.body.inputs[issuance.input_index], issuance.definition)
            self.issued[asset][0] += issuance.amount
            if issuance.definition.reissuable:
                self.issued[authority_id(asset)][0] += 1

    def balances(self, lock: LockHash) -> dict[AssetId, tuple[int, int]]:
        sums: defaultdict[AssetId, list[int]] = defaultdict(lambda: [0, 0])
        for entry in self.history[lock]:
            sums[entry.asset][0] += entry.received
            sums[entry.asset][1] += entry.spent
        return {asset: (received, spent) for asset, (received, spent) in sums.items()}

    def coins_of(self, lock: LockHash) -> list[tuple[OutPoint, Coin]]:
        return sorted((spent, coin) for spent, coin in self.coins.items() if coin.lock == lock)

    def digest(self) -> bytes:
        """The coin-set hash."""
        digest = CoinSetDigest()
        for coin, spent in sorted((coin.lock, spent) for spent, coin in self.coins.items()):
            digest.add(spent, self.coins[spent])
            assert self.coins[spent].lock == coin
        return digest.digest()


def digest_of(coins: dict[OutPoint, Coin]) -> bytes:
    """The coin-set hash of coins that a store gave in its own order."""
    digest = CoinSetDigest()
    for spent, coin in coins.items():
        digest.add(spent, coin)
    return digest.digest()


def assert_store_knows(store: Store, wanted: Recount, page: int = 3) -> None:
    """The store's queries, in memory and on disk, answer as the recount does, page by page."""
    for lock, entries in wanted.history.items():
        assert store.balances(lock) == wanted.balances(lock)
        found_history: list[History] = []
        cursor = b""
        while rows := store.history(lock, cursor, page):
            cursor = rows[-1].cursor
            found_history += [History(*row[:6]) for row in rows]
        assert found_history == sorted(entries, key=lambda e: (e.height, e.position, e.asset))
        found_coins: list[tuple[OutPoint, Coin]] = []
        last = OutPoint(b"")
        while coins := store.coins_of(lock, last, page):
            last = coins[-1][0]
            found_coins += coins
        assert found_coins == wanted.coins_of(lock)
    for spent, coin in wanted.coins.items():
        assert store.coin(spent, coin.lock) == coin
    for txid, (_, height, position) in wanted.txs.items():
        place = store.tx_place(txid)
        assert place is not None
        assert (place.height, place.position) == (height, position)
    found_assets: list[AssetId] = []
    while assets := store.assets(found_assets[-1] if found_assets else AssetId(b""), page):
        found_assets += [asset for asset, _ in assets]
        for asset, record in assets:
            assert [record.issued, record.destroyed] == wanted.issued[asset]
    assert found_assets == sorted(wanted.issued)


def assert_knows(node: NodeChain, wanted: Recount, page: int = 3) -> None:
    """The store knows what is wanted, and its places lead to the transactions."""
    assert_store_knows(node.store, wanted, page)
    for txid, (raw, height, position) in wanted.txs.items():
        found = node.chain.archive.read_tx(txid)
        assert found is not None
        assert (found[0].raw, found[1], found[2]) == (raw, height, position)


def assert_rows_are(directory: Path, wanted: Recount) -> None:
    """The database of a chain that was flushed and closed has the rows of `wanted` and no others."""
    database = Database(directory / "state")
    view = database.view()
    try:
        counts = {kind: sum(1 for _ in view.scan(kind)) for kind in (COIN, HISTORY, BALANCE, TX)}
    finally:
        view.close()
        database.close()
    entries = wanted.history.values()
    assert counts == {
        COIN: len(wanted.coins),
        HISTORY: sum(len(of_lock) for of_lock in entries),
        BALANCE: sum(len({entry.asset for entry in of_lock}) for of_lock in entries),
        TX: len(wanted.txs),
    }


# Blocks of every kind

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
        ways.append(_Way(Threshold(2, (key, AfterHeight(100 + number))), after_height=100 + number))
        hashed = Sha256(hashlib.sha256(SECRET).digest())
        ways.append(_Way(Threshold(1, (hashed, Pruned(person.lock)))))
    return {lock_hash(way.lock): way for way in ways}


WAYS = _ways()
LOCKS = tuple(WAYS)


class Economy:
    """Random valid blocks on a toy chain: payments, issuance, reissue, destruction, time locks."""

    def __init__(self, toy: ToyChain, rng: random.Random) -> None:
        self.toy = toy
        self._rng = rng
        self._pool: dict[OutPoint, Coin] = {}

    def blocks(self, count: int, txs: int = 4) -> list[Block]:
        """Mine `count` blocks of up to `txs` random transactions each."""
        return [self.block(txs) for _ in range(count)]

    def block(self, txs: int = 4) -> Block:
        self._pool = dict(self.toy.coins)
        made = [tx for _ in range(self._rng.randint(0, txs)) if (tx := self._tx()) is not None]
        return self.toy.mine(made, self._rng.choice(LOCKS))

    def _is_ready(self, coin: Coin) -> bool:
        way = WAYS.get(coin.lock)
        height = self.toy.tip.height + 1
        age = height - coin.height
        if way is None or (coin.delayed and age < COINBASE_MATURITY):
            return False
        return age >= way.older and height >= way.after_height

    def _tx(self) -> Tx | None:
        ready = [spent for spent, coin in self._pool.items() if self._is_ready(coin)]
        native = [spent for spent in ready if self._pool[spent].asset == NATIVE]
        if not native:
            return None
        inputs = self._rng.sample(native, min(len(native), self._rng.randint(1, 2)))
        assets = [spent for spent in ready if self._pool[spent].asset != NATIVE]
        if assets and self._rng.random() < 0.7:
            inputs += self._rng.sample(assets, min(len(assets), self._rng.randint(1, 2)))
        issuances: list[Issuance] = []
        amounts: defaultdict[AssetId, int] = defaultdict(int)
        for spent in inputs:
            amounts[self._pool[spent].asset] += self._pool[spent].amount
        self._issue(inputs, issuances, amounts)
        outputs = [out for asset, amount in amounts.items() for out in self._split(asset, amount)]
        expiry = self.toy.tip.height + self._rng.randint(1, 40) if self._rng.random() < 0.2 else 0
        tx = self.toy.spend(
            inputs, outputs, PEOPLE, issuances, expiry,
            locks=[WAYS[self._pool[spent].lock].lock for spent in inputs],
            preimages={hashlib.sha256(SECRET).digest(): SECRET},
            extra_coins=self._pool,
        )  # fmt: skip
        for spent in inputs:
            del self._pool[spent]
        height = Height(self.toy.tip.height + 1)
        for index, out in enumerate(tx.body.outputs):
            if out.lock != BURN_LOCK:
                delayed = is_delayed(tx.body, height)
                coin = Coin(out.asset, out.amount, out.lock, height, delayed)
                self._pool[outpoint(tx.txid, index)] = coin
        return tx

    def _issue(
        self, inputs: Sequence[OutPoint], issuances: list[Issuance], amounts: dict[AssetId, int]
    ) -> None:  # fmt: skip
        reissuable = {
            authority_id(asset): asset for asset in self.toy.records if len(asset) == 32
        }  # fmt: skip
        held = {reissuable[asset] for asset in amounts if asset in reissuable}
        for asset in held:
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
