"""What a block adds to the indexes: where its transactions are, and what they do to each lock.

Pure. A block that is taken off gives the same rows with the opposite sign.
"""

from __future__ import annotations

from collections.abc import Sequence

from consensus.block import Block
from consensus.hashes import AssetId, LockHash
from consensus.tx import BURN_LOCK, Coin
from node.blockfiles import HEAD_BYTES
from node.layer import Indexes
from node.layout import FilePosition, TxPlace, history_key, history_value, tx_value


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

    def step(self, count: int) -> bool:
        """Index up to `count` more transactions; return whether that was all."""
        txs = self._block.txs
        end = min(len(txs), self._next + count)
        for position in range(self._next, end):
            tx = txs[position]
            coins = self._undo[position - 1] if position else ()
            self._index_tx(position, coins)
            size = len(tx.raw)
            place = TxPlace(self._height, position, self._file, self._offset, size)
            self.rows.txs[tx.txid] = tx_value(place) if self._sign > 0 else None
            self._offset += size
        self._next = end
        return end == len(txs)

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
