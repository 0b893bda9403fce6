"""Files of the wallet: bounded reads, and writes that leave the old or the new file, whole."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from wallet.errors import WalletError

OWNER_ONLY = 0o600
OWN_ENDINGS = (".bak", ".lock", ".new", ".pay")
"""Behind the name of a wallet file: its spare copy, lock, next version, and journal."""
_LOCK_TRIES = 100
_LOCK_PAUSE_S = 0.1


def read_file(path: Path, size_max: int) -> bytes:
    """The bytes of `path`. Raises: WalletError."""
    data = read_file_if_there(path, size_max)
    if data is None:
        raise WalletError(f"{path}: no such file")
    return data


def read_file_if_there(path: Path, size_max: int) -> bytes | None:
    """The bytes of `path`; None only if there is certainly nothing of that name.

    Raises: WalletError.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(size_max + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise WalletError(f"{path}: {error.strerror}") from None
    if len(data) > size_max:
        raise WalletError(f"{path}: larger than {size_max} bytes, so not what it should be")
    return data


def write_file(path: Path, data: bytes) -> None:
    """Replace `path` by `data`; a kill or a power cut leaves the old file or the new one.

    Raises: WalletError.
    """
    fresh = path.with_name(path.name + ".new")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, OWNER_ONLY)
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, OWNER_ONLY)
            file.write(data)
            file.flush()
            os.fsync(descriptor)  # before the rename, else the new name may hold nothing
        os.replace(fresh, path)
        _sync_directory(path.parent)
    except OSError as error:
        raise WalletError(f"{path}: cannot be written: {error.strerror}") from None


def make_directory(path: Path) -> None:
    """Make `path` and what is above it, for its owner only. Raises: WalletError."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise WalletError(f"{path}: cannot be made: {error.strerror}") from None


def make_durable_directory(path: Path) -> None:
    """Make `path`, for its owner only, in a directory that exists; it outlasts a loss of power.

    Raises: WalletError.
    """
    make_directory(path)
    try:
        # Also if it was there: whoever made it may have been ended before this, and then the power
        # takes it, with all that is synced in it.
        _sync_directory(path.parent)
    except OSError as error:
        raise WalletError(f"{path}: cannot be made: {error.strerror}") from None


def remove_file(path: Path) -> None:
    """Remove `path` if it is there. Raises: WalletError."""
    try:
        path.unlink(missing_ok=True)
        _sync_directory(path.parent)
    except OSError as error:
        raise WalletError(f"{path}: cannot be removed: {error.strerror}") from None


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path, pause: Callable[[float], None]) -> Iterator[None]:
    """Hold the lock that belongs to `path`; wait some seconds for another process to give it up.

    The lock is a file of its own, because saving replaces the wallet file. Raises: WalletError.
    """
    lock_path = path.with_name(path.name + ".lock")
    try:
        descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT, OWNER_ONLY)
    except FileNotFoundError:
        raise WalletError(f"{path}: no such file") from None
    except OSError as error:
        raise WalletError(f"{lock_path}: {error.strerror}") from None
    try:
        for _ in range(_LOCK_TRIES):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                pause(_LOCK_PAUSE_S)
        else:
            raise WalletError(f"{path}: another tael command has it open")
        yield
    finally:
        os.close(descriptor)  # gives up the lock
