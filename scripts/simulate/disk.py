"""A disk that keeps what was synced, and of the rest what chance leaves; and a database upon it.

Both are the disk of one node over all its lives. Each call that changes something is counted, and the
world decides before it what happens: nothing, an error, or the end of the process.
"""

from __future__ import annotations

import bisect
import errno
import os
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from consensus.errors import StorageError
from node import disk as flags
from node.database import DatabaseSize
from node.datadir import LEDGER_FOLDERS

SECTOR = 512
_REMEDY_DAMAGED = "start once with --reindex to rebuild the database from the block files"
_REMEDY_FULL = "make room on the disk and start again; nothing that was confirmed is lost"


class _File:
    """Bytes as programs see them, and as they are on the platter."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.synced = b""


class _Open(NamedTuple):
    file: _File | None
    """None for a directory."""
    path: str


class Image(NamedTuple):
    """What stands on a disk."""

    files: dict[str, bytes]
    rows: dict[bytes, bytes]


class VirtualDisk:
    """Files of one node."""

    def __init__(self, rng: random.Random, before: Callable[[str], float | None],
                 crash: Callable[[], None]) -> None:  # fmt: skip
        """`crash` ends the process: it raises `Crashed`."""
        self._rng = rng
        self._before = before
        self._crash = crash
        self.files: dict[str, _File] = {}
        self._synced_names: dict[str, _File] = {}
        self._open: dict[int, _Open] = {}
        self._next = 3
        self._locked: set[str] = set()
        self.database = VirtualDatabase(self)
        self.torn = 0
        """Files that lost a part of what was not synced."""

    # What `node.disk.Disk` asks for

    def open(self, path: Path, flag: int, mode: int = 0o600) -> int:
        name = str(path)
        file = self.files.get(name)
        if file is None and flag != flags.READ:
            self.gate("create")
            file = self.files[name] = _File()
        elif file is None and not self._is_directory(name):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        elif flag == flags.CREATE:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
        elif flag == flags.REPLACE and file is not None:
            self.gate("truncate")
            file.data = bytearray()
        self._next += 1
        self._open[self._next] = _Open(file, name)
        return self._next

    def _is_directory(self, name: str) -> bool:
        return any(known.startswith(f"{name}/") for known in self.files) or "." not in name

    def close(self, descriptor: int) -> None:
        self._locked.discard(self._open.pop(descriptor).path)

    def lock(self, descriptor: int) -> None:
        name = self._open[descriptor].path
        if name in self._locked:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN), name)
        self._locked.add(name)

    def write(self, descriptor: int, data: bytes | memoryview) -> int:
        file = self._open[descriptor].file
        assert file is not None
        try:
            part = self.gate("write")
        except OSError:  # some of it found room
            file.data += bytes(data)[: int(len(data) * self._rng.random())]
            raise
        if part is not None:
            file.data += bytes(data)[: int(len(data) * part)]
            self._crash()
        file.data += data
        return len(data)

    def pread(self, descriptor: int, size: int, offset: int) -> bytes:
        file = self._open[descriptor].file
        if file is None:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        return bytes(file.data[offset : offset + size])

    def fsync(self, descriptor: int) -> None:
        opened = self._open[descriptor]
        self.gate("fsync")
        if opened.file is not None:
            opened.file.synced = bytes(opened.file.data)
            return
        for name in self._below(opened.path, self.files) | self._below(
            opened.path, self._synced_names
        ):
            if name in self.files:
                self._synced_names[name] = self.files[name]
            else:
                del self._synced_names[name]

    def _below(self, directory: str, names: Iterable[str]) -> set[str]:
        return {name for name in names if name.rpartition("/")[0] == directory}

    def truncate(self, path: Path, size: int) -> None:
        self.gate("truncate")
        del self._existing(path).data[size:]

    def unlink(self, path: Path) -> None:
        self._existing(path)
        self.gate("unlink")
        del self.files[str(path)]

    def replace(self, source: Path, target: Path) -> None:
        file = self._existing(source)
        self.gate("rename")
        self.files[str(target)] = file
        del self.files[str(source)]

    def mkdir(self, path: Path, mode: int = 0o777) -> None:
        """Directories are there as soon as there is something in them."""

    def listdir(self, path: Path) -> list[str]:
        return sorted(name.rpartition("/")[2] for name in self._below(str(path), self.files))

    def size(self, path: Path) -> int:
        return len(self._existing(path).data)

    def _existing(self, path: Path) -> _File:
        file = self.files.get(str(path))
        if file is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return file

    # What happens to it

    def gate(self, what: str) -> float | None:
        """Before a change. Raises: OSError, Crashed."""
        part = self._before(what)
        if part is not None and what not in ("write", "batch"):
            self._crash()
        return part

    def crash(self) -> None:
        self._crash()

    def release(self) -> None:
        """The process ended: what it had open is closed."""
        self._open.clear()
        self._locked.clear()

    def lose_power(self) -> None:
        """What was not synced is there, or not, or in part."""
        rng = self._rng
        for name in sorted(self.files.keys() | self._synced_names.keys()):
            before, after = self._synced_names.get(name), self.files.get(name)
            kept = after if before is after or rng.random() < 0.5 else before
            if kept is None:
                self.files.pop(name, None)
            else:
                self.files[name] = kept
        for name in sorted(self.files):
            self._tear(self.files[name])
        self._synced_names = dict(self.files)

    def _tear(self, file: _File) -> None:
        data = bytes(file.data)
        if data != file.synced:
            self.torn += 1
            if data.startswith(file.synced):
                rest = bytearray(data[len(file.synced) :])
                del rest[self._rng.randint(0, len(rest)) :]
                if rest and self._rng.random() < 0.3:  # the length came before the content
                    rest[-min(len(rest), SECTOR) :] = bytes(min(len(rest), SECTOR))
                data = file.synced + bytes(rest)
            elif self._rng.random() < 0.5:
                data = file.synced
        file.data = bytearray(data)
        file.synced = data

    def flip(self) -> str:
        """Turn one bit of one file; return which."""
        names = [name for name in sorted(self.files) if self.files[name].data]
        if not names:
            return "nothing"
        name = self._rng.choice(names)
        file = self.files[name]
        place = self._rng.randrange(len(file.data))
        file.data[place] ^= 1 << self._rng.randrange(8)
        file.synced = bytes(file.data)
        return f"{name} byte {place}"

    def image(self) -> Image:
        """All of it, to begin another disk with."""
        files = {name: bytes(file.data) for name, file in self.files.items()}
        return Image(files, self.database.rows)

    def load(self, image: Image, directory: str) -> None:
        """Begin with what stood on another disk, in another directory."""
        for name, data in image.files.items():
            file = _File()
            file.data, file.synced = bytearray(data), data
            self.files[f"{directory}/{name.partition('/')[2].partition('/')[2]}"] = file
        self._synced_names = dict(self.files)
        self.database.rows = image.rows

    def remove_ledger(self, directory: str) -> None:
        """What somebody does who is told to remove those folders of a data directory."""
        for folder in LEDGER_FOLDERS:
            for name in self._below(f"{directory}/{folder}", {*self.files, *self._synced_names}):
                self.files.pop(name, None)
                self._synced_names.pop(name, None)
        self.database.wipe()

    @property
    def rng(self) -> random.Random:
        return self._rng


class VirtualView:
    """The database at one moment."""

    def __init__(self, owner: VirtualDatabase) -> None:
        self._owner = owner
        self._rows = owner.rows
        self._damaged = owner.damaged

    def get(self, key: bytes) -> bytes | None:
        self._check(key)
        return self._rows.get(key)

    def _check(self, key: bytes) -> None:
        if key in self._damaged:
            # node.db verifies the checksum of every block that it reads.
            raise StorageError("reading the database: checksum mismatch", _REMEDY_DAMAGED)

    def scan(self, prefix: bytes, after: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        keys = self._owner.keys_of(self._rows)
        start = (
            bisect.bisect_right(keys, after) if after > prefix else bisect.bisect_left(keys, prefix)
        )
        for key in keys[start:]:
            if not key.startswith(prefix):
                return
            self._check(key)
            yield key, self._rows[key]

    def scan_back(self, prefix: bytes, before: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        for key, _ in reversed(list(self.scan(prefix))):
            if not before or key < before:
                self._check(key)
                yield key, self._rows[key]

    def close(self) -> None:
        """Nothing is held."""


class VirtualDatabase:
    """Rows in memory. A batch is written and synced as a whole, as LevelDB does with its log."""

    def __init__(self, disk: VirtualDisk) -> None:
        self._disk = disk
        self.rows: dict[bytes, bytes] = {}
        self.damaged: frozenset[bytes] = frozenset()
        self._sorted: tuple[dict[bytes, bytes], list[bytes]] = ({}, [])
        self.torn = 0
        """Batches that a crash came into."""

    def view(self) -> VirtualView:
        return VirtualView(self)

    def keys_of(self, rows: dict[bytes, bytes]) -> list[bytes]:
        """The keys in order, sorted once for each state."""
        if self._sorted[0] is not rows:
            self._sorted = rows, sorted(rows)
        return self._sorted[1]

    def write(self, rows: Iterable[tuple[bytes, bytes | None]]) -> None:
        changed = dict(self.rows)
        for key, value in rows:
            if value is None:
                changed.pop(key, None)
            else:
                changed[key] = value
        try:
            part = self._disk.gate("batch")
        except OSError as error:
            full = error.errno == errno.ENOSPC
            raise StorageError(
                f"writing: {error.strerror}", _REMEDY_FULL if full else _REMEDY_DAMAGED
            ) from None
        if part is not None:
            self.torn += 1
            if part > 0.5:
                self.rows = changed
            self._disk.crash()
        self.rows = changed

    def flip(self) -> str:
        """Damage one row, as its checksum tells who reads it."""
        if not self.rows:
            return "nothing"
        key = self._disk.rng.choice(self.keys_of(self.rows))
        self.damaged = self.damaged | {key}
        return f"row {key.hex()[:20]}"

    def wipe(self) -> None:
        self.rows = {}
        self.damaged = frozenset()

    def measure(self) -> DatabaseSize:
        return DatabaseSize(sum(len(key) + len(value) for key, value in self.rows.items()), 0)

    def empty_log(self) -> None:
        """There is none."""

    def close(self) -> None:
        """Nothing is held."""
