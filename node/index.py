"""What a block adds to the indexes: where its transactions are, and what they do to each lock.

Pure. A block that is taken off gives the same rows with the opposite sign.
"""

from __future__ import annotations

from collections.abc import Sequence

from consensus.block import Block
from consensus.hashes import AssetId, LockHash
from consensus.tx import BURN_LOCK, Body, Coin
from consensus.tx_rules import is_delayed
from node.blockfiles import HEAD_BYTES
from node.layer import Indexes
from node.layout import (
    FilePosition,
    TxPlace,
    delayed_key,
    delayed_value,
    history_key,
    history_value,
    tx_value,
)


class BlockIndexer:
    """Makes the index rows of one block, some transactions at a time: `step` until it is True."""

    def __init__(
        self, block: Block, undo: Sequence[Sequence[Coin]], height: int, place: FilePosition,
        sign: int,
    ) -> None:  # fmt: skip
        """`place` is that of the block's record; `sign` −1 makes the rows that undo."""
        self.rows = Indexes()
        self._block = block
        self._undo = undo
        self._height = height
        self._file = place.file
        framing = len(block.raw) - sum(len(tx.raw) for tx in block.txs)
        self._offset = place.offset + HEAD_BYTES + framing
        self._sign = sign
        self._next = 0
        self._delayed: dict[bytes, int] = {}

    def step(self, size: int) -> bool:
        """Index more transactions, of about `size` inputs and outputs together; return whether
        that was all."""
        txs = self._block.txs
        while size > 0 and self._next < len(txs):
            position = self._next
            self._next += 1
            tx = txs[position]
            size -= len(tx.body.inputs) + len(tx.body.outputs)
            coins = self._undo[position - 1] if position else ()
            self._index_tx(position, coins)
            if is_delayed(tx.body, self._height):
                self._index_delayed(tx.body)
            length = len(tx.raw)
            place = TxPlace(self._height, position, self._file, self._offset, length)
            self.rows.txs[tx.txid] = tx_value(place) if self._sign > 0 else None
            self._offset += length
        return self._next == len(txs)

    def _index_delayed(self, body: Body) -> None:
        for output in body.outputs:
            if output.lock != BURN_LOCK:
                key = delayed_key(self._height, output.lock, output.asset)
                old = self._delayed.get(key, 0)
                self._delayed[key] = old + output.amount
                value = delayed_value(old + output.amount)
                self.rows.delayed[key] = value if self._sign > 0 else None

    def _index_tx(self, position: int, coins: Sequence[Coin]) -> None:
        tx = self._block.txs[position]
        moved: dict[tuple[LockHash, AssetId], tuple[int, int]] = {}
        for coin in coins:
            received, spent = moved.get((coin.lock, coin.asset), (0, 0))
            moved[coin.lock, coin.asset] = received, spent + coin.amount
        for output in tx.body.outputs:
            if output.lock != BURN_LOCK:
                received, spent = moved.get((output.lock, output.asset), (0, 0))
                moved[output.lock, output.asset] = received + output.amount, spent
        history, balances, sign = self.rows.history, self.rows.balances, self._sign
        for (lock, asset), (received, spent) in moved.items():
            key = history_key(lock, self._height, position, asset)
            history[key] = history_value(tx.txid, received, spent) if sign > 0 else None
            old = balances.get(lock + asset)
            if old:
                balances[lock + asset] = old[0] + sign * received, old[1] + sign * spent
            else:
                balances[lock + asset] = sign * received, sign * spent
