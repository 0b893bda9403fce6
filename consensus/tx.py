"""Transactions as data: locks, outputs, issuances, body, witnesses, and their identity.

A transaction is `[body, witnesses]`. The txid covers the body, so a witness cannot change it; the
wtxid covers both.

Source: docs/protocol.md, "Transactions" and "Locks".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NewType

import msgspec

from consensus.codec import decode, decoder_of, encode
from consensus.errors import DecodeError, Rule
from consensus.hashes import AssetId, LockHash, Txid, Wtxid, hash_leaf, hash_txid, hash_wtxid

OutPoint = NewType("OutPoint", bytes)
"""36 bytes: txid || output index, big-endian. Also the tail of the coin's key on disk."""
Height = NewType("Height", int)
"""Distance from genesis, which is 0."""
Path = NewType("Path", bytes)
"""Where an atom stands in its lock: one child index per level, empty for the root."""

OUTPOINT_BYTES = 36
NATIVE = AssetId(b"")
"""The asset field of the native coin."""
BURN_LOCK = LockHash(bytes(32))
"""An output to this lock destroys what it holds."""
EXTRANONCE_BYTES = 8

Bytes32 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Bytes33 = Annotated[bytes, msgspec.Meta(min_length=33, max_length=33)]
Bytes36 = Annotated[bytes, msgspec.Meta(min_length=36, max_length=36)]


class Key(msgspec.Struct, frozen=True, array_like=True, tag=0, gc=False):
    """Holds if signed by `pubkey`."""

    pubkey: Bytes33


class Threshold(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Holds if `required` of the children hold. 1 of n is "any", n of n is "all"."""

    required: int
    children: tuple[Lock, ...]


class AfterHeight(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """Holds in blocks of height ≥ `height`."""

    height: int


class AfterTime(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """Holds if the median time of the previous block is ≥ `time` (seconds since 1970)."""

    time: int


class Older(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    """Holds if the coin was created ≥ `blocks` blocks before the spending one."""

    blocks: int


class Sha256(msgspec.Struct, frozen=True, array_like=True, tag=5, gc=False):
    """Holds if the 32 bytes are shown whose SHA-256 is `digest`."""

    digest: Bytes32


class Pruned(msgspec.Struct, frozen=True, array_like=True, tag=6, gc=False):
    """A branch that is not used, shown as its hash alone."""

    hash: Bytes32


Lock = Key | Threshold | AfterHeight | AfterTime | Older | Sha256 | Pruned
Atom = Key | AfterHeight | AfterTime | Older | Sha256


class TxOut(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An output."""

    asset: AssetId
    """Empty for the native coin, else 32 bytes."""
    amount: int
    """Base units, 1 … 2**63 - 1."""
    lock: Annotated[LockHash, msgspec.Meta(min_length=32, max_length=32)]
    memo: bytes = b""
    """At most 128 bytes for whoever reads the payment; not part of the coin."""


class AssetDefinition(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What an asset id commits to beside the outpoint that it came from."""

    ticker: bytes
    """1–12 characters A–Z and 0–9."""
    name: bytes
    """1–64 bytes of UTF-8 without control characters."""
    decimals: int
    """0–18: the places that a wallet shows."""
    terms: bytes
    """SHA-256 of a document, or empty."""
    reissuable: bool
    """False: the id itself proves that the supply is fixed."""


class Issue(msgspec.Struct, frozen=True, array_like=True, tag=0, gc=False):
    """Creates an asset, whose id derives from the outpoint of one input."""

    input_index: int
    definition: AssetDefinition
    amount: int


class Reissue(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """Adds to the supply of an asset; its authority coin must be among the inputs."""

    asset: Annotated[AssetId, msgspec.Meta(min_length=32, max_length=32)]
    amount: int


Issuance = Issue | Reissue


class Body(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What the txid covers."""

    version: int
    inputs: tuple[Annotated[OutPoint, msgspec.Meta(min_length=36, max_length=36)], ...]
    outputs: tuple[TxOut, ...]
    issuances: tuple[Issuance, ...]
    expiry: Height
    """Last height at which the transaction may be mined; 0 is never. In a coinbase: its height."""


class Witness(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What satisfies one input: the lock as far as it is used, and the items it asks for."""

    lock: Lock
    items: tuple[bytes, ...]
    """Signatures (scope || r || s, 65 bytes) and preimages (32 bytes), in depth-first order."""


class Transaction(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A transaction as it is encoded."""

    body: Body
    witnesses: tuple[Witness, ...]


class Tx(msgspec.Struct, frozen=True, gc=False):
    """A decoded transaction with its identity. Made by `decode_tx` or `make_tx` only."""

    body: Body
    witnesses: tuple[Witness, ...]
    txid: Txid
    wtxid: Wtxid
    raw: bytes
    """The canonical encoding."""
    leaf: bytes
    """Its hash in the root of a block. Made with the ids, while they are in the processor's cache: 0.3 us,
    a third of what it takes later."""

    @property
    def is_coinbase(self) -> bool:
        return not self.body.inputs


class Coin(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An unspent output, as the ledger keeps it."""

    asset: AssetId
    amount: int
    lock: LockHash
    height: Height
    """Height of the block that created it."""
    delayed: bool
    """True if it matures like a coinbase: made by one, or by a transaction about to expire."""


_TX = decoder_of(Transaction)
_NO_LOCK = Pruned(bytes(32))


_INDEXES = tuple(index.to_bytes(4, "big") for index in range(256))


def outpoint(txid: bytes, index: int) -> OutPoint:
    """The outpoint of output `index` of `txid`."""
    return OutPoint(txid + (_INDEXES[index] if index < 256 else index.to_bytes(4, "big")))


def identify(tx: Transaction) -> Tx:
    """Encode `tx` part by part and hash the parts. Raises: DecodeError (malformed)."""
    body = encode(tx.body)
    try:
        raw = b"\x92" + body + encode(tx.witnesses)
    except RecursionError:
        # A lock that the decoder just managed, met again with more of the stack in use.
        raise DecodeError(Rule.MALFORMED, "nested too deeply") from None
    txid, wtxid = hash_txid(body), hash_wtxid(raw)
    return Tx(tx.body, tx.witnesses, txid, wtxid, raw, hash_leaf(txid + wtxid))


def make_tx(body: Body, witnesses: Sequence[Witness]) -> Tx:
    """A transaction from its parts."""
    return identify(Transaction(body, tuple(witnesses)))


def decode_tx(data: bytes, size_max: int) -> Tx:
    """Decode one transaction. Raises: DecodeError (malformed, non-canonical, oversized)."""
    if len(data) > size_max:
        raise DecodeError(Rule.OVERSIZED, len(data), size_max)
    tx = identify(decode(_TX, data))
    if tx.raw != data:
        raise DecodeError(Rule.NON_CANONICAL)
    return tx


def make_coinbase(height: int, outputs: Sequence[TxOut], extranonce: bytes) -> Tx:
    """A coinbase. Its last bytes are the extranonce, so that a miner can roll it in place."""
    body = Body(1, (), tuple(outputs), (), Height(height))
    return make_tx(body, (Witness(_NO_LOCK, (extranonce,)),))


def is_coinbase_witness(witnesses: tuple[Witness, ...]) -> bool:
    """One witness that reveals no lock and holds an extranonce of the fixed length."""
    return (
        len(witnesses) == 1
        and witnesses[0].lock == _NO_LOCK
        and len(witnesses[0].items) == 1
        and len(witnesses[0].items[0]) == EXTRANONCE_BYTES
    )
