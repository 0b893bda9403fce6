"""Addresses: bech32m of a lock hash, in the form that BIP350 gives to witness version 1.

Source: docs/protocol.md, "Addresses"; BIP173 and BIP350 for the code itself.
"""

from __future__ import annotations

import functools
import operator

from consensus.hashes import LockHash

_ALPHABET = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_FIVES = bytes(range(32))
_TO_FIVES = bytes.maketrans(_ALPHABET, _FIVES)
_TO_TEXT = bytes.maketrans(_FIVES, _ALPHABET)
_BASE_32 = b"0123456789abcdefghijklmnopqrstuv"
_TO_BASE_32 = bytes.maketrans(_FIVES, _BASE_32)
"""To the digits that `int` reads, which regroups bits in one step."""
_GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_REDUCTIONS = [
    functools.reduce(operator.xor, (g for i, g in enumerate(_GENERATORS) if top >> i & 1), 0)
    for top in range(32)
]
"""What the five bits that fall out at the top add to the checksum."""
_BECH32M = 0x2BC830A3
_LENGTH_MAX = 90
_CHECKSUM = 6
ADDRESS_VERSION = 1
_LOCK_BYTES = 32
_LOCK_FIVES = 52
_FILLING_BITS = 4
"""By which 52 times five bits are more than 32 bytes."""
_PAIRS = [bytes(divmod(ten, 32)) for ten in range(1024)]
"""Two values of five bits for ten bits: a block has thousands of addresses to be written."""
_SHIFTS = range(5 * (_LOCK_FIVES - 2), -1, -10)


class AddressError(ValueError):
    """Not an address of this network; the text says why."""


def _polymod(values: bytes) -> int:
    check = 1
    for value in values:
        check = (check & 0x1FFFFFF) << 5 ^ value ^ _REDUCTIONS[check >> 25]
    return check


@functools.lru_cache(16)
def _expand(hrp: str) -> bytes:
    return bytes([*(ord(c) >> 5 for c in hrp), 0, *(ord(c) & 31 for c in hrp)])


def bech32m_encode(hrp: str, values: bytes) -> str:
    """Text of `values`, each of five bits, with their checksum."""
    check = _polymod(_expand(hrp) + values + bytes(_CHECKSUM)) ^ _BECH32M
    tail = bytes(check >> 5 * (_CHECKSUM - 1 - i) & 31 for i in range(_CHECKSUM))
    return f"{hrp}1{(values + tail).translate(_TO_TEXT).decode()}"


def bech32m_decode(text: str) -> tuple[str, bytes]:
    """Prefix and values of five bits of `text`. Raises: AddressError."""
    hrp, values = _split(text)
    return hrp, _checked(hrp, values)


def _split(text: str) -> tuple[str, bytes]:
    """Prefix and values, those of the checksum too, which is not looked at. Raises: AddressError."""
    if len(text) > _LENGTH_MAX:
        raise AddressError("an address has at most 90 characters")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise AddressError("an address has letters and digits only")
    if text.lower() != text and text.upper() != text:
        raise AddressError("an address does not mix capital and small letters")
    hrp, separator, body = text.lower().rpartition("1")
    if not separator or not hrp or len(body) < _CHECKSUM:
        raise AddressError("an address has a prefix, the digit 1 and a body")
    data = body.encode()
    if data.translate(None, _ALPHABET):
        raise AddressError("an address has no character like b, i, o or a sign in its body")
    return hrp, data.translate(_TO_FIVES)


def _checked(hrp: str, values: bytes) -> bytes:
    """The values before the checksum. Raises: AddressError."""
    if _polymod(_expand(hrp) + values) != _BECH32M:
        raise AddressError("the checksum of the address is wrong: it was mistyped")
    return values[:-_CHECKSUM]


def encode_address(hrp: str, lock: bytes) -> str:
    """The address of a 32-byte lock hash."""
    assert len(lock) == _LOCK_BYTES
    number = int.from_bytes(lock, "big") << _FILLING_BITS
    fives = b"".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])
    return bech32m_encode(hrp, bytes([ADDRESS_VERSION]) + fives)


def decode_address(hrp: str, text: str) -> LockHash:
    """The lock hash that `text` pays to. Raises: AddressError."""
    found, checked = _split(text)
    # First: an address of another currency has a checksum of another kind, and may be no mistake.
    if found != hrp:
        raise AddressError(f"the address is for {found!r}, this network uses {hrp!r}")
    values = _checked(hrp, checked)
    if not values or values[0] != ADDRESS_VERSION:
        raise AddressError("the address has a version that this program does not know")
    fives = values[1:]
    if len(fives) != _LOCK_FIVES:
        raise AddressError("the address does not hold 32 bytes")
    number = int(fives.translate(_TO_BASE_32), 32)
    if number & ((1 << _FILLING_BITS) - 1):
        raise AddressError("the address has wrong filling bits")
    return LockHash((number >> _FILLING_BITS).to_bytes(_LOCK_BYTES, "big"))
