"""Addresses: bech32m of a lock hash, in the form that BIP350 gives to witness version 1.

Source: docs/protocol.md, "Addresses"; BIP173 and BIP350 for the code itself.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable

from consensus.hashes import LockHash

_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}
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


class AddressError(ValueError):
    """Not an address of this network; the text says why."""


def _polymod(values: Iterable[int]) -> int:
    check = 1
    for value in values:
        check = (check & 0x1FFFFFF) << 5 ^ value ^ _REDUCTIONS[check >> 25]
    return check


def _expand(hrp: str) -> list[int]:
    return [ord(c) >> 5 for c in hrp] + [0] + [ord(c) & 31 for c in hrp]


def bech32m_encode(hrp: str, values: list[int]) -> str:
    """Text of 5-bit `values` with their checksum."""
    check = _polymod(_expand(hrp) + values + [0] * _CHECKSUM) ^ _BECH32M
    tail = [check >> 5 * (_CHECKSUM - 1 - i) & 31 for i in range(_CHECKSUM)]
    return hrp + "1" + "".join(_ALPHABET[value] for value in values + tail)


def bech32m_decode(text: str) -> tuple[str, list[int]]:
    """Prefix and 5-bit values of `text`. Raises: AddressError."""
    if len(text) > _LENGTH_MAX:
        raise AddressError("an address has at most 90 characters")
    if any(not 33 <= ord(c) <= 126 for c in text):
        raise AddressError("an address has letters and digits only")
    if text.lower() != text and text.upper() != text:
        raise AddressError("an address does not mix capital and small letters")
    text = text.lower()
    hrp, separator, data = text.rpartition("1")
    if not separator or not hrp or len(data) < _CHECKSUM:
        raise AddressError("an address has a prefix, the digit 1 and a body")
    if any(c not in _VALUES for c in data):
        raise AddressError("an address has no character like b, i, o or a sign in its body")
    values = [_VALUES[c] for c in data]
    if _polymod(_expand(hrp) + values) != _BECH32M:
        raise AddressError("the checksum of the address is wrong: it was mistyped")
    return hrp, values[:-_CHECKSUM]


def _regroup(values: Iterable[int], width: int, wanted: int, pad: bool) -> list[int]:
    pending, bits, out = 0, 0, []
    for value in values:
        pending = pending << width | value
        bits += width
        while bits >= wanted:
            bits -= wanted
            out.append(pending >> bits & ((1 << wanted) - 1))
        pending &= (1 << bits) - 1
    if pad and bits:
        out.append(pending << (wanted - bits))
    elif not pad and (bits >= width or pending):
        raise AddressError("the address has a wrong length or wrong filling bits")
    return out


def encode_address(hrp: str, lock: bytes) -> str:
    """The address of a 32-byte lock hash."""
    assert len(lock) == 32
    return bech32m_encode(hrp, [ADDRESS_VERSION, *_regroup(lock, 8, 5, pad=True)])


def decode_address(hrp: str, text: str) -> LockHash:
    """The lock hash that `text` pays to. Raises: AddressError."""
    found, values = bech32m_decode(text)
    if found != hrp:
        raise AddressError(f"the address is for {found!r}, this network uses {hrp!r}")
    if not values or values[0] != ADDRESS_VERSION:
        raise AddressError("the address has a version that this program does not know")
    lock = bytes(_regroup(values[1:], 5, 8, pad=False))
    if len(lock) != 32:
        raise AddressError("the address does not hold 32 bytes")
    return LockHash(lock)
