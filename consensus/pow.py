"""Proof of work: compact targets, work, and the ASERT difficulty rule (aserti3-2d).

Source: docs/protocol.md, "Difficulty".
"""

from __future__ import annotations

_RADIX = 1 << 16
TARGET_BITS = 256


def target_of(bits: int) -> int:
    """The target that `bits` stand for: 0 if negative or zero, and not bounded above."""
    exponent, mantissa = bits >> 24, bits & 0x007FFFFF
    if bits & 0x00800000:
        return 0
    return mantissa >> 8 * (3 - exponent) if exponent <= 3 else mantissa << 8 * (exponent - 3)


def bits_of(target: int) -> int:
    """Compact form of `target`, its lower digits dropped."""
    size = (target.bit_length() + 7) // 8
    mantissa = target << 8 * (3 - size) if size <= 3 else target >> 8 * (size - 3)
    if mantissa & 0x00800000:  # the highest bit is a sign, so a leading one needs another byte
        mantissa >>= 8
        size += 1
    return mantissa | size << 24


def is_canonical_bits(bits: int) -> bool:
    """True if `bits` stand for a target from 1 to 2**256 - 1 and are its only compact form."""
    target = target_of(bits)
    return 0 < target < 1 << TARGET_BITS and bits_of(target) == bits


def work_of(bits: int) -> int:
    """Hashes that a block of target `bits` stands for, on average."""
    return (1 << TARGET_BITS) // (target_of(bits) + 1)


def hash_as_number(block_hash: bytes) -> int:
    """The number that is compared with the target: the hash, little-endian."""
    return int.from_bytes(block_hash, "little")


def asert_bits(
    anchor_bits: int, time_since_anchor_parent: int, height_since_anchor: int,
    interval_s: int, half_life_s: int, limit_bits: int,
) -> int:  # fmt: skip
    """Bits of the block after one that lies `height_since_anchor` blocks above the anchor.

    `time_since_anchor_parent` is that block's time less the time of the anchor's *parent*. All times
    are in seconds. The exponent is a fixed-point number of 16 fractional bits; 2**x is a cubic that
    is exact to 0.013 %.
    """
    drift = time_since_anchor_parent - interval_s * (height_since_anchor + 1)
    # Truncated toward zero, not floored: on negative drift Python's // is one lower.
    exponent = abs(drift) * _RADIX // half_life_s * (1 if drift >= 0 else -1)
    shifts, fraction = exponent >> 16, exponent & 0xFFFF
    factor = _RADIX + (
        195_766_423_245_049 * fraction + 971_821_376 * fraction**2 + 5_127 * fraction**3 + (1 << 47)
        >> 48
    )
    target = target_of(anchor_bits) * factor
    # At the far ends the shift alone decides, and 2**shifts would not fit into memory.
    if shifts > TARGET_BITS:
        return limit_bits
    target = target << shifts if shifts >= 0 else target >> min(-shifts, 2 * TARGET_BITS)
    target >>= 16
    limit = target_of(limit_bits)
    return bits_of(min(max(target, 1), limit)) if target < limit else limit_bits
