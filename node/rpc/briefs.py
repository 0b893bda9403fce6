"""What getblock says of a block's transactions in short, which never changes: sizes and txids.

Kept for the blocks that were asked for last. To decode 2 000 payments takes milliseconds, to write what
is kept takes 60 µs.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import NamedTuple

import msgspec

from consensus.block import decode_parts
from consensus.codec import encode
from consensus.hashes import BlockHash, hash_txid, to_text
from node.rpc.json import fragment
from node.rpc.shapes import cost_of_parts

BRIEFS_BYTES_MAX = 8 << 20
"""Text of txids that is kept: of sixty full blocks of ordinary payments."""
TXS_PER_TURN = 100
"""Transactions decoded before others get a turn: some 200 µs."""


class Brief(NamedTuple):
    """A block without its transactions, but for their ids."""

    size: int
    """Bytes of the block."""
    cost: int
    txids: msgspec.Raw
    """A JSON array."""


async def make_brief(raw: bytes) -> Brief:
    """The brief of a stored block; others get a turn now and then."""
    cost, txids = 0, []
    for number, tx in enumerate(decode_parts(raw).transactions, 1):
        # Encoded again instead of cut out of the block: the decoder does not tell where it was.
        body_raw = encode(tx.body)
        size = 1 + len(body_raw) + len(encode(tx.witnesses))
        cost += cost_of_parts(tx.body, tx.witnesses, size)
        txids.append(to_text(hash_txid(body_raw)))
        if number % TXS_PER_TURN == 0:
            await asyncio.sleep(0)
    return Brief(len(raw), cost, fragment(txids))


class Briefs:
    """The briefs that were used last, up to a size in bytes."""

    def __init__(self, bytes_max: int = BRIEFS_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._kept: OrderedDict[BlockHash, Brief] = OrderedDict()

    def get(self, block_hash: BlockHash) -> Brief | None:
        brief = self._kept.get(block_hash)
        if brief is not None:
            self._kept.move_to_end(block_hash)
        return brief

    def add(self, block_hash: BlockHash, brief: Brief) -> None:
        if block_hash in self._kept:
            return
        self._kept[block_hash] = brief
        self._bytes += len(bytes(brief.txids))
        while self._bytes > self._bytes_max:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= len(bytes(oldest.txids))
