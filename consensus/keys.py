"""Verification of signatures: ECDSA on secp256k1, 33-byte keys, compact low-S signatures.

The only place that calls libsecp256k1 to verify. No secret ever comes here.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NewType

from coincurve._libsecp256k1 import ffi, lib
from coincurve.context import GLOBAL_CONTEXT

SigCheck = NewType("SigCheck", bytes)
"""129 bytes: public key (33) || digest (32) || r || s (64). Work that a rule asks for."""
SIGCHECK_BYTES = 129
PARSED_KEYS_MAX = 16_384
"""Keys kept as points on the curve: about 300 bytes each."""
_CONTEXT = GLOBAL_CONTEXT.ctx


def sig_check(pubkey: bytes, digest: bytes, signature: bytes) -> SigCheck:
    """The work of verifying one signature. `signature` is r || s."""
    return SigCheck(pubkey + digest + signature)


def is_signed(check: SigCheck) -> bool:
    """Whether the signature holds. High-S, an overflowing r or s and a key off the curve do not."""
    return are_signed((check,))


@lru_cache(PARSED_KEYS_MAX)
def _point(pubkey: bytes) -> Any | None:
    """The point that a key stands for; None off the curve.

    Finding it takes a square root, an eighth of the time of a signature, and many keys sign again.
    """
    point = ffi.new("secp256k1_pubkey *")
    return point if lib.secp256k1_ec_pubkey_parse(_CONTEXT, point, pubkey, len(pubkey)) else None


def are_signed(checks: Iterable[bytes]) -> bool:
    """Whether every signature holds; stops at the first that does not.

    libsecp256k1 is called directly: the wrapper takes DER only, and turning r || s into DER and back
    costs more than everything else here but the curve itself. It refuses high-S by itself.
    """
    context, parse, verify = (
        _CONTEXT,
        lib.secp256k1_ecdsa_signature_parse_compact,
        lib.secp256k1_ecdsa_verify,
    )
    signature = ffi.new("secp256k1_ecdsa_signature *")
    for check in checks:
        point = _point(check[:33])
        if not (
            point
            and parse(context, signature, check[65:])
            and verify(context, signature, check[33:65], point)
        ):
            return False
    return True
