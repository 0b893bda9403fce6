"""Headers and blocks as data, the block root, and the genesis block.

A header is the field's 80 bytes, hashed twice with SHA-256, so existing hardware can mine it. The
root is `SHA256d(SHA256d(coinbase) || R)`: to a miner that is one Merkle branch of one step.

Source: docs/protocol.md, "Blocks".
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Annotated

import msgspec

from consensus.codec import array_header, decode, decoder_of, encode
from consensus.errors import DecodeError, Rule
from consensus.hashes import (
    BlockHash,
    LockHash,
    hash_empty_tree,
    hash_leaf,
    hash_node,
    sha256d,
)
from consensus.params import BLOCK_BYTES_MAX, Params
from consensus.tx import (
    BURN_LOCK,
    EXTRANONCE_BYTES,
    NATIVE,
    Transaction,
    Tx,
    TxOut,
    identify,
    make_coinbase,
)

HEADER_BYTES = 80
_HEADER = struct.Struct("<I32s32sIII")
VERSION = 0x20000000
"""What this node writes. Bits are free for miners to roll; no rule reads them."""


class Header(msgspec.Struct, frozen=True, gc=False):
    """A block header. Made by `decode_header` or `make_header` only."""

    version: int
    previous: BlockHash
    root: bytes
    time: int
    """Seconds since 1970."""
    bits: int
    """Target in compact form."""
    nonce: int
    hash: BlockHash
    raw: bytes
    """The 80 bytes."""


class Block(msgspec.Struct, frozen=True, gc=False):
    """A decoded block."""

    header: Header
    txs: tuple[Tx, ...]
    raw: bytes


class BlockParts(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A block as it is encoded."""

    header: Annotated[bytes, msgspec.Meta(min_length=HEADER_BYTES, max_length=HEADER_BYTES)]
    transactions: tuple[Transaction, ...]


_BLOCK = decoder_of(BlockParts)


def decode_header(raw: bytes) -> Header:
    """Raises: DecodeError (header-size)."""
    if len(raw) != HEADER_BYTES:
        raise DecodeError(Rule.HEADER_SIZE, len(raw))
    version, previous, root, time, bits, nonce = _HEADER.unpack(raw)
    return Header(version, previous, root, time, bits, nonce, BlockHash(sha256d(raw)), raw)


def make_header(
    version: int, previous: BlockHash, root: bytes, time: int, bits: int, nonce: int
) -> Header:
    """A header from its fields."""
    return decode_header(_HEADER.pack(version, previous, root, time, bits, nonce))


def tree_root(leaves: Sequence[bytes]) -> bytes:
    """Root of the RFC 6962 tree over `leaves`. Leaves, nodes and the empty tree have own tags, so
    none can pass for another (CVE-2017-12842), and no leaf is doubled (CVE-2012-2459)."""
    return root_over([hash_leaf(leaf) for leaf in leaves])


def root_over(leaf_hashes: Sequence[bytes]) -> bytes:
    """The same root, for whoever has the hashes of the leaves."""
    level = list(leaf_hashes)
    if not level:
        return hash_empty_tree(b"")
    while len(level) > 1:
        odd = level[-1:] if len(level) & 1 else []
        pairs = iter(level)
        level = [hash_node(left + right) for left, right in zip(pairs, pairs, strict=False)] + odd
    return level[0]


def transactions_root(txs: Sequence[Tx]) -> bytes:
    """R: the root over every transaction but the coinbase."""
    return root_over([tx.leaf for tx in txs])


def block_root(coinbase_raw: bytes, others_root: bytes) -> bytes:
    """The header's root field."""
    return sha256d(sha256d(coinbase_raw) + others_root)


def encode_block(header: Header, txs: Sequence[Tx]) -> bytes:
    """Canonical bytes of a block."""
    return b"".join(block_pieces(header.raw, [tx.raw for tx in txs]))


def block_pieces(header_raw: bytes, txs_raw: Sequence[bytes]) -> list[bytes]:
    """What the canonical bytes of a block consist of."""
    return [b"\x92", encode(header_raw), array_header(len(txs_raw)), *txs_raw]


def make_block(header: Header, txs: Sequence[Tx]) -> Block:
    """A block from its parts."""
    return Block(header, tuple(txs), encode_block(header, txs))


def decode_parts(data: bytes) -> BlockParts:
    """Decode a block without proving its bytes canonical. Raises: DecodeError."""
    if len(data) > BLOCK_BYTES_MAX:
        raise DecodeError(Rule.OVERSIZED, len(data), BLOCK_BYTES_MAX)
    parts: BlockParts = decode(_BLOCK, data)
    return parts


def transaction_count(data: bytes) -> int:
    """How many transactions the canonical bytes of a block hold, without decoding them."""
    start = len(b"\x92") + len(encode(bytes(HEADER_BYTES)))
    kind = data[start]
    if kind == 0xDC:
        return int.from_bytes(data[start + 1 : start + 3], "big")
    if kind == 0xDD:
        return int.from_bytes(data[start + 1 : start + 5], "big")
    return kind & 0x0F


def decode_block(data: bytes) -> Block:
    """Decode a block. Raises: DecodeError (malformed, non-canonical, oversized)."""
    parts = decode_parts(data)
    header = decode_header(parts.header)
    block = make_block(header, [identify(tx) for tx in parts.transactions])
    if block.raw != data:
        raise DecodeError(Rule.NON_CANONICAL)
    return Block(header, block.txs, data)


def genesis(params: Params) -> Block:
    """The first block of a network: what its parameters allocate, and their hash as a memo.

    The memo stands on one base unit that is destroyed at once, so that a network without
    allocations has one too.
    """
    outputs = [TxOut(NATIVE, 1, BURN_LOCK, params.hash())]
    outputs += [TxOut(NATIVE, a.amount, LockHash(a.lock)) for a in params.allocations]
    coinbase = make_coinbase(0, outputs, bytes(EXTRANONCE_BYTES))
    root = block_root(coinbase.raw, transactions_root(()))
    no_parent = BlockHash(bytes(32))
    header = make_header(VERSION, no_parent, root, params.genesis_time, params.pow_limit_bits, 0)
    return make_block(header, (coinbase,))
