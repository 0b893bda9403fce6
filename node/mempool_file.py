"""The mempool on disk, as bytes: written at shutdown, read at the next start.

`[version, chain id, [[transaction, time], …]]` in canonical MessagePack, then SHA-256 of that. Whoever
calls reads and writes the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec

from consensus.codec import decode, decode_canonical, decoder_of, encode
from consensus.errors import DecodeError, Rule

VERSION = 1
_CHECKSUM_BYTES = 32


class Kept(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One waiting transaction."""

    raw: bytes
    time: int
    """When it came, seconds since 1970."""


class _File(msgspec.Struct, frozen=True, array_like=True):
    version: int
    chain_id: bytes
    kept: tuple[Kept, ...]


class _Start(msgspec.Struct, frozen=True, array_like=True):
    version: int


_FILE = decoder_of(_File)
_START = decoder_of(_Start)


def dump_file(chain_id: bytes, kept: Iterable[Kept]) -> bytes:
    """The bytes of the file. Parents come before their children."""
    body = encode(_File(VERSION, chain_id, tuple(kept)))
    return body + hashlib.sha256(body).digest()


def load_file(data: bytes, chain_id: bytes) -> tuple[Kept, ...]:
    """What `dump_file` was given.

    Raises: DecodeError, with a text that says what is wrong: the file is damaged, of another
    version, or of another network.
    """
    body, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
    if hashlib.sha256(body).digest() != checksum:
        raise DecodeError(Rule.MALFORMED, "the mempool file is damaged: checksum differs")
    version = decode(_START, body).version
    if version != VERSION:
        raise DecodeError(Rule.MALFORMED, f"the mempool file has version {version}, not {VERSION}")
    file: _File = decode_canonical(_FILE, body)
    if file.chain_id != chain_id:
        raise DecodeError(Rule.MALFORMED, "the mempool file belongs to another network")
    return file.kept
