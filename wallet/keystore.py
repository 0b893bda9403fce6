"""The wallet file: one encrypted, authenticated blob.

Everything is inside: words, labels, addresses, history. So nobody who reads the disk learns who was
paid, and nobody who writes it can plant an address. The price is that every command needs the
passphrase.

    magic 8 | version 1 | kdf 1 | iterations, lanes, KiB 4 each | salt 16 | nonce 12 | sealed

The bytes before `sealed` are authenticated with it, so a lowered cost of key derivation does not
open the file, and every change of any byte gets the same one answer.

Source: docs/wallet.md, "The wallet file"; RFC 9106 (Argon2id), RFC 8439 (ChaCha20-Poly1305).
"""

from __future__ import annotations

import struct
import unicodedata
from collections.abc import Callable
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from wallet.errors import WalletError
from wallet.files import read_file, remove_file, write_file

_MAGIC = b"TAELWLT\x00"
_VERSION = 1
_KDF_ARGON2ID = 1
_FIXED = struct.Struct(">8sBBIII")
_SALT_BYTES = 16
_NONCE_BYTES = 12
_TAG_BYTES = 16
_HEADER_BYTES = _FIXED.size + _SALT_BYTES + _NONCE_BYTES
FILE_BYTES_MAX = 64 * 1024 * 1024
PAYLOAD_BYTES_MAX = FILE_BYTES_MAX - _HEADER_BYTES - _TAG_BYTES

Entropy = Callable[[int], bytes]
"""Answers with that many random bytes, fit for keys."""


class Cost(msgspec.Struct, frozen=True):
    """What one guess of the passphrase costs."""

    iterations: int
    lanes: int
    memory_kib: int


DEFAULT_COST = Cost(iterations=3, lanes=4, memory_kib=64 * 1024)
"""The second recommendation of RFC 9106, section 4: about a quarter of a second."""
# More than any version wrote: a tampered header shall not take the machine's memory.
_COST_MAX = Cost(iterations=32, lanes=16, memory_kib=1024 * 1024)


class Keystore:
    """An opened wallet file: the key that seals it, so that saving asks for no passphrase."""

    def __init__(self, path: Path, key: bytes, header: bytes, entropy: Entropy) -> None:
        """`header` is the part before the nonce. Use `create_keystore` or `open_keystore`."""
        self.path = path
        self._key = key
        self._header = header
        self._entropy = entropy

    @property
    def backup_path(self) -> Path:
        return _backup_path(self.path)

    def save(self, payload: bytes) -> None:
        """Seal `payload` into the file; what was there before stays as the backup.

        Raises: WalletError.
        """
        if len(payload) > PAYLOAD_BYTES_MAX:  # such a file could not be opened again
            raise WalletError(f"{self.path}: the wallet has grown too large; nothing was saved")
        sealed = self._seal(payload)
        if self.path.exists():
            write_file(self.backup_path, read_file(self.path, FILE_BYTES_MAX))
        write_file(self.path, sealed)

    def _seal(self, payload: bytes) -> bytes:
        header = self._header + self._entropy(_NONCE_BYTES)
        nonce = header[-_NONCE_BYTES:]
        return header + ChaCha20Poly1305(self._key).encrypt(nonce, payload, header)

    def change_passphrase(self, passphrase: str, cost: Cost, payload: bytes) -> Keystore:
        """Seal `payload` under a new passphrase, and drop the backup that the old one opens.

        Raises: WalletError.
        """
        changed = _derive(self.path, passphrase, cost, self._entropy)
        write_file(self.path, changed._seal(payload))
        remove_file(self.backup_path)
        return changed


def check_absent(path: Path) -> None:
    """Raises: WalletError, if a new wallet at `path` would replace something."""
    for there in (path, _backup_path(path)):
        if there.exists():
            raise WalletError(f"{there}: a wallet is there already; choose another with --wallet")


def create_keystore(
    path: Path, passphrase: str, payload: bytes, cost: Cost, entropy: Entropy
) -> Keystore:
    """Make a new wallet file. Raises: WalletError, also if there is one already."""
    check_absent(path)
    keystore = _derive(path, passphrase, cost, entropy)
    keystore.save(payload)
    return keystore


def open_keystore(path: Path, passphrase: str, entropy: Entropy) -> tuple[Keystore, bytes]:
    """Open a wallet file; return it with what it holds. Raises: WalletError."""
    data = read_file(path, FILE_BYTES_MAX)
    header, sealed = data[:_HEADER_BYTES], data[_HEADER_BYTES:]
    if len(header) < _HEADER_BYTES or len(sealed) < _TAG_BYTES:
        raise _refusal(path)
    magic, version, kdf, *numbers = _FIXED.unpack_from(header)
    if magic == _MAGIC and version > _VERSION:
        raise WalletError(
            f"{path}: the file has version {version}, this tael reads {_VERSION} (use the tael that wrote "
            f"it, or a newer one; if the file is corrupt, {_backup_path(path).name} or the words)"
        )
    if (magic, version, kdf) != (_MAGIC, _VERSION, _KDF_ARGON2ID):
        raise _refusal(path)
    cost = Cost(*numbers)
    if not _is_sane(cost):
        raise _refusal(path)
    salt = header[_FIXED.size : _FIXED.size + _SALT_BYTES]
    key = _stretch(passphrase, salt, cost)
    nonce = header[-_NONCE_BYTES:]
    try:
        payload = ChaCha20Poly1305(key).decrypt(nonce, sealed, header)
    except InvalidTag:
        raise _refusal(path) from None
    return Keystore(path, key, header[:-_NONCE_BYTES], entropy), payload


def _backup_path(path: Path) -> Path:
    return path.with_name(path.name + ".bak")


def _refusal(path: Path) -> WalletError:
    return WalletError(
        f"{path}: corrupt or wrong passphrase (if it is corrupt, use {_backup_path(path).name} "
        "or restore from the words)"
    )


def _is_sane(cost: Cost) -> bool:
    return (
        1 <= cost.iterations <= _COST_MAX.iterations
        and 1 <= cost.lanes <= _COST_MAX.lanes
        and 8 * cost.lanes <= cost.memory_kib <= _COST_MAX.memory_kib  # the least of RFC 9106
    )


def _derive(path: Path, passphrase: str, cost: Cost, entropy: Entropy) -> Keystore:
    salt = entropy(_SALT_BYTES)
    fixed = _FIXED.pack(
        _MAGIC, _VERSION, _KDF_ARGON2ID, cost.iterations, cost.lanes, cost.memory_kib
    )
    return Keystore(path, _stretch(passphrase, salt, cost), fixed + salt, entropy)


def _stretch(passphrase: str, salt: bytes, cost: Cost) -> bytes:
    try:
        kdf = Argon2id(
            salt=salt, length=32, iterations=cost.iterations, lanes=cost.lanes,
            memory_cost=cost.memory_kib,
        )  # fmt: skip
    except UnsupportedAlgorithm:
        raise WalletError(
            "this build of the cryptography package lacks Argon2id; install it as a wheel"
        ) from None
    # One form of what looks the same, whatever keyboard it was typed on (as BIP39 does it).
    normal = unicodedata.normalize("NFKD", passphrase)
    return kdf.derive(normal.encode("utf-8", "surrogateescape"))
