"""What was promised to be paid once: a record for each request id, kept beside the wallet file.

A payment is in its record, whole and signed, before any node sees it. So whatever ends the program,
the same id finds the same transaction again and never makes a second one. The records are files of
their own, because the wallet file may be put back from a backup, and must then forget nothing.

    magic 8 | version 1 | nonce 12 | sealed

Sealed with a key that follows from the words alone: a new passphrase leaves the records readable, and
so does a wallet that was restored. Names of files are keyed hashes, so that nobody else learns an id.

Source: docs/payments.md, "The journal".
"""

from __future__ import annotations

import hashlib
import hmac
import re
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from consensus.codec import encode
from consensus.hashes import AssetId
from consensus.tx import TxOut
from wallet.book import Book, Sent
from wallet.errors import WalletError
from wallet.files import make_durable_directory, read_file_if_there, write_file
from wallet.keys import Account
from wallet.keystore import Entropy

RECORD_VERSION = 1
RECORD_BYTES_MAX = 16 * 1024 * 1024
ID_MAX = 64
ATTEMPTS_MAX = 100
"""Transactions of one request: the first, its replacements, and those after an expiry."""
PART_MARK = "#"
"""Stands between the id of a batch and the number of a part."""
_MAGIC = b"TAELPAY\x00"
_NONCE_BYTES = 12
_HEADER_BYTES = len(_MAGIC) + 1
_ID = re.compile(r"[!-~]+")


class AssetName(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an asset was called, and where its decimal point stood, when it was promised."""

    asset: AssetId
    ticker: str
    decimals: int


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one request id stands for."""

    version: int = RECORD_VERSION
    id: str
    chain_id: bytes
    payments: tuple[TxOut, ...]
    """What is to be paid. Other payments under the same id are refused."""
    assets: tuple[AssetName, ...]
    parts: int = 0
    """Transactions of a batch, each with a record of its own; 0: not a batch."""
    part_payments: int = 0
    """Payments of each of them but the last. Kept here, as another version may divide otherwise."""
    attempts: tuple[Sent, ...] = ()
    """Every transaction that was ever signed for it, oldest first. Of those with one expiry any two
    spend a common coin, so that at most one can be mined."""

    def with_attempt(self, entry: Sent) -> Record:
        """Raises: WalletError if there are too many."""
        if len(self.attempts) >= ATTEMPTS_MAX:
            raise WalletError(
                f"request {self.id} has {ATTEMPTS_MAX} transactions, the most there are"
            )
        return msgspec.structs.replace(self, attempts=(*self.attempts, entry))


_DECODER = msgspec.msgpack.Decoder(Record)


def check_request_id(text: str) -> str:
    """Raises: WalletError."""
    if not 1 <= len(text) <= ID_MAX or not _ID.fullmatch(text) or PART_MARK in text:
        raise WalletError(
            f"a request id has 1 to {ID_MAX} visible characters of ASCII, and no {PART_MARK}"
        )
    return text


class Journal:
    """The records of one wallet. Whoever uses it holds the lock of the wallet file."""

    def __init__(self, folder: Path, key: bytes, chain_id: bytes, entropy: Entropy) -> None:
        """`key` has 64 bytes: one half seals, the other makes names."""
        self.folder = folder
        self._seal_key, self._name_key = key[:32], key[32:]
        self._chain_id = chain_id
        self._entropy = entropy

    def path_of(self, request_id: str) -> Path:
        name = hmac.new(self._name_key, self._chain_id + request_id.encode("utf-8"), hashlib.sha256)
        return self.folder / f"{name.hexdigest()}.request"

    def load(self, request_id: str) -> Record | None:
        """The record of an id; None if there is none.

        Raises: WalletError if it cannot be read: what is in doubt must not be paid again.
        """
        path = self.path_of(request_id)
        data = read_file_if_there(path, RECORD_BYTES_MAX)
        if data is None:
            return None
        header, nonce = data[:_HEADER_BYTES], data[_HEADER_BYTES : _HEADER_BYTES + _NONCE_BYTES]
        sealed = data[_HEADER_BYTES + _NONCE_BYTES :]
        try:
            if header != _header():
                raise InvalidTag
            bound = header + path.name.encode("ascii")
            payload = ChaCha20Poly1305(self._seal_key).decrypt(nonce, sealed, bound)
        except (InvalidTag, ValueError):  # a nonce that is cut off is a ValueError
            raise WalletError(
                f"{path}: the record of request {request_id} is damaged, so it is not paid again; put "
                "the file back from a copy"
            ) from None
        return _decode(payload, path)

    def save(self, record: Record) -> None:
        """Write a record; it is on the disk when this returns. Raises: WalletError."""
        path = self.path_of(record.id)
        header = _header()
        nonce = self._entropy(_NONCE_BYTES)
        bound = header + path.name.encode("ascii")
        sealed = ChaCha20Poly1305(self._seal_key).encrypt(nonce, encode(record), bound)
        if len(header) + _NONCE_BYTES + len(sealed) > RECORD_BYTES_MAX:
            raise WalletError(f"request {record.id} is too large to be recorded; nothing was sent")
        make_durable_directory(self.folder)
        write_file(path, header + nonce + sealed)

    def add_attempt(self, entry: Sent) -> None:
        """Note that `entry` stands in for what was sent for its request. Raises: WalletError."""
        record = self.load(entry.request)
        if record is None:
            raise WalletError(
                f"{self.folder}: the record of request {entry.request} is gone; put it back from a copy"
            )
        self.save(record.with_attempt(entry))


def open_journal(path: Path, book: Book, account: Account, entropy: Entropy) -> Journal:
    """The journal of the wallet file at `path`. Raises: WalletError for a watch-only wallet."""
    folder = path.with_name(path.name + ".pay")
    return Journal(folder, account.derived_key("journal of payments", 64), book.chain_id, entropy)


def _header() -> bytes:
    return _MAGIC + bytes((RECORD_VERSION,))


def _decode(payload: bytes, path: Path) -> Record:
    try:
        record = _DECODER.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise WalletError(f"{path}: written by another version of tael; use that") from None
    if record.version != RECORD_VERSION:
        raise WalletError(f"{path}: has version {record.version}; this tael knows {RECORD_VERSION}")
    return record
