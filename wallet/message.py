"""Signed texts: proof that the keys of an address stand behind it, without spending anything.

The signature is a witness, as a transaction would carry it, so that every lock made of keys can
sign: single keys and multisig alike. Each item signs the tagged hash of the address, the place of its
key in the lock, and the text.

Source: docs/wallet.md, "Signed messages".
"""

from __future__ import annotations

import base64
import binascii

from consensus.codec import decode_canonical, decoder_of, encode
from consensus.errors import Violation
from consensus.hashes import LockHash, hash_message
from consensus.keys import are_signed, sig_check
from consensus.locks import SIGNATURE_BYTES, open_lock
from consensus.sighash import SCOPE_ALL
from consensus.tx import NATIVE, Coin, Height, Key, Lock, Path, Sha256, Witness
from wallet.errors import WalletError
from wallet.keys import signature_item
from wallet.sign import SecretOf, Situation, atoms_of, witness_of

MESSAGE_BYTES_MAX = 1024 * 1024
_WITNESS = decoder_of(Witness)


def message_digest(address: str, path: Path, text: str) -> bytes:
    """What the key at `path` of the address's lock signs."""
    return hash_message(encode((address.encode("ascii"), path, text.encode("utf-8"))))


def check_text(text: str) -> str:
    """Raises: WalletError for what is no Unicode text."""
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError:
        raise WalletError("the text of a message must be UTF-8") from None
    if size > MESSAGE_BYTES_MAX:
        raise WalletError(f"the text of a message has at most {MESSAGE_BYTES_MAX} bytes")
    return text


def sign_message(address: str, lock: Lock, text: str, secret_of: SecretOf) -> str:
    """The signature as base64. Raises: WalletError if the wallet's keys do not suffice."""
    items: dict[Path, bytes] = {}
    for path, atom in atoms_of(lock):
        secret = secret_of(atom.pubkey) if isinstance(atom, Key) else None
        if secret is not None:
            items[path] = signature_item(secret, message_digest(address, path, text))
    # Time locks say when coins may move, not who their owner is: they count as passed.
    nothing = Coin(NATIVE, 1, LockHash(bytes(32)), Height(0), False)
    witness = witness_of(lock, Situation(nothing, None, items, {}))
    if witness is None:
        raise WalletError("the keys of this wallet do not suffice for the lock of the address")
    return base64.b64encode(encode(witness)).decode("ascii")


def verify_message(address: str, lock_hash: LockHash, text: str, signature: str) -> bool:
    """Whether the signature is that of the address on the text. Raises: WalletError if it is not
    even the form of one."""
    try:
        witness = decode_canonical(_WITNESS, base64.b64decode(signature, validate=True))
    except (binascii.Error, ValueError, Violation):
        raise WalletError("not a signature of a message") from None
    try:
        opened = open_lock(witness.lock)
    except Violation:
        return False
    keys = [(path, atom) for path, atom in opened.atoms if isinstance(atom, Key)]
    if opened.hash != lock_hash or not keys or len(keys) != len(witness.items):
        return False
    if any(isinstance(atom, Sha256) for _, atom in opened.atoms):
        return False
    if any(len(item) != SIGNATURE_BYTES or item[0] != SCOPE_ALL for item in witness.items):
        return False
    return are_signed(
        sig_check(atom.pubkey, message_digest(address, path, text), item[1:])
        for (path, atom), item in zip(keys, witness.items, strict=True)
    )
