"""Who may call: the cookie that local programs read, and users from the configuration.

A user is a line `name:salt$hmac` or `name:salt$hmac:readonly`. The first form is Bitcoin Core's
`rpcauth`: hmac is HMAC-SHA256 in hex, with the salt's text as key and the password as message. It is
cheap to compute on purpose: a slow hash would let strangers keep the node busy, and a password for a
program is random and long, so that guessing it is hopeless anyway.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from node.disk import CREATE, SYSTEM_DISK, Disk, write_all
from node.rpc.method import Role

COOKIE_USER = "__cookie__"
CREDENTIALS_LENGTH_MAX = 1_024
_ROLES = {"admin": Role.ADMIN, "readonly": Role.READ}


class AuthError(ValueError):
    """A line of the configuration that is not a user; the text says why."""


class User(NamedTuple):
    """A name, what its password must hash to, and what it may do."""

    name: str
    salt: str
    digest: bytes
    role: Role


_NOBODY = User("", "nobody", bytes(32), Role.READ)


def _hash(salt: str, password: str) -> bytes:
    return hmac.digest(
        salt.encode("utf-8", "surrogateescape"),
        password.encode("utf-8", "surrogateescape"),
        hashlib.sha256,
    )


def make_user(name: str, password: str, salt: str, role: Role) -> User:
    """A user; `salt` is random text."""
    return User(name, salt, _hash(salt, password), role)


def user_line(user: User) -> str:
    """The line for the configuration."""
    line = f"{user.name}:{user.salt}${user.digest.hex()}"
    return line if user.role is Role.ADMIN else f"{line}:readonly"


def parse_user(line: str) -> User:
    """Inverse of `user_line`. Raises: AuthError."""
    name, _, rest = line.partition(":")
    secret, _, role = rest.partition(":")
    salt, _, digest = secret.partition("$")
    try:
        raw = bytes.fromhex(digest)
    except ValueError:
        raw = b""
    if not name or not salt or len(raw) != 32:
        raise AuthError("an RPC user is name:salt$hmac, the hmac 64 hexadecimal digits")
    if (role or "admin") not in _ROLES:
        raise AuthError(f"the role of RPC user {name!r} must be admin or readonly")
    return User(name, salt, raw, _ROLES[role or "admin"])


class Authenticator:
    """Answers which user an Authorization header stands for."""

    def __init__(self, users: Iterable[User]) -> None:
        self.set_users(users)

    def set_users(self, users: Iterable[User]) -> None:
        """Know these from now on, and no others."""
        self._users = {user.name: user for user in users}

    def check(self, header: str | None) -> User | None:
        """The user, or None. Takes as long for a wrong name as for a wrong password."""
        name, password = _basic(header)
        user = self._users.get(name, _NOBODY)
        matches = hmac.compare_digest(_hash(user.salt, password), user.digest)
        return user if matches and user is not _NOBODY else None


def _basic(header: str | None) -> tuple[str, str]:
    scheme, _, value = (header or "").partition(" ")
    if scheme.lower() != "basic" or len(value) > CREDENTIALS_LENGTH_MAX:
        return "", ""
    try:
        text = base64.b64decode(value.strip(), validate=True).decode("utf-8", "surrogateescape")
    except (binascii.Error, ValueError):
        return "", ""
    name, _, password = text.partition(":")
    return name, password


def write_cookie(path: Path, secret: bytes, disk: Disk = SYSTEM_DISK) -> User:
    """Write `path` so that only the owner can read it, and return the user that it stands for.

    `secret` are 32 random bytes. A program that reads the file sees the old one or the new one,
    whole. Raises: OSError.
    """
    assert len(secret) == 32
    password = secret.hex()
    fresh = path.with_name(path.name + ".new")
    with suppress(FileNotFoundError):
        disk.unlink(fresh)
    # The mode is given at creation: between creating and changing it, others could open the file.
    descriptor = disk.open(fresh, CREATE)
    try:
        write_all(disk, descriptor, f"{COOKIE_USER}:{password}".encode())
    finally:
        disk.close(descriptor)
    disk.replace(fresh, path)
    return make_user(COOKIE_USER, password, "cookie", Role.ADMIN)


def remove_cookie(path: Path, disk: Disk = SYSTEM_DISK) -> None:
    """Take the cookie away when the node ends. Raises: OSError."""
    with suppress(FileNotFoundError):
        disk.unlink(path)
