"""Canonical MessagePack: typed decoding, and the proof that no other bytes mean the same.

Every consensus object is decoded straight into typed structs. MessagePack has many encodings of one
value (long integers, wide lengths, surplus array fields); exactly one is canonical, the one that the
encoder writes, so a decoded object is encoded again and compared with what came in.

Source: docs/protocol.md, "Encoding".
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from consensus.errors import DecodeError, Rule

T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder()
encode = _encoder.encode
"""Canonical bytes of a struct, tuple, list, integer, boolean or byte string."""


def decode(decoder: msgspec.msgpack.Decoder[T], data: bytes) -> T:
    """Decode `data`, without the comparison that proves it canonical.

    Only for a caller that encodes the parts again anyway. Raises: DecodeError.
    """
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:  # ValidationError is a subclass
        raise DecodeError(Rule.MALFORMED, str(error)) from None
    except RecursionError:
        # A few bytes of nesting cost the sender nothing; the decoder gives up at a fixed depth.
        raise DecodeError(Rule.MALFORMED, "nested too deeply") from None


def decode_canonical(decoder: msgspec.msgpack.Decoder[T], data: bytes) -> T:
    """Decode `data` and refuse every encoding but the canonical one. Raises: DecodeError."""
    value = decode(decoder, data)
    if encode(value) != data:
        raise DecodeError(Rule.NON_CANONICAL)
    return value


def decoder_of(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    """A decoder for `kind`; made once per type, at import."""
    return msgspec.msgpack.Decoder(kind)


def array_header(length: int) -> bytes:
    """The canonical first bytes of an array of `length` elements."""
    if length < 16:
        return bytes((0x90 | length,))
    if length < 1 << 16:
        return b"\xdc" + length.to_bytes(2, "big")
    return b"\xdd" + length.to_bytes(4, "big")
