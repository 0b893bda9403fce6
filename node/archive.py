"""Stored blocks: where each one is, reading them back, and the header rows that say so."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import msgspec

from consensus.block import Block, decode_block
from consensus.codec import decode, decode_canonical, decoder_of, encode
from consensus.errors import StorageError, Violation
from consensus.hashes import HASH_BYTES, BlockHash, Txid, hash_txid
from consensus.header_tree import HeaderNode
from consensus.params import TX_BYTES_MAX
from consensus.tx import Body, Coin, OutPoint, Tx, TxOut, decode_tx
from node.datadir import SYNC_AGAIN
from node.layout import FilePosition, HeaderRow
from node.store import Store

T = TypeVar("T")
Undo = tuple[tuple[Coin, ...], ...]
"""The coins that each transaction but the coinbase spent, in the order of its inputs."""
_UNDO = decoder_of(Undo)
_COINBASE_BYTES_MAX = 4_000_000


class _Parts(msgspec.Struct, frozen=True, array_like=True):
    """A transaction whose parts are not decoded."""

    body: msgspec.Raw
    witnesses: msgspec.Raw


_PARTS = decoder_of(_Parts)
_BODY = decoder_of(Body)


class BlockPlace(NamedTuple):
    """Where a stored block is."""

    block: FilePosition
    undo: FilePosition | None
    tx_count: int


def _as_written(read: Callable[[], T]) -> T:
    try:
        return read()
    except Violation as error:
        raise StorageError(
            f"a stored block is not what was written: {error}",
            f"restore the block files from a copy, or {SYNC_AGAIN}",
        ) from None


encode_undo = encode
"""Bytes of an `Undo`."""


class Archive:
    """Blocks and undo data on disk. Reads raise StorageError."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._places: dict[BlockHash, BlockPlace] = {}

    def place(self, node: HeaderNode) -> BlockPlace | None:
        return self._places.get(node.hash)

    def restore(self, block_hash: BlockHash, place: BlockPlace) -> None:
        """Remember where a block was found."""
        self._places[block_hash] = place

    def note(self, node: HeaderNode) -> None:
        """Have the header's row written with the next flush."""
        place = self._places.get(node.hash)
        block, undo, count = place if place else (None, None, 0)
        row = HeaderRow(node.header.raw, node.height, int(node.status), count, block, undo)
        self._store.put_header(node.hash, row)

    def add_block(self, node: HeaderNode, raw: bytes, tx_count: int) -> None:
        """Append a block; the caller marks the node as stored and then calls `note`."""
        self._places[node.hash] = BlockPlace(self._store.blocks.append(raw), None, tx_count)

    def add_undo(self, node: HeaderNode, undo: Undo) -> None:
        place = self._places[node.hash]._replace(
            undo=self._store.undo.append(node.hash + encode_undo(undo))
        )
        self._places[node.hash] = place
        self.note(node)

    def read_raw(self, node: HeaderNode) -> bytes | None:
        """Bytes of a block, or None if it is not stored."""
        place = self._places.get(node.hash)
        return self._store.blocks.read(place.block) if place else None

    def read(self, node: HeaderNode) -> Block:
        """A block that is stored."""
        raw = self.read_raw(node)
        assert raw is not None, node
        return _as_written(lambda: decode_block(raw))

    def read_undo(self, node: HeaderNode) -> Undo | None:
        """What a block spent, or None if it was never connected."""
        place = self._places.get(node.hash)
        if node.height == 0:
            return ()
        if place is None or place.undo is None:
            return None
        payload = self._store.undo.read(place.undo)
        if payload[:HASH_BYTES] != node.hash:
            raise StorageError(
                "undo data of another block stands where it was written",
                "start once with --reindex to make it again from the block files",
            )
        undo: Undo = _as_written(lambda: decode_canonical(_UNDO, payload[HASH_BYTES:]))
        return undo

    def read_tx(self, txid: Txid) -> tuple[Tx, int, int] | None:
        """A confirmed transaction, its block's height, and its position in the block."""
        place = self._store.tx_place(txid)
        if place is None:
            return None
        raw = self._store.blocks.read_bytes(place.file, place.offset, place.length)
        size_max = _COINBASE_BYTES_MAX if place.position == 0 else TX_BYTES_MAX
        tx = _as_written(lambda: decode_tx(raw, size_max))
        if tx.txid != txid:
            raise _misplaced()
        return tx, place.height, place.position

    def read_output(self, outpoint: OutPoint) -> TxOut | None:
        """The output at `outpoint` of a confirmed transaction, spent or not."""
        txid = outpoint[:HASH_BYTES]
        place = self._store.tx_place(Txid(txid))
        if place is None:
            return None
        raw = self._store.blocks.read_bytes(place.file, place.offset, place.length)
        parts: _Parts = _as_written(lambda: decode(_PARTS, raw))
        # The txid is the hash of the body: one that has it is what was written, to the last byte.
        if hash_txid(bytes(parts.body)) != txid:
            raise _misplaced()
        body: Body = _as_written(lambda: decode(_BODY, bytes(parts.body)))
        index = int.from_bytes(outpoint[HASH_BYTES:], "big")
        return body.outputs[index] if index < len(body.outputs) else None


def _misplaced() -> StorageError:
    return StorageError(
        "another transaction stands where the index points",
        "start once with --reindex to make the indexes again",
    )
