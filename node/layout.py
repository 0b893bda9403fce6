"""Every key and value of the database, in one table.

| key                                        | value                                         |
|--------------------------------------------|-----------------------------------------------|
| `M` format                                 | format number, chain id, whether indexes exist |
| `M` tip                                    | TipRow: the block that all other rows stand at |
| `H` hash(32)                               | HeaderRow                                     |
| `c` lock(32) txid(32) index(4)             | height(4) delayed(1) amount(8) asset(0 or 32) |
| `a` asset(0 or 32)                         | issued(16) destroyed(16), then an AssetRow    |
| `t` txid(32)                               | height(4) position(4) file(4) offset(4) length(4) |
| `h` lock(32) height(4) position(4) asset   | txid(32) received(8) spent(8)                 |
| `b` lock(32) asset(0 or 32)                | received(16) spent(16)                        |
| `d` height(4) lock(32) asset(0 or 32)      | amount(8) that matures like a coinbase        |

Numbers are big-endian, so keys sort by them. A coin's row begins with its lock, which whoever
spends it reveals: one row is the coin and the entry of the address. `t`, `h`, `b` and `d` are the indexes.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import msgspec

from consensus.asset import AssetRecord
from consensus.block import HEADER_BYTES
from consensus.codec import decode_canonical, decoder_of, encode
from consensus.errors import StorageError, Violation
from consensus.hashes import HASH_BYTES, AssetId, LockHash, Txid
from consensus.tx import OUTPOINT_BYTES, AssetDefinition, Coin, Height, OutPoint

FORMAT = 1
KEY_FORMAT = b"Mformat"
KEY_TIP = b"Mtip"
META = b"M"
HEADER, COIN, ASSET, TX, HISTORY, BALANCE, DELAYED = b"H", b"c", b"a", b"t", b"h", b"b", b"d"

KINDS = (META, HEADER, COIN, ASSET, TX, HISTORY, BALANCE, DELAYED)
"""How the keys of all rows begin."""

_COIN = struct.Struct(">IBQ")
_FLAGS = (False, True)
_COIN_SIZES = (_COIN.size, _COIN.size + HASH_BYTES)
_TX = struct.Struct(">IIIII")
_HISTORY_KEY = struct.Struct(">II")
_HISTORY = struct.Struct(">32sQQ")
LOCK_BYTES = 32
PAIR_BYTES = 32


class FormatRow(msgspec.Struct, frozen=True, array_like=True):
    """What the rows mean, and whose they are."""

    format: int
    chain_id: bytes
    indexed: bool


class FilePosition(msgspec.Struct, frozen=True, array_like=True):
    """A place in a series of append-only files."""

    file: int
    offset: int


class TipRow(msgspec.Struct, frozen=True, array_like=True):
    """The block at which the state on disk stands, and where the files ended then."""

    hash: bytes
    blocks_end: FilePosition
    undo_end: FilePosition


class HeaderRow(msgspec.Struct, frozen=True, array_like=True):
    """A header and where its block is."""

    raw: bytes
    height: int
    status: int
    tx_count: int
    block: FilePosition | None
    undo: FilePosition | None


class AssetRow(msgspec.Struct, frozen=True, array_like=True):
    """What of an asset never changes."""

    definition: AssetDefinition | None
    authority_of: bytes
    outpoint: bytes
    height: Height


class TxPlace(NamedTuple):
    """Where a confirmed transaction stands."""

    height: int
    position: int
    file: int
    offset: int
    length: int


class HistoryEntry(NamedTuple):
    """What one transaction did to one lock, for one asset. Amounts in base units."""

    height: int
    position: int
    asset: AssetId
    txid: Txid
    received: int
    spent: int
    cursor: bytes
    """Pass it as `after` to go on behind this entry."""


_FORMAT_ROW = decoder_of(FormatRow)
_TIP_ROW = decoder_of(TipRow)
_HEADER_ROW = decoder_of(HeaderRow)
_ASSET_ROW = decoder_of(AssetRow)


def damaged(what: str) -> StorageError:
    """A row that this program cannot have written."""
    return StorageError(
        f"the database holds a {what} that makes no sense",
        "start once with --reindex to rebuild it from the block files",
    )


def coin_key(lock: LockHash, spent: OutPoint) -> bytes:
    return COIN + lock + spent


def coin_value(coin: Coin) -> bytes:
    return _COIN.pack(coin.height, coin.delayed, coin.amount) + coin.asset


def coin_of(lock: LockHash, value: bytes) -> Coin:
    if len(value) not in _COIN_SIZES:
        raise damaged("coin row")
    height, flag, amount = _COIN.unpack_from(value)
    try:
        delayed = _FLAGS[flag]
    except IndexError:
        raise damaged("coin row") from None
    return Coin(AssetId(value[_COIN.size :]), amount, lock, Height(height), delayed)


def coin_row(key: bytes, value: bytes) -> tuple[OutPoint, Coin]:
    lock = LockHash(key[1 : 1 + LOCK_BYTES])
    return OutPoint(key[-OUTPOINT_BYTES:]), coin_of(lock, value)


def asset_key(asset: AssetId) -> bytes:
    return ASSET + asset


def tx_key(txid: Txid) -> bytes:
    return TX + txid


tx_value = _TX.pack
"""The fields of a `TxPlace`, in their order."""


def tx_place(value: bytes) -> TxPlace:
    if len(value) != _TX.size:
        raise damaged("transaction row")
    return TxPlace(*_TX.unpack(value))


history_place = _HISTORY_KEY.pack
"""Height and position of a transaction, as they stand in the keys of its history rows."""


def history_key(owner: bytes, place: bytes) -> bytes:
    """`owner` is lock || asset."""
    return HISTORY + owner[:LOCK_BYTES] + place + owner[LOCK_BYTES:]


def delayed_key(height: int, lock: bytes = b"", asset: bytes = b"") -> bytes:
    return DELAYED + height.to_bytes(4, "big") + lock + asset


def delayed_value(amount: int) -> bytes:
    return amount.to_bytes(8, "big")


def delayed_row(key: bytes, value: bytes) -> tuple[LockHash, AssetId, int]:
    start = len(DELAYED) + 4
    lock = LockHash(key[start : start + LOCK_BYTES])
    return lock, AssetId(key[start + LOCK_BYTES :]), int.from_bytes(value, "big")


history_value = _HISTORY.pack
"""Txid, and how many base units the lock received and spent there."""


def history_entry(key: bytes, value: bytes) -> HistoryEntry:
    if len(value) != _HISTORY.size:
        raise damaged("history row")
    cursor = key[1 + LOCK_BYTES :]
    height, position = _HISTORY_KEY.unpack_from(cursor)
    txid, received, spent = _HISTORY.unpack(value)
    asset = AssetId(cursor[_HISTORY_KEY.size :])
    return HistoryEntry(height, position, asset, Txid(txid), received, spent, cursor)


def pack_pair(first: int, second: int) -> bytes:
    """Two sums that only ever grow: what went in and out over the years outgrows 8 bytes, and for
    an asset that is issued and destroyed again and again a few transactions are enough."""
    return first.to_bytes(16, "big") + second.to_bytes(16, "big")


def unpack_pair(value: bytes) -> tuple[int, int]:
    if len(value) != PAIR_BYTES:
        raise damaged("pair of sums")
    return int.from_bytes(value[:16], "big"), int.from_bytes(value[16:], "big")


def asset_value(record: AssetRecord) -> bytes:
    row = AssetRow(record.definition, record.authority_of, record.outpoint, record.height)
    return pack_pair(record.issued, record.destroyed) + encode_row(row)


def header_key(block_hash: bytes) -> bytes:
    return HEADER + block_hash


def decode_format_row(value: bytes) -> FormatRow:
    try:
        row: FormatRow = decode_canonical(_FORMAT_ROW, value)
    except Violation:
        raise damaged("format row") from None
    return row


def decode_tip_row(value: bytes) -> TipRow:
    try:
        row: TipRow = decode_canonical(_TIP_ROW, value)
    except Violation:
        raise damaged("tip row") from None
    return row


def decode_header_row(value: bytes) -> HeaderRow:
    try:
        row: HeaderRow = decode_canonical(_HEADER_ROW, value)
    except Violation:
        raise damaged("header row") from None
    if len(row.raw) != HEADER_BYTES:
        raise damaged("header row")
    return row


def decode_asset_row(value: bytes) -> AssetRecord:
    try:
        row: AssetRow = decode_canonical(_ASSET_ROW, value[PAIR_BYTES:])
    except Violation:
        raise damaged("asset row") from None
    return AssetRecord(
        row.definition, row.authority_of, row.outpoint, row.height, *unpack_pair(value[:PAIR_BYTES])
    )


encode_row = encode
"""Bytes of a FormatRow, TipRow, HeaderRow or AssetRow."""
