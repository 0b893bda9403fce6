"""Merkle proofs: of headers in the form of the Electrum protocol, of transactions in that of this ledger.

Headers stand in a tree of SHA-256d whose odd last nodes are doubled, as every Electrum client checks it. The
root in a header is another one (docs/protocol.md, "Root"): docs/electrum.md says how a client checks that.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from consensus.block import root_over
from consensus.hashes import HASH_BYTES, BlockHash, Txid, sha256d
from consensus.header_tree import HeaderNode
from consensus.inclusion import path_of
from node.electrum.limits import LEAVES_BYTES_MAX
from node.ledger import Ledger
from node.rpc.errors import Code, RpcError
from node.rpc.kept import Kept
from node.rpc.methods_chain import read_txs

SEGMENT_LEVELS = 11
SEGMENT = 1 << SEGMENT_LEVELS
"""Headers under one node that is kept: some 3 ms of hashing."""


def _fold(hashes: list[bytes], index: int, levels: int) -> tuple[list[bytes], bytes]:
    """What stands beside the way up from `hashes[index]`, and what is at its end."""
    branch = []
    for _ in range(levels):
        if len(hashes) & 1:
            hashes = [*hashes, hashes[-1]]
        branch.append(hashes[index ^ 1])
        index >>= 1
        pairs = iter(hashes)
        hashes = [sha256d(left + right) for left, right in zip(pairs, pairs, strict=True)]
    return branch, hashes[0]


class HeaderProofs:
    """Proofs that a header stands in a chain, with roots of whole segments kept."""

    def __init__(self) -> None:
        self._roots: list[bytes] = []
        self._ends: list[HeaderNode] = []
        """The last header of each segment."""

    async def prove(self, end: HeaderNode, height: int) -> tuple[list[bytes], bytes]:
        """The branch of the header at `height`, and the root over all headers up to `end`."""
        count = end.height + 1
        levels = (count - 1).bit_length()
        if levels <= SEGMENT_LEVELS:
            return _fold(_hashes(end, count), height, levels)
        full = count // SEGMENT
        roots = await self._segments(end, full)
        rest = _hashes(end, count - full * SEGMENT)
        last = [_fold(rest, 0, SEGMENT_LEVELS)[1]] if rest else []
        number, index = divmod(height, SEGMENT)
        if number < full:
            rest = _hashes(end.ancestor((number + 1) * SEGMENT - 1), SEGMENT)
        await asyncio.sleep(0)
        lower, _ = _fold(rest, index, SEGMENT_LEVELS)
        upper, root = _fold(roots + last, number, levels - SEGMENT_LEVELS)
        return lower + upper, root

    async def _segments(self, end: HeaderNode, count: int) -> list[bytes]:
        """The roots of the first `count` segments below `end`."""
        while True:
            kept = min(count, len(self._roots))
            if not kept or end.ancestor(kept * SEGMENT - 1) is self._ends[kept - 1]:
                if kept == count:
                    return self._roots[:count]
                last = end.ancestor((kept + 1) * SEGMENT - 1)
                self._roots.append(_fold(_hashes(last, SEGMENT), 0, SEGMENT_LEVELS)[1])
                self._ends.append(last)
                await asyncio.sleep(0)
            else:  # a reorganisation so deep is rare: they are made again one by one
                self._roots.pop()
                self._ends.pop()


def _hashes(end: HeaderNode, count: int) -> list[bytes]:
    """Hashes of `count` headers up to `end`."""
    found: list[bytes] = []
    node: HeaderNode | None = end
    while len(found) < count:
        assert node is not None
        found.append(node.hash)
        node = node.parent
    return found[::-1]


class TxProof(NamedTuple):
    """What leads from a transaction to the root in the header of its block."""

    txid: Txid
    leaf: bytes
    """Where it begins: SHA256d of a coinbase, else H_leaf(txid || wtxid)."""
    branch: list[bytes]
    """From the leaf upwards; the last is beside it under the root."""
    position: int
    tx_count: int


class _Block(NamedTuple):
    """Hashes of the transactions of a block, one after the other."""

    txids: bytes
    leaves: bytes
    """Of all but the coinbase."""
    coinbase: bytes


class TxProofs:
    """Proofs that a transaction stands in a block."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._blocks: Kept[BlockHash, _Block] = Kept(LEAVES_BYTES_MAX)

    async def block(self, node: HeaderNode) -> _Block:
        """Raises: RpcError (only the header is known)."""
        found = self._blocks.get(node.hash)
        if found is None:
            raw = self._ledger.read_block_raw(node)
            if raw is None:
                raise RpcError(Code.MISC, "block not available: only its header is known")
            txids: list[bytes] = []
            leaves: list[bytes] = []
            coinbase = b""
            async for tx in read_txs(raw):
                if txids:
                    leaves.append(tx.leaf)
                else:
                    coinbase = sha256d(tx.raw)
                txids.append(tx.txid)
            found = _Block(b"".join(txids), b"".join(leaves), coinbase)
            self._blocks.add(node.hash, found, len(found.txids) + len(found.leaves))
        return found

    async def prove(self, node: HeaderNode, position: int) -> TxProof:
        """Raises: RpcError (there is no such position)."""
        block = await self.block(node)
        txids = _split(block.txids)
        if position >= len(txids):
            raise RpcError(Code.PARAMETER, "the block has fewer transactions")
        leaves = _split(block.leaves)
        if position == 0:
            branch, leaf = [root_over(leaves)], block.coinbase
        else:
            branch, leaf = [*path_of(leaves, position - 1), block.coinbase], leaves[position - 1]
        return TxProof(Txid(txids[position]), leaf, branch, position, len(txids))


def _split(hashes: bytes) -> list[bytes]:
    return [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]
