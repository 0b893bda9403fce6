"""The door to the disk, with every change that goes through it numbered, and one that goes wrong."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from node.disk import READ, SYSTEM_DISK


class Killed(BaseException):
    """The process ended here. Nothing may catch it, as nothing can catch a kill."""


def kill(what: str) -> None:
    raise Killed(what)


def full(what: str) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), what)


def broken(what: str) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO), what)


class NumberedDisk:
    """The disk of this machine. At change number `at`, counted from 0, `fail` is called instead.

    A write that fails has written half. `lasts`: every later change fails too, as on a full disk.
    """

    def __init__(
        self, at: int = -1, fail: Callable[[str], None] = kill, lasts: bool = False
    ) -> None:
        self.changes: list[str] = []
        self._at = at
        self._fail = fail
        self._lasts = lasts

    close = staticmethod(os.close)
    pread = staticmethod(os.pread)
    listdir = staticmethod(os.listdir)
    lock = staticmethod(SYSTEM_DISK.lock)
    size = staticmethod(SYSTEM_DISK.size)

    def on_turn(self, fail: Callable[[str], None]) -> None:
        """Have this called at the change that goes wrong."""
        self._fail = fail

    def number(self, what: str) -> None:
        """Count a change, and have it go wrong if it is its turn."""
        number = len(self.changes)
        self.changes.append(what)
        if number == self._at or (self._lasts and 0 <= self._at < number):
            self._fail(what)

    def open(self, path: Path, flags: int, mode: int = 0o600) -> int:
        if flags != READ and not path.exists():
            self.number(f"create {path.name}")
        return SYSTEM_DISK.open(path, flags, mode)

    def write(self, descriptor: int, data: bytes | memoryview) -> int:
        try:
            self.number("write")
        except (Killed, OSError):
            os.write(descriptor, data[: len(data) // 2])
            raise
        return os.write(descriptor, data)

    def fsync(self, descriptor: int) -> None:
        self.number("fsync")
        os.fsync(descriptor)

    def truncate(self, path: Path, size: int) -> None:
        self.number(f"truncate {path.name}")
        os.truncate(path, size)

    def unlink(self, path: Path) -> None:
        self.number(f"unlink {path.name}")
        os.unlink(path)

    def replace(self, source: Path, target: Path) -> None:
        self.number(f"rename {source.name}")
        os.replace(source, target)

    def mkdir(self, path: Path, mode: int = 0o777) -> None:
        if not path.exists():
            self.number(f"mkdir {path.name}")
        SYSTEM_DISK.mkdir(path, mode)
