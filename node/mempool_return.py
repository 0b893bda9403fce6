"""What has to be looked at again after a reorganisation, in the order in which that makes sense.

First the transactions of disconnected blocks, oldest first; then entries that stepped aside because
they spend from those or depend on heights and times, in their order of arrival.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from consensus.block import Block
from consensus.tx import Tx
from node.mempool_entry import Entry

RETURNING_BYTES_MAX = 20_000_000
"""Bytes of transactions of disconnected blocks that are kept. Beyond it the newest are forgotten,
since what is older does not depend on them."""


class Returning:
    """A queue that grows at its front while blocks are disconnected."""

    def __init__(self) -> None:
        self._mined: deque[Tx] = deque()
        self._mined_bytes = 0
        self._aside: list[Entry] = []
        self.reorganised = False
        """Whether a block was disconnected since the last `seal`."""

    def __bool__(self) -> bool:
        return bool(self._mined or self._aside)

    def add_block(self, block: Block) -> None:
        """The block below all that were added since the last `seal`."""
        self.reorganised = True
        self._mined.extendleft(reversed(block.txs[1:]))
        self._mined_bytes += sum(len(tx.raw) for tx in block.txs[1:])
        while self._mined_bytes > RETURNING_BYTES_MAX:
            self._mined_bytes -= len(self._mined.pop().raw)

    def add_entry(self, entry: Entry) -> None:
        """An entry that was taken out for the time being."""
        self._aside.append(entry)

    def seal(self) -> None:
        """The reorganisation is complete."""
        self.reorganised = False
        self._aside.sort(key=lambda entry: entry.sequence, reverse=True)

    def take(self, count: int | None) -> Iterator[tuple[Tx, Entry | None]]:
        """Take out up to `count`, or all: a mined transaction, or an entry that stepped aside."""
        left = len(self._mined) + len(self._aside) if count is None else count
        while left > 0 and self:
            left -= 1
            if self._mined:
                tx = self._mined.popleft()
                self._mined_bytes -= len(tx.raw)
                yield tx, None
            else:
                entry = self._aside.pop()
                yield entry.tx, entry
