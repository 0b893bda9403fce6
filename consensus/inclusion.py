"""Proof that a transaction stands in a block, for whoever has the header and not the block.

It holds the coinbase whole: its `expiry` is the height of the block, so a proof tells that as well. Where
the transaction stands among the others is not proven, as the root does not commit to their number.

Source: docs/protocol.md, "Inclusion proofs".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from consensus.block import (
    HEADER_BYTES,
    Header,
    block_root,
    decode_header,
    root_over,
)
from consensus.codec import decode_canonical, decoder_of, encode
from consensus.errors import DecodeError, Invalid, Rule
from consensus.hashes import Txid, Wtxid, hash_leaf, hash_node
from consensus.params import BLOCK_BYTES_MAX
from consensus.tx import Bytes32, Height, Tx, decode_tx, is_coinbase_witness

PATH_MAX = 20
"""Steps of a path: a block holds fewer than 2**17 transactions, as each has more than 40 bytes."""
COUNT_MAX = 1 << PATH_MAX


class Inclusion(msgspec.Struct, frozen=True, array_like=True):
    """One transaction of one block, and what leads from it to the root in the header."""

    header: Annotated[bytes, msgspec.Meta(min_length=HEADER_BYTES, max_length=HEADER_BYTES)]
    count: Annotated[int, msgspec.Meta(ge=1, le=COUNT_MAX)]
    """Transactions of the block, the coinbase included."""
    position: Annotated[int, msgspec.Meta(ge=0, lt=COUNT_MAX)]
    """Of the transaction; 0 is the coinbase."""
    txid: Bytes32
    wtxid: Bytes32
    coinbase: bytes
    """The whole encoding of the coinbase."""
    path: Annotated[tuple[Bytes32, ...], msgspec.Meta(max_length=PATH_MAX)]
    """The hashes beside the way up, from the leaf on; of the coinbase R alone."""


class Included(msgspec.Struct, frozen=True):
    """What a proof proves, if its header is that of a block."""

    header: Header
    height: Height
    txid: Txid
    wtxid: Wtxid


_INCLUSION = decoder_of(Inclusion)


def path_of(leaf_hashes: Sequence[bytes], position: int) -> tuple[bytes, ...]:
    """The hashes beside the way from leaf `position` to the root over all of them."""
    level, path = list(leaf_hashes), []
    while len(level) > 1:
        beside = position ^ 1
        if beside < len(level):  # else it is an odd last one, which goes up unchanged
            path.append(level[beside])
        odd = level[-1:] if len(level) & 1 else []
        pairs = zip(level[::2], level[1::2], strict=False)
        level = [hash_node(left + right) for left, right in pairs] + odd
        position //= 2
    return tuple(path)


def root_from(leaf_hash: bytes, position: int, count: int, path: Sequence[bytes]) -> bytes | None:
    """The root over `count` leaves that `path` leads to; None if it has another number of steps."""
    steps = iter(path)
    found = leaf_hash
    while count > 1:
        if position & 1 or position + 1 < count:
            beside = next(steps, None)
            if beside is None:
                return None
            found = hash_node(beside + found if position & 1 else found + beside)
        position //= 2
        count = (count + 1) // 2
    return found if next(steps, None) is None else None


def prove_inclusion(header: Header, txs: Sequence[Tx], position: int) -> Inclusion:
    """The proof for transaction `position` of a block."""
    leaves = [tx.leaf for tx in txs[1:]]
    path = path_of(leaves, position - 1) if position else (root_over(leaves),)
    tx = txs[position]
    return Inclusion(header.raw, len(txs), position, tx.txid, tx.wtxid, txs[0].raw, path)


def decode_inclusion(data: bytes) -> Inclusion:
    """Raises: DecodeError (oversized, malformed, non-canonical)."""
    if len(data) > 2 * BLOCK_BYTES_MAX:
        raise DecodeError(Rule.OVERSIZED, len(data), 2 * BLOCK_BYTES_MAX)
    found: Inclusion = decode_canonical(_INCLUSION, data)
    return found


def encode_inclusion(proof: Inclusion) -> bytes:
    """Canonical bytes of a proof."""
    return encode(proof)


def check_inclusion(proof: Inclusion) -> Included:
    """See that the transaction stands under the root of the header. Of the header nothing is checked.

    Raises: DecodeError, Invalid (coinbase-shape, block-root).
    """
    coinbase = decode_tx(proof.coinbase, BLOCK_BYTES_MAX)
    if not coinbase.is_coinbase or not is_coinbase_witness(coinbase.witnesses):
        raise Invalid(Rule.COINBASE_SHAPE)
    others: bytes | None
    if proof.position == 0:
        is_it = (coinbase.txid, coinbase.wtxid) == (proof.txid, proof.wtxid)
        others = proof.path[0] if is_it and len(proof.path) == 1 else None
    elif proof.position < proof.count:
        leaf = hash_leaf(proof.txid + proof.wtxid)
        others = root_from(leaf, proof.position - 1, proof.count - 1, proof.path)
    else:
        others = None
    header = decode_header(proof.header)
    if others is None or block_root(proof.coinbase, others) != header.root:
        raise Invalid(Rule.BLOCK_ROOT)
    return Included(header, coinbase.body.expiry, Txid(proof.txid), Wtxid(proof.wtxid))
