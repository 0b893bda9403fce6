"""The rows of the database against a recount: each that should be there is, and there are no others.

Rows of a block are looked up while it is at hand and counted; in the end as many must stand in the
database. So the indexes of a long chain need no memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from consensus.block import Block
from consensus.hashes import AssetId, LockHash
from node.blockfiles import HEAD_BYTES
from node.db import View
from node.layout import (
    ASSET,
    BALANCE,
    COIN,
    DELAYED,
    HISTORY,
    LOCK_BYTES,
    TX,
    FilePosition,
    coin_row,
    decode_asset_row,
    delayed_key,
    delayed_value,
    history_key,
    history_place,
    history_value,
    pack_pair,
    tx_key,
    tx_value,
)
from node.recount import Counted, Recount

REMEDY = "start once with --reindex to rebuild the database from the block files"
_INDEXES = {
    TX: "transaction index",
    HISTORY: "address index",
    DELAYED: "index of what matures",
    BALANCE: "balances",
}


class RowCheck:
    """Compares one view of a database. Reads raise StorageError."""

    def __init__(self, view: View, indexed: bool, add: Callable[[str, str], None]) -> None:
        self._view = view
        self._indexed = indexed
        self._add = add
        self._counts: Counter[bytes] = Counter()

    def check_block(self, block: Block, height: int, place: FilePosition, counted: Counted) -> None:
        """See that the index rows of a block are there."""
        if not self._indexed:
            return
        end = place.offset + HEAD_BYTES + len(block.raw)
        for position in range(len(block.txs) - 1, -1, -1):
            tx = block.txs[position]
            end -= len(tx.raw)
            value = tx_value(height, position, place.file, end, len(tx.raw))
            self._expect(tx_key(tx.txid), value, height)
        for moved in counted.moved:
            key = history_key(moved.lock + moved.asset, history_place(height, moved.position))
            value = history_value(moved.txid, moved.received, moved.spent)
            self._expect(key, value, height)
        for (lock, asset), amount in counted.delayed.items():
            self._expect(delayed_key(height, lock, asset), delayed_value(amount), height)

    def _expect(self, key: bytes, value: bytes, height: int) -> None:
        kind = key[:1]
        self._counts[kind] += 1
        if self._view.get(key) != value:
            self._add(f"{_INDEXES[kind]}: a row of block {height} is wrong or missing", REMEDY)

    def compare(self, recount: Recount) -> None:
        """See that coins, assets and balances are those of `recount`, and count the other rows."""
        self._compare_coins(recount)
        self._compare_assets(recount)
        if self._indexed:
            self._compare_balances(recount)
        for kind in (TX, HISTORY, DELAYED):
            found = sum(1 for _ in self._view.scan(kind))
            if found != self._counts[kind]:
                self._add(f"{_INDEXES[kind]}: {found} rows, not {self._counts[kind]}", REMEDY)

    def _compare_coins(self, recount: Recount) -> None:
        wrong = surplus = found = 0
        for key, value in self._view.scan(COIN):
            outpoint, coin = coin_row(key, value)
            wanted = recount.coins.get(outpoint)
            found += wanted is not None
            surplus += wanted is None
            wrong += wanted is not None and wanted != coin
        missing = len(recount.coins) - found
        if wrong or surplus or missing:
            self._add(
                f"coin set: {missing} coins missing, {surplus} too many, {wrong} with other values",
                REMEDY,
            )

    def _compare_assets(self, recount: Recount) -> None:
        wanted = recount.assets()
        found = {AssetId(key[1:]): decode_asset_row(value) for key, value in self._view.scan(ASSET)}
        for asset in sorted(wanted.keys() | found.keys()):
            if wanted.get(asset) != found.get(asset):
                name = f"asset {asset[::-1].hex()}" if asset else "native coin"
                self._add(f"supply or record of the {name} differs from the blocks", REMEDY)

    def _compare_balances(self, recount: Recount) -> None:
        found = wrong = 0
        for key, value in self._view.scan(BALANCE):
            lock, asset = LockHash(key[1 : 1 + LOCK_BYTES]), AssetId(key[1 + LOCK_BYTES :])
            wanted = recount.balances.get((lock, asset))
            found += wanted is not None
            wrong += wanted is None or pack_pair(*wanted) != value
        missing = len(recount.balances) - found
        if wrong or missing:
            self._add(f"{_INDEXES[BALANCE]}: {missing} missing, {wrong} wrong", REMEDY)
