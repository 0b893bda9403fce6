"""The files of a node, behind one door: what the operating system offers, under its own names.

Everything that is written to files (LevelDB's own apart) goes through a `Disk`, so that a simulation
can tear it, lose it and fill it up.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Protocol

READ = os.O_RDONLY
APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND
REPLACE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL
LOCK = os.O_RDWR | os.O_CREAT


class Disk(Protocol):
    """Files and directories. Everything here raises OSError, as the functions of `os` do."""

    def open(self, path: Path, flags: int, mode: int = 0o600) -> int:
        """Open a file; `flags` is one of those above."""

    def close(self, descriptor: int) -> None: ...

    def lock(self, descriptor: int) -> None:
        """Lock an open file for this process alone. Raises: OSError, at once, if another has."""

    def write(self, descriptor: int, data: bytes | memoryview) -> int:
        """Write some of `data` behind what is there; return how many bytes."""

    def pread(self, descriptor: int, size: int, offset: int) -> bytes: ...

    def fsync(self, descriptor: int) -> None:
        """Return when the file, or the directory, is on the disk."""

    def truncate(self, path: Path, size: int) -> None: ...

    def unlink(self, path: Path) -> None: ...

    def replace(self, source: Path, target: Path) -> None: ...

    def mkdir(self, path: Path, mode: int = 0o777) -> None:
        """Make a directory and those above it, if they are missing."""

    def listdir(self, path: Path) -> list[str]: ...

    def size(self, path: Path) -> int:
        """Bytes in a file."""


class SystemDisk:
    """The disk of this machine."""

    close = staticmethod(os.close)
    write = staticmethod(os.write)
    pread = staticmethod(os.pread)
    fsync = staticmethod(os.fsync)
    truncate = staticmethod(os.truncate)
    unlink = staticmethod(os.unlink)
    replace = staticmethod(os.replace)
    listdir = staticmethod(os.listdir)

    def open(self, path: Path, flags: int, mode: int = 0o600) -> int:
        return os.open(path, flags, mode)

    def lock(self, descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def mkdir(self, path: Path, mode: int = 0o777) -> None:
        path.mkdir(mode=mode, parents=True, exist_ok=True)

    def size(self, path: Path) -> int:
        return path.stat().st_size


SYSTEM_DISK = SystemDisk()


def write_all(disk: Disk, descriptor: int, data: bytes) -> None:
    """Write all of `data`. Raises: OSError, perhaps after a part of it."""
    view = memoryview(data)
    while view:
        view = view[disk.write(descriptor, view) :]


def sync(disk: Disk, path: Path) -> None:
    """Have a file or a directory written to the disk. Raises: OSError."""
    descriptor = disk.open(path, READ)
    try:
        disk.fsync(descriptor)
    finally:
        disk.close(descriptor)


def replace_file(disk: Disk, target: Path, data: bytes, temporary: Path) -> None:
    """Replace a file by way of `temporary`: after a crash it is the old one or the new one, whole.

    Raises: OSError.
    """
    descriptor = disk.open(temporary, REPLACE)
    try:
        write_all(disk, descriptor, data)
        disk.fsync(descriptor)
    finally:
        disk.close(descriptor)
    disk.replace(temporary, target)
    sync(disk, target.parent)


def read_file(disk: Disk, path: Path) -> bytes:
    """All of a file. Raises: OSError."""
    descriptor = disk.open(path, READ)
    data = b""
    try:
        while part := disk.pread(descriptor, disk.size(path) - len(data), len(data)):
            data += part
        return data
    finally:
        disk.close(descriptor)
