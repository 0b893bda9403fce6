"""Every key and value of the event log's own database, in one table.

| key              | value                                                             |
|------------------|-------------------------------------------------------------------|
| `M` format       | LogRow: format number, chain id, the name of this log             |
| `M` head         | HeadRow: the block and the number that all other rows stand at    |
| `e` number(8)    | kind(1) time(8), then the event as JSON                           |
| `b` height(4)    | BlockRow: a block of the log's chain and its payments             |
| `w` txid(32)     | payments of a transaction that waits to be mined                  |
| `a` lock(32)     | Watch: an address that is watched                                 |
| `c` name         | Consumer: how far somebody has come                               |
| `h` id           | Webhook: where events are sent, and how far that has come         |

Numbers are big-endian, so keys sort by them.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from consensus.codec import decode_canonical, decoder_of, encode
from consensus.errors import StorageError, Violation
from consensus.hashes import AssetId, LockHash

T = TypeVar("T")
FORMAT = 1
KEY_FORMAT, KEY_HEAD = b"Mformat", b"Mhead"
EVENT, BLOCK, WAITING, WATCH, CONSUMER, WEBHOOK = b"e", b"b", b"w", b"a", b"c", b"h"
EVENT_HEAD_BYTES = 9
"""Kind and time, before the JSON of an event."""
REMEDY = (
    "move the folder `events` out of the data directory to begin a new log; consumers then have to "
    "compare what they know with the node"
)


class Kind(enum.IntEnum):
    """What an event tells. The number stands in the rows and is never used for another."""

    BLOCK_CONNECTED = 1
    BLOCK_DISCONNECTED = 2
    PAYMENT_SEEN = 3
    PAYMENT_CONFIRMED = 4
    PAYMENT_REVERSED = 5
    PAYMENT_DROPPED = 6

    @property
    def text(self) -> str:
        return self.name.lower()


KINDS = {kind.text: kind for kind in Kind}
"""By the name that clients know."""
Kinds = frozenset[Kind]
"""A choice of kinds; empty stands for all."""


class LogRow(msgspec.Struct, frozen=True, array_like=True):
    """What the rows mean, and whose they are."""

    format: int
    chain_id: bytes
    name: str
    """Random. Another name is another log, whose numbers begin at 1 again."""


class HeadRow(msgspec.Struct, frozen=True, array_like=True):
    """Written with every batch."""

    hash: bytes
    height: int
    last: int
    """Number of the newest event; 0 before the first."""
    first: int
    """Number of the oldest event that is kept, or will be."""


class Payment(msgspec.Struct, frozen=True, array_like=True):
    """An output to an address that was watched, as it was told."""

    number: int
    """Of the event that told it."""
    txid: bytes
    vout: int
    lock: LockHash
    asset: AssetId
    units: int
    memo: bytes


class BlockRow(msgspec.Struct, frozen=True, array_like=True):
    """A block of the log's chain."""

    hash: bytes
    previous: bytes
    payments: tuple[Payment, ...] = ()


class Watch(msgspec.Struct, frozen=True, array_like=True):
    """An address that is watched, and how far its past was looked through."""

    label: str
    since: int
    """The lowest height from which payments are told."""
    cursor: bytes = b""
    """Where to read on in the past: a height of 4 bytes, perhaps with a place in it behind."""
    end: int = -1
    """The last height of the past that is still to be looked through; −1: none is."""


class Consumer(msgspec.Struct, frozen=True, array_like=True):
    """Somebody who has told how far he has come."""

    acknowledged: int
    at: int
    """When he said so last, seconds since 1970."""


class Webhook(msgspec.Struct, frozen=True, array_like=True):
    """Where events are sent."""

    url: str
    secret: str
    kinds: tuple[Kind, ...]
    """Empty stands for all."""
    acknowledged: int
    """Everything up to this number was taken by the receiver."""
    created: int


_DECODERS: Mapping[type, msgspec.msgpack.Decoder[Any]] = {
    kind: decoder_of(kind) for kind in (LogRow, HeadRow, BlockRow, Watch, Consumer, Webhook)
}
_PAYMENTS = decoder_of(tuple[Payment, ...])
encode_row = encode
"""Bytes of any row."""


def damaged(what: str) -> StorageError:
    return StorageError(f"the event log holds a {what} that makes no sense", REMEDY)


def decode_row(kind: type[T], value: bytes) -> T:
    """Raises: StorageError."""
    try:
        row: T = decode_canonical(_DECODERS[kind], value)
    except Violation:
        raise damaged(kind.__name__) from None
    return row


def decode_payments(value: bytes) -> tuple[Payment, ...]:
    """Raises: StorageError."""
    try:
        payments: tuple[Payment, ...] = decode_canonical(_PAYMENTS, value)
    except Violation:
        raise damaged("waiting payment") from None
    return payments


def name_of(key: bytes) -> str:
    """The name of a consumer or a webhook in its key. Raises: StorageError."""
    try:
        return key[1:].decode()
    except UnicodeDecodeError:
        raise damaged("name") from None


def event_key(number: int) -> bytes:
    return EVENT + number.to_bytes(8, "big")


def event_value(kind: Kind, time: int, text: bytes) -> bytes:
    return bytes((kind,)) + time.to_bytes(8, "big") + text


def block_key(height: int) -> bytes:
    return BLOCK + height.to_bytes(4, "big")


def is_wanted(kind: int, kinds: Sequence[int] | Kinds) -> bool:
    return not kinds or kind in kinds
