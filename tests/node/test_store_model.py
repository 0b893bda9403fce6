"""The store against a plain recount: random blocks, reorganisations, flushes and restarts.

The transactions are made up: the store believes what it is told, and the rules are tested elsewhere.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.asset import asset_id, authority_id
from consensus.block import Block, make_block, make_header
from consensus.connect import delta_of
from consensus.hashes import AssetId, BlockHash, LockHash, Txid
from consensus.tx import (
    BURN_LOCK,
    NATIVE,
    AssetDefinition,
    Body,
    Coin,
    Height,
    Issuance,
    Issue,
    OutPoint,
    Tx,
    TxOut,
    make_coinbase,
    make_tx,
)
from node import store
from node.blockfiles import RecordFiles
from node.index import BlockIndexer
from node.layout import FilePosition
from node.staging import Staging
from node.store import Store
from tests.support.node_chain import HeldDatabase
from tests.support.recount import Recount, assert_rows_are, assert_store_knows, digest_of

LOCKS = [LockHash(bytes((byte,)) * 32) for byte in (0x01, 0x7F, 0xFE, 0xFF)]
LOCKS.append(LockHash(b"\xff" * 31 + b"\xfe"))
CHAIN_ID = BlockHash(b"the chain of the model".ljust(32))


class Maker:
    """Makes up blocks. Transactions that were taken off come again at other heights."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._serial = 0
        self._loose: list[Tx] = []

    def lose(self, block: Block) -> None:
        self._loose += block.txs[1:]

    def block(self, before: Recount, height: int) -> Block:
        self._serial += 1
        reward = TxOut(NATIVE, 10**6, self._rng.choice(LOCKS))
        txs = [make_coinbase(height, [reward], self._serial.to_bytes(8, "big"))]
        coins = dict(before.coins)
        for loose in self._rng.sample(self._loose, min(2, len(self._loose))):
            if all(spent in coins for spent in loose.body.inputs):
                self._take(loose, coins, height, txs)
                self._loose.remove(loose)
        for _ in range(self._rng.randint(0, 3)):
            if coins:
                self._take(self._tx(coins), coins, height, txs)
        header = make_header(1, BlockHash(bytes(32)), bytes(32), self._serial, 0, 0)
        return make_block(header, txs)

    def _take(self, tx: Tx, coins: dict[OutPoint, Coin], height: int, txs: list[Tx]) -> None:
        if tx.txid in {other.txid for other in txs}:
            return
        txs.append(tx)
        for spent in tx.body.inputs:
            del coins[spent]
        for index, out in enumerate(tx.body.outputs):
            if out.lock != BURN_LOCK:
                place = OutPoint(tx.txid + index.to_bytes(4, "big"))
                coins[place] = Coin(out.asset, out.amount, out.lock, Height(height), False)

    def _tx(self, coins: dict[OutPoint, Coin]) -> Tx:
        inputs = self._rng.sample(sorted(coins), min(len(coins), self._rng.randint(1, 3)))
        issuances: list[Issuance] = []
        outputs: list[TxOut] = []
        for coin in (coins[spent] for spent in inputs):
            kept = self._rng.randint(1, coin.amount)
            lock = BURN_LOCK if self._rng.random() < 0.1 else self._rng.choice(LOCKS)
            outputs.append(TxOut(coin.asset, kept, lock))
            if kept < coin.amount:
                outputs.append(TxOut(coin.asset, coin.amount - kept, self._rng.choice(LOCKS)))
        if self._rng.random() < 0.3:
            definition = AssetDefinition(b"T", b"t", 0, b"", self._rng.random() < 0.5)
            issuances.append(Issue(0, definition, 500))
            asset = asset_id(inputs[0], definition)
            outputs.append(TxOut(asset, 500, self._rng.choice(LOCKS)))
            if definition.reissuable:
                outputs.append(TxOut(authority_id(asset), 1, self._rng.choice(LOCKS)))
        return make_tx(Body(1, tuple(inputs), tuple(outputs), tuple(issuances), Height(0)), ())


def undo_of(block: Block, before: Recount, height: int) -> tuple[tuple[Coin, ...], ...]:
    coins = dict(before.coins)
    undo = []
    for tx in block.txs:
        if tx.body.inputs:
            undo.append(tuple(coins.pop(spent) for spent in tx.body.inputs))
        for index, out in enumerate(tx.body.outputs):
            place = OutPoint(tx.txid + index.to_bytes(4, "big"))
            delayed = not tx.body.inputs
            coins[place] = Coin(out.asset, out.amount, out.lock, Height(height), delayed)
    return tuple(undo)


