"""The state of the ledger: the database, what is not written to it yet, and how that is written.

Reads go through two layers (`active`, which blocks are published to, and `previous`, which is being
written or was) to a snapshot of LevelDB. A flush writes one batch that holds coins, assets, indexes,
headers and the tip, so the disk always shows the state at some block.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from itertools import islice
from typing import TypeVar

from consensus.asset import AssetRecord
from consensus.errors import StorageError
from consensus.hashes import AssetId, BlockHash, LockHash, Txid
from consensus.tx import Coin, OutPoint
from node.blockfiles import RecordFiles
from node.database import Database, DatabaseSize, View
from node.histogram import Histogram
from node.layer import Indexes, Layer
from node.layout import (
    ASSET,
    BALANCE,
    COIN,
    DELAYED,
    FORMAT,
    HEADER,
    HISTORY,
    KEY_FORMAT,
    KEY_TIP,
    LOCK_BYTES,
    PAIR_BYTES,
    FormatRow,
    HeaderRow,
    HistoryEntry,
    TipRow,
    TxPlace,
    asset_key,
    asset_value,
    coin_key,
    coin_of,
    coin_row,
    coin_value,
    damaged,
    decode_asset_row,
    decode_format_row,
    decode_header_row,
    decode_tip_row,
    delayed_key,
    delayed_row,
    encode_row,
    header_key,
    history_entry,
    pack_pair,
    tx_key,
    tx_place,
    unpack_pair,
)
from node.staging import Staging

FLUSH_ROWS = 240_000
"""Rows waiting in memory at which a flush is due."""
FLUSH_BOUNDS_S = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
KEPT_MAX = 50_000
"""Coins of the database that are kept because a waiting payment spends them: 100 bytes each, beside
what the payment itself keeps of them."""
Row = tuple[bytes, bytes | None]
T = TypeVar("T")


class Store:
    """The one owner of the database and the two series of files."""

    def __init__(
        self, database: Database, blocks: RecordFiles, undo: RecordFiles, writer: Executor,
        chain_id: BlockHash, indexed: bool = True, monotonic: Callable[[], float] = lambda: 0.0,
    ) -> None:  # fmt: skip
        """`writer` runs one thing at a time; `monotonic`, in seconds, times it. Raises: StorageError."""
        self.blocks = blocks
        self.undo = undo
        self.indexed = indexed
        self.flushes = Histogram(FLUSH_BOUNDS_S)
        self._monotonic = monotonic
        self._database = database
        self._writer = writer
        self._view: View = database.view()
        self._kept: dict[OutPoint, Coin] = {}
        """Some coins that stand in `_view`: a look-up takes 0.1 us here and 3 us there."""
        self._flushing: asyncio.Task[None] | None = None
        self._failure: StorageError | None = None
        self._headers: dict[BlockHash, HeaderRow] = {}
        self._check_format(chain_id)
        tip = self._view.get(KEY_TIP)
        self.flushed: TipRow | None = decode_tip_row(tip) if tip else None
        """The block at which the disk stands; None in a new directory."""
        self._tip_hash = self.flushed.hash if self.flushed else b""
        self._active = Layer()
        self._previous = Layer()
        self._previous_on_disk = True

    def _check_format(self, chain_id: BlockHash) -> None:
        wanted = FormatRow(FORMAT, chain_id, self.indexed)
        value = self._view.get(KEY_FORMAT)
        if value is None:
            self._database.write([(KEY_FORMAT, encode_row(wanted))])
            return
        found = decode_format_row(value)
        if found.chain_id != chain_id:
            raise StorageError(
                "the data directory belongs to another network",
                "give the --network that it was made for, or another --datadir",
            )
        if found.format != FORMAT:
            newer = "start the taeld that wrote it, or a newer one, or "
            raise StorageError(
                f"the database has format {found.format}, this program reads {FORMAT}",
                f"{newer if found.format > FORMAT else ''}start once with --reindex to rebuild it "
                "from the block files",
            )
        if found.indexed != self.indexed:
            state = "with" if found.indexed else "without"
            raise StorageError(
                f"the data directory was made {state} indexes",
                "start once with --reindex to change that",
            )

    # Reading

    def coin(self, outpoint: OutPoint, lock: LockHash, keep: bool = False) -> Coin | None:
        """The coin at `outpoint`, if it is locked to `lock`; in memory, whatever its lock.

        `keep`: it will be asked for again, as when a payment waits for its block.
        """
        for layer in (self._active, self._previous):
            coin = layer.created.get(outpoint)
            if coin is not None:
                return coin
            if outpoint in layer.spent:
                return None
        coin = self._kept.get(outpoint)
        if coin is None:
            value = self._view.get(coin_key(lock, outpoint))
            coin = coin_of(lock, value) if value is not None else None
            if keep and coin is not None:
                self._keep(outpoint, coin)
        return coin

    def _keep(self, outpoint: OutPoint, coin: Coin) -> None:
        self._kept[outpoint] = coin
        if len(self._kept) > KEPT_MAX:
            del self._kept[next(iter(self._kept))]

    def asset(self, asset: AssetId) -> AssetRecord | None:
        """The record of an asset; that of the native coin has the empty id."""
        for layer in (self._active, self._previous):
            if asset in layer.assets:
                return layer.assets[asset]
        value = self._view.get(asset_key(asset))
        return decode_asset_row(value) if value is not None else None

    def supply(self, asset: AssetId) -> int:
        record = self.asset(asset)
        return record.supply if record else 0

    def assets(self, after: AssetId, limit: int) -> list[tuple[AssetId, AssetRecord]]:
        """Issued assets and authority coins in the order of their ids, from behind `after` on."""
        newer = {**self._previous.assets, **self._active.assets}
        memory = sorted((a, record) for a, record in newer.items() if a > after and record)
        rows = self._view.scan(ASSET, ASSET + after)
        disk = ((AssetId(k[1:]), decode_asset_row(v)) for k, v in rows if k[1:] not in newer)
        return list(islice(heapq.merge(memory, disk, key=lambda item: item[0]), limit))

    def tx_place(self, txid: Txid) -> TxPlace | None:
        for layer in (self._active, self._previous):
            places = layer.indexes.txs.by_txid()
            if txid in places:
                value = places[txid]
                return tx_place(value) if value is not None else None
        value = self._view.get(tx_key(txid))
        return tx_place(value) if value is not None else None

    def balances(self, lock: LockHash) -> dict[AssetId, tuple[int, int]]:
        """Base units of each asset that the lock ever received, and ever spent."""
        found = {
            AssetId(key[1 + LOCK_BYTES :]): unpack_pair(value)
            for key, value in self._view.scan(BALANCE + lock)
        }
        for layer in (self._previous, self._active):
            for key in layer.indexes.balances_of(lock):
                asset = AssetId(key[LOCK_BYTES:])
                received, spent = layer.indexes.balances[key]
                old = found.get(asset, (0, 0))
                found[asset] = (old[0] + received, old[1] + spent)
        return {asset: sums for asset, sums in found.items() if sums != (0, 0)}

    def coins_of(
        self, lock: LockHash, after: OutPoint, limit: int
    ) -> list[tuple[OutPoint, Coin]]:  # fmt: skip
        """Coins of a lock in the order of their outpoints, from behind `after` on."""
        dirty = [self._active] + ([] if self._previous_on_disk else [self._previous])
        memory = []
        for outpoint in {o for layer in dirty for o in layer.coins_of(lock) if o > after}:
            coin = self.coin(outpoint, lock)
            if coin is not None:
                memory.append((outpoint, coin))
        rows = (coin_row(*row) for row in self._view.scan(COIN + lock, COIN + lock + after))
        disk = (
            (outpoint, coin)
            for outpoint, coin in rows
            if not any(outpoint in x.created or outpoint in x.spent for x in dirty)
        )
        memory.sort(key=lambda item: item[0])
        return list(islice(heapq.merge(memory, disk, key=lambda item: item[0]), limit))

    def history(self, lock: LockHash, after: bytes, limit: int) -> list[HistoryEntry]:
        """What happened to a lock, oldest first, from behind the entry with cursor `after` on."""
        start = HISTORY + lock + after
        newer = {
            key: value
            for layer in (self._previous, self._active)
            for key, value in layer.indexes.history.of(lock).items()
            if key > start
        }
        memory = sorted((key, value) for key, value in newer.items() if value is not None)
        rows = self._view.scan(HISTORY + lock, start)
        disk = ((key, value) for key, value in rows if key not in newer)
        return [history_entry(*row) for row in islice(heapq.merge(memory, disk), limit)]

    def history_back(self, lock: LockHash, before: bytes, limit: int) -> list[HistoryEntry]:
        """The same from behind: before the entry with cursor `before`, or from the last one on."""
        prefix = HISTORY + lock
        stop = prefix + before if before else b""
        newer = {
            key: value
            for layer in (self._previous, self._active)
            for key, value in layer.indexes.history.of(lock).items()
            if not stop or key < stop
        }
        memory = sorted(((k, v) for k, v in newer.items() if v is not None), reverse=True)
        rows = self._view.scan_back(prefix, stop)
        disk = ((key, value) for key, value in rows if key not in newer)
        merged = heapq.merge(memory, disk, reverse=True)
        return [history_entry(*row) for row in islice(merged, limit)]

    def delayed(self, first: int) -> Iterator[tuple[LockHash, AssetId, int]]:
        """What blocks from height `first` on made that matures like a coinbase: to which lock, of
        which asset, and how many base units."""
        newer = {**self._previous.indexes.delayed, **self._active.indexes.delayed}
        start = delayed_key(first)
        for key, value in newer.items():
            if value is not None and key > start:
                yield delayed_row(key, value)
        for key, old in self._view.scan(DELAYED, start):
            if key not in newer:
                yield delayed_row(key, old)

    def headers(self) -> list[HeaderRow]:
        """Every header on disk, parents first."""
        rows = [decode_header_row(value) for _, value in self._view.scan(HEADER)]
        return sorted(rows, key=lambda row: row.height)

    # Changing

    def stage(self, below: Staging | None = None) -> Staging:
        """Room for changes on top of the state, or of changes that are published before these."""
        return Staging(below or self)

    def publish(self, staging: Staging, tip_hash: BlockHash) -> None:
        """Make what was staged the state, at once. It now stands at block `tip_hash`."""
        assert staging.below is self, "what lies below is published first"
        self._active.absorb(staging.layer)
        self._tip_hash = tip_hash

    def index_some(self, size: int) -> bool:
        """Make some index rows of what was published, of about `size` inputs and outputs; return
        whether any were due. Whoever asks for a row before gets it all the same."""
        return self._active.index_some(size)

    def put_header(self, block_hash: BlockHash, row: HeaderRow) -> None:
        """Remember a header; it is written with the next flush."""
        self._headers[block_hash] = row

    @property
    def waiting(self) -> int:
        """Rows that the next flush would write."""
        return len(self._active) + len(self._headers)

    @property
    def is_flushing(self) -> bool:
        return self._flushing is not None

    @property
    def kept(self) -> int:
        """Coins of the database that are kept in memory."""
        return len(self._kept)

    @property
    def database_size(self) -> DatabaseSize:
        return self._database.measure()

    def check_flushes(self) -> None:
        """Raises: StorageError if a flush failed.

        What that one held is missing on disk, so nothing may be written after it: a later batch
        that succeeds would leave a hole. Reads stay right until the node stops.
        """
        if self._failure is not None:
            raise StorageError(self._failure.what, self._failure.remedy)

    async def start_flush(self) -> None:
        """Begin to write everything published, when no other flush runs. Raises: StorageError."""
        while self._flushing is not None:
            await asyncio.wait([self._flushing])
        self.check_flushes()
        tip = TipRow(self._tip_hash, self.blocks.end, self.undo.end)
        if self.waiting or tip != self.flushed:
            # A task of its own: half a flush must not be left behind by a caller that gives up.
            self._flushing = asyncio.create_task(self._flush())

    async def flush(self) -> None:
        """Write everything published. Raises: StorageError."""
        await self.start_flush()
        if self._flushing is not None:
            await asyncio.wait([self._flushing])
        self.check_flushes()

    async def finish(self) -> None:
        """Return when nothing is being written any more."""
        while self._flushing is not None:
            await asyncio.wait([self._flushing])

    async def _flush(self) -> None:
        layer, headers, view = self._active, self._headers, self._view
        tip = TipRow(self._tip_hash, self.blocks.end, self.undo.end)
        self._previous, self._previous_on_disk = layer, False
        self._active, self._headers = Layer(), {}
        indexes = layer.indexes  # asked for here, so that none are made in the other thread

        def write() -> None:
            # Files first: a row must never lead to bytes that are not on the disk.
            self.blocks.sync()
            self.undo.sync()
            self._database.write(_rows(layer, indexes, headers, tip, view))

        began = self._monotonic()
        try:
            await asyncio.get_running_loop().run_in_executor(self._writer, write)
        except StorageError as error:
            self._failure = error
            return
        finally:
            self._flushing = None
        self.flushed = tip
        self.flushes.note(self._monotonic() - began)
        # The new view already has what `layer` added, so nobody may add it again.
        self._view = self._database.view()
        for outpoint in layer.spent:  # one that exists again may be read again
            self._kept.pop(outpoint, None)
        layer.forget_rows()
        self._previous_on_disk = True
        view.close()

    def scan_coins(self) -> tuple[BlockHash, Iterator[tuple[OutPoint, Coin]]]:
        """The block at which the disk stands, and every coin there, by lock and then outpoint."""
        view, tip = self.snapshot()

        def coins() -> Iterator[tuple[OutPoint, Coin]]:
            try:
                for row in view.scan(COIN):
                    yield coin_row(*row)
            finally:
                view.close()

        return BlockHash(tip.hash), coins()

    def scan_locks(self) -> Iterator[LockHash]:
        """Every lock that the indexes on disk know, once."""
        view, _ = self.snapshot()
        last = b""
        try:
            for key, _ in view.scan(BALANCE):
                lock = key[len(BALANCE) : len(BALANCE) + LOCK_BYTES]
                if lock != last:
                    last = lock
                    yield LockHash(lock)
        finally:
            view.close()

    def snapshot(self) -> tuple[View, TipRow]:
        """The database as it stands now, and the row that says at which block; flushed before."""
        view = self._database.view()
        tip = view.get(KEY_TIP)
        assert tip is not None, "flush first"
        return view, decode_tip_row(tip)

    async def beside(self, work: Callable[[], T]) -> T:
        """Run `work`, which takes milliseconds, in the writer's thread, in turn with flushes."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, work)

    def close(self) -> None:
        self._view.close()
        self._database.empty_log()
        self._database.close()
        self.blocks.close()
        self.undo.close()


def _rows(
    layer: Layer, indexes: Indexes, headers: dict[BlockHash, HeaderRow], tip: TipRow, view: View
) -> Iterator[Row]:
    """The rows that bring the database from `view` to `layer`; of one key, the last counts."""
    for outpoint, coin in layer.spent.items():
        yield coin_key(coin.lock, outpoint), None
    for outpoint, coin in layer.created.items():
        yield coin_key(coin.lock, outpoint), coin_value(coin)
    for asset, record in layer.assets.items():
        yield asset_key(asset), asset_value(record) if record else None
    for txid, value in indexes.txs:
        yield tx_key(Txid(txid)), value
    yield from indexes.history
    yield from indexes.delayed.items()
    for key, (received, spent) in indexes.balances.items():
        old = unpack_pair(view.get(BALANCE + key) or bytes(PAIR_BYTES))
        sums = old[0] + received, old[1] + spent
        if min(sums) < 0:
            raise damaged("balance row")
        yield BALANCE + key, pack_pair(*sums) if sums != (0, 0) else None
    for block_hash, row in headers.items():
        yield header_key(block_hash), encode_row(row)
    yield KEY_TIP, encode_row(tip)
