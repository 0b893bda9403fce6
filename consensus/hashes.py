"""Tagged SHA-256 (as in BIP340) and the types of what it makes.

`sha256(sha256(tag) || sha256(tag) || data)`: the tag fills exactly one compression block, whose
midstate is computed once and copied, so that a tag costs nothing at run time and no two kinds of
object can share a hash.

Source: docs/protocol.md, "Hashes".
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, NewType

Txid = NewType("Txid", bytes)
"""32 bytes, identifies the body of a transaction; the text form is reversed hex."""
Wtxid = NewType("Wtxid", bytes)
"""32 bytes, identifies a transaction with its witnesses; the text form is reversed hex."""
BlockHash = NewType("BlockHash", bytes)
"""32 bytes, SHA-256d of the header; the text form is reversed hex."""
AssetId = NewType("AssetId", bytes)
"""32 bytes, or empty for the native coin; the text form is reversed hex."""
LockHash = NewType("LockHash", bytes)
"""32 bytes, what an output pays to; the text form is an address, or hex in natural order."""

HASH_BYTES = 32


def tagged(tag: str) -> Callable[[bytes], Any]:
    """Return the hash function of `tag`: bytes in, 32 bytes out, of whatever type it is declared."""
    copy_midstate = tagged_stream(tag).copy

    def hash_with_tag(data: bytes) -> bytes:
        state = copy_midstate()
        state.update(data)
        return state.digest()

    return hash_with_tag


def tagged_stream(tag: str) -> hashlib._Hash:
    """A SHA-256 state that has taken in the tag: `update` it piece by piece, then ask `digest`."""
    return hashlib.sha256(hashlib.sha256(tag.encode("ascii")).digest() * 2)


def sha256d(data: bytes) -> bytes:
    """SHA-256 of SHA-256: headers and the two top levels of the block root."""
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


hash_txid: Callable[[bytes], Txid] = tagged("Tael/txid")
hash_wtxid: Callable[[bytes], Wtxid] = tagged("Tael/wtxid")
hash_lock: Callable[[bytes], LockHash] = tagged("Tael/lock")
hash_asset: Callable[[bytes], AssetId] = tagged("Tael/asset")
hash_authority: Callable[[bytes], AssetId] = tagged("Tael/authority")
hash_coins: Callable[[bytes], bytes] = tagged("Tael/coins")
hash_terms: Callable[[bytes], bytes] = tagged("Tael/terms")
hash_sighash_all: Callable[[bytes], bytes] = tagged("Tael/sighash/all")
hash_sighash_sponsored: Callable[[bytes], bytes] = tagged("Tael/sighash/sponsored")
hash_message: Callable[[bytes], bytes] = tagged("Tael/message")
hash_params: Callable[[bytes], bytes] = tagged("Tael/params")
hash_leaf: Callable[[bytes], bytes] = tagged("Tael/leaf")
hash_node: Callable[[bytes], bytes] = tagged("Tael/node")
hash_empty_tree: Callable[[bytes], bytes] = tagged("Tael/empty")


def to_text(digest: bytes) -> str:
    """Text form of a txid, wtxid, block hash or asset id: reversed hex."""
    return digest[::-1].hex()


def from_text(text: str) -> bytes:
    """Inverse of `to_text`. Raises ValueError."""
    return bytes.fromhex(text)[::-1]
