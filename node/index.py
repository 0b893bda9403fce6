"""What a block adds to the indexes: where its transactions are, and what they do to each lock.

Pure. A block that is taken off gives the same rows with the opposite sign.
"""

from __future__ import annotations

from collections.abc import Sequence

from consensus.block import Block
from consensus.tx import BURN_LOCK, Body, Coin
from consensus.tx_rules import is_delayed
from node.blockfiles import HEAD_BYTES
from node.layer import Indexes
from node.layout import (
    FilePosition,
    delayed_key,
    delayed_value,
    history_key,
    history_place,
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
        self._block = block
        self._undo = undo
        self._height = height
        self._file = place.file
        framing = len(block.raw) - sum(len(tx.raw) for tx in block.txs)
        self._offset = place.offset + HEAD_BYTES + framing
        self._sign = sign
        self._next = 0
        self._delayed: dict[bytes, int] = {}

    def step(self, rows: Indexes, size: int) -> bool:
        """Index more transactions, of about `size` inputs and outputs together; return whether
        that was all. The rows go into `rows`, on top of those of earlier blocks."""
        txs = self._block.txs
        while size > 0 and self._next < len(txs):
            position = self._next
            self._next += 1
            tx = txs[position]
            size -= len(tx.body.inputs) + len(tx.body.outputs)
            coins = self._undo[position - 1] if position else ()
            self._index_tx(rows, position, coins)
            if is_delayed(tx.body, self._height):
                self._index_delayed(rows, tx.body)
            length = len(tx.raw)
            value = tx_value(self._height, position, self._file, self._offset, length)
            rows.txs.add((tx.txid, value if self._sign > 0 else None))
            self._offset += length
        return self._next == len(txs)

    def _index_delayed(self, rows: Indexes, body: Body) -> None:
        for output in body.outputs:
            if output.lock != BURN_LOCK:
                key = delayed_key(self._height, output.lock, output.asset)
                old = self._delayed.get(key, 0)
                self._delayed[key] = old + output.amount
                value = delayed_value(old + output.amount)
                rows.delayed[key] = value if self._sign > 0 else None

    def _index_tx(self, rows: Indexes, position: int, coins: Sequence[Coin]) -> None:
        """The history and the balances of every lock and asset that a transaction moves."""
        tx = self._block.txs[position]
        spent: dict[bytes, int] = {}
        received: dict[bytes, int] = {}
        for coin in coins:
            owner = coin.lock + coin.asset
            spent[owner] = spent.get(owner, 0) + coin.amount
        for output in tx.body.outputs:
            if output.lock != BURN_LOCK:
                owner = output.lock + output.asset
                received[owner] = received.get(owner, 0) + output.amount
        add, balances, sign = rows.history.add, rows.balances, self._sign
        place = history_place(self._height, position)
        for owner in spent | received:
            come, gone = received.get(owner, 0), spent.get(owner, 0)
            value = history_value(tx.txid, come, gone) if sign > 0 else None
            add((history_key(owner, place), value))
            old = balances.get(owner)
            if old:
                balances[owner] = old[0] + sign * come, old[1] + sign * gone
            else:
                balances[owner] = sign * come, sign * gone
