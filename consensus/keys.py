"""Verification of signatures: ECDSA on secp256k1, 33-byte keys, compact low-S signatures.

The only place that calls libsecp256k1 to verify. No secret ever comes here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NewType

from coincurve._libsecp256k1 import ffi, lib
from coincurve.context import GLOBAL_CONTEXT

SigCheck = NewType("SigCheck", bytes)
"""129 bytes: public key (33) || digest (32) || r || s (64). Work that a rule asks for."""
SIGCHECK_BYTES = 129


def sig_check(pubkey: bytes, digest: bytes, signature: bytes) -> SigCheck:
    """The work of verifying one signature. `signature` is r || s."""
    return SigCheck(pubkey + digest + signature)


def is_signed(check: SigCheck) -> bool:
    """Whether the signature holds. High-S, an overflowing r or s and a key off the curve do not."""
    return are_signed((check,))


def are_signed(checks: Iterable[bytes]) -> bool:
    """Whether every signature holds; stops at the first that does not.

    libsecp256k1 is called directly: the wrapper takes DER only, and turning r || s into DER and back
    costs more than everything else here but the curve itself. It refuses high-S by itself.
    """
    context = GLOBAL_CONTEXT.ctx
    key = ffi.new("secp256k1_pubkey *")
    signature = ffi.new("secp256k1_ecdsa_signature *")
    for check in checks:
        if not (
            lib.secp256k1_ec_pubkey_parse(context, key, check[:33], 33)
            and lib.secp256k1_ecdsa_signature_parse_compact(context, signature, check[65:])
            and lib.secp256k1_ecdsa_verify(context, signature, check[33:65], key)
        ):
            return False
    return True
