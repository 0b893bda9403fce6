"""The key and certificate of this node, in one file of its data directory, and its members file."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

from consensus.errors import StorageError
from node.config import ConfigError, Settings
from node.datadir import DataDirectory
from node.disk import SYSTEM_DISK, read_file
from p2p.tls import Certificate, Tls, TlsError, decode_identity, decode_members, make_identity

IDENTITY_FILE = "peer.pem"
MEMBERS_BYTES_MAX = 16 << 20

log = logging.getLogger(__name__)


def load_certificate(directory: DataDirectory, now: int) -> Certificate:
    """This node's certificate, made if there is none. Raises: StorageError."""
    data = directory.load(IDENTITY_FILE)
    if data is None:
        data = make_identity()
        directory.save(IDENTITY_FILE, data)
        log.info("made a key and a certificate for this node: %s", directory.path / IDENTITY_FILE)
    return _decode(directory.path / IDENTITY_FILE, data, now)


def _decode(path: Path, data: bytes, now: int) -> Certificate:
    rights = stat.S_IMODE(path.stat().st_mode)
    if rights & 0o077:
        raise StorageError(
            f"others may read the key in {path}",
            f"chmod 600 {path}; if somebody may have read it, remove it and a new one is made",
        )
    try:
        return decode_identity(data, now)
    except TlsError as error:
        raise StorageError(
            f"cannot use {path}: {error}",
            "restore it from a backup; or remove it, and tell the new certificate to whoever "
            "pinned the old",
        ) from None


def show_certificate(datadir: Path, now: int) -> Certificate:
    """Like `load_certificate`, also beside a running node. Raises: StorageError."""
    path = datadir / IDENTITY_FILE
    try:
        return _decode(path, read_file(SYSTEM_DISK, path), now)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}", "mend its rights") from None
    directory = DataDirectory(datadir)
    try:
        return load_certificate(directory, now)
    finally:
        directory.close()


def load_tls(settings: Settings, directory: DataDirectory, now: int) -> Tls | None:
    """What the network needs for TLS, None if it is off. Raises: StorageError, ConfigError."""
    if settings.config.p2p_tls == "off":
        return None
    certificate = load_certificate(directory, now)
    members = []
    if settings.members is not None:
        members = _load_members(settings.members, now)
        if certificate.fingerprint not in {member.fingerprint for member in members}:
            log.warning(
                "%s lacks this node's own certificate, %s: with such a file the others refuse it",
                settings.members, certificate.fingerprint.hex(),
            )  # fmt: skip
    try:
        return Tls(
            directory.path / IDENTITY_FILE,
            certificate,
            is_required=settings.config.p2p_tls == "required",
            members=members,
            pins=settings.pins,
        )
    except TlsError as error:
        raise ConfigError(f"p2p-tls: {error}") from None


def check_members_owner(path: Path, found: os.stat_result, uid: int) -> None:
    """Whether only the user with number `uid`, who runs the node, and root may write it.

    Raises: ConfigError.
    """
    if stat.S_IMODE(found.st_mode) & 0o022:
        raise ConfigError(f"members: others may write {path}; chmod go-w {path}")
    if found.st_uid not in (0, uid):
        raise ConfigError(
            f"members: {path} belongs to another user (number {found.st_uid}), who may write "
            "it; have it belong to whoever runs the node, or to root"
        )


def _load_members(path: Path, now: int) -> list[Certificate]:
    try:
        found = path.stat()
        check_members_owner(path, found, os.geteuid())
        if found.st_size > MEMBERS_BYTES_MAX:
            raise ConfigError(f"members: {path} is larger than {MEMBERS_BYTES_MAX} bytes")
        members = decode_members(read_file(SYSTEM_DISK, path))
    except OSError as error:
        raise ConfigError(f"members: cannot read {path}: {error.strerror}") from None
    except TlsError as error:
        raise ConfigError(f"members: {path}: {error}") from None
    for member in members:
        if not member.is_valid_at(now):
            log.warning(
                "the certificate of the member %s is valid from %s to %s, and not now: no "
                "connection with it comes about",
                member.fingerprint.hex(), member.first_day.date(), member.last_day.date(),
            )  # fmt: skip
    return members