class Model:
    """A store, and the blocks that it must stand at."""

    def __init__(self, directory: Path, rng: Random) -> None:
        self._directory = directory
        self._rng = rng
        self._maker = Maker(rng)
        self._loop = asyncio.new_event_loop()
        self._writer = ThreadPoolExecutor(1)
        self._flushing: asyncio.Task[None] | None = None
        self._pending: list[Block] = []
        self.blocks: list[Block] = []
        self.flushed: list[Block] = []
        self.seen: dict[Txid, None] = {}
        self.seen_coins: dict[OutPoint, Coin] = {}
        self._open()

    def _open(self) -> None:
        self._database = HeldDatabase(self._directory / "state")
        blocks = RecordFiles(self._directory / "blk", "blk")
        undo = RecordFiles(self._directory / "undo", "undo")
        self.store = Store(self._database, blocks, undo, self._writer, CHAIN_ID)

    def close(self) -> None:
        self.end_flush()
        self.store.close()
        self._writer.shutdown()
        self._loop.close()

    def _put(self, staging: Staging, blocks: Sequence[Block], block: Block, sign: int) -> None:
        height, before = len(blocks), Recount(blocks)
        undo = undo_of(block, before, height)
        place = FilePosition(0, 1_000 * height)
        staging.layer.index_later(BlockIndexer(block, undo, height, place, sign))
        # Any part of what is due may still be missing when the next thing happens.
        for _ in range(self._rng.randint(0, 4)):
            staging.layer.index_some(2)
        staging.apply(delta_of(block, height, undo), height, sign)

    def move(self, depth: int, rise: int) -> None:
        """Take `depth` blocks off and put `rise` others on, all at once."""
        depth = min(depth, len(self.blocks) - 1) if self.blocks else 0
        kept = self.blocks[: len(self.blocks) - depth]
        staging = self.store.stage()
        for height in range(len(self.blocks) - 1, len(kept) - 1, -1):
            self._put(staging, self.blocks[:height], self.blocks[height], -1)
            self._maker.lose(self.blocks[height])
        for _ in range(rise):
            block = self._maker.block(Recount(kept), len(kept))
            self.seen |= dict.fromkeys(tx.txid for tx in block.txs)
            self._put(staging, kept, block, 1)
            kept.append(block)
        if not kept:
            return
        self.store.publish(staging, kept[-1].header.hash)
        self.blocks = kept

    def begin_flush(self) -> None:
        """Start a flush that stops before it writes."""
        if self._flushing is not None or not self.blocks:
            return
        self._database.may_write.clear()
        self._flushing = self._loop.create_task(self.store.flush())
        self._pending = list(self.blocks)
        for _ in range(3):
            self._loop.run_until_complete(asyncio.sleep(0))

    def end_flush(self) -> None:
        if self._flushing is not None:
            self._database.may_write.set()
            self._loop.run_until_complete(self._flushing)
            self._flushing = None
            self.flushed = self._pending

    def restart(self) -> None:
        """What was not flushed is gone."""
        self.end_flush()
        self.store.close()
        self._open()
        self.blocks = list(self.flushed)

    def check(self) -> None:
        wanted = Recount(self.blocks)
        for spent, coin in wanted.coins.items():
            if self._rng.randint(0, 1):
                assert self.store.coin(spent, coin.lock, keep=True) == coin
        self.seen_coins |= wanted.coins
        for spent in self.seen_coins.keys() - wanted.coins.keys():
            assert self.store.coin(spent, self.seen_coins[spent].lock, keep=True) is None
        assert_store_knows(self.store, wanted, self._rng.randint(1, 4))
        for lock in LOCKS:
            if lock not in wanted.history:
                assert self.store.balances(lock) == {}
                assert self.store.history(lock, b"", 9) == []
                assert self.store.coins_of(lock, OutPoint(b""), 9) == []
        for txid in self.seen.keys() - wanted.txs.keys():
            assert self.store.tx_place(txid) is None
            for index in range(8):
                place = OutPoint(txid + index.to_bytes(4, "big"))
                assert all(self.store.coin(place, lock) is None for lock in LOCKS)
        for asset in (AssetId(b""), *wanted.issued):
            supply = sum(coin.amount for coin in wanted.coins.values() if coin.asset == asset)
            assert self.store.supply(asset) == supply

    def check_disk(self) -> None:
        self.end_flush()
        if self.flushed:
            tip, coins = self.store.scan_coins()
            assert tip == self.flushed[-1].header.hash
            assert digest_of(dict(coins)) == Recount(self.flushed).digest()


@pytest.fixture(autouse=True)
def _few_coins_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "KEPT_MAX", 7)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("move"), st.integers(0, 6), st.integers(0, 6)),
        st.tuples(st.sampled_from(["begin_flush", "end_flush", "restart"])),
    ),
    min_size=1,
    max_size=14,
)


@settings(max_examples=80)
@given(steps=STEPS, rng=st.randoms(use_true_random=False))
def test_whatever_happens_the_store_knows_what_a_recount_knows(
    steps: list[tuple[str, int, int] | tuple[str]], rng: Random
) -> None:
    with tempfile.TemporaryDirectory() as name:
        model = Model(Path(name), rng)
        try:
            for what, *arguments in steps:
                getattr(model, what)(*arguments)
                model.check()
            model.check_disk()
            model.begin_flush()
            model.check_disk()
        finally:
            model.close()
        if model.flushed:
            assert_rows_are(Path(name), Recount(model.flushed))
