"""LevelDB, with every check switched on. The only module that imports plyvel.

`paranoid_checks` alone refuses a damaged log but still returns a wrong value after one flipped bit
in a table, so every read here verifies checksums too.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import plyvel

from consensus.errors import StorageError
from node.database import DatabaseSize
from node.disk import SYSTEM_DISK, Disk, sync

T = TypeVar("T")
_REMEDY_DAMAGED = "start once with --reindex to rebuild the database from the block files"
_REMEDY_FULL = "make room on the disk and start again; nothing that was confirmed is lost"

_BEHIND_ALL = b"\xff"
"""No key begins with it."""

_TABLES = (".ldb", ".sst")
NOT_DATA = ("LOCK", "LOG", "LOG.old")
"""Files in a database that hold no rows and do not lead to any."""

_OPTIONS = {
    "create_if_missing": True,
    "paranoid_checks": True,
    "write_buffer_size": 32 << 20,
    "max_open_files": 512,
    "lru_cache_size": 32 << 20,
    "block_size": 8 << 10,
    "bloom_filter_bits": 10,
    # Keys and values are hashes for the most part: compressing them costs time and saves nothing.
    "compression": None,
}


def _failure(what: str, error: Exception) -> StorageError:
    """What LevelDB says, with what the operator can do about it."""
    told = error.args[0] if error.args else ""
    reason = told.decode("utf-8", "replace") if isinstance(told, bytes) else str(error)
    if "LOCK: " in reason:
        return StorageError(f"{what}: another process uses it", "stop that process first")
    full = "No space left" in reason or "File too large" in reason
    return StorageError(f"{what}: {reason}", _REMEDY_FULL if full else _REMEDY_DAMAGED)


def _guarded(what: str, call: Callable[[], T]) -> T:
    try:
        return call()
    except (plyvel.Error, OSError) as error:
        raise _failure(what, error) from None


class View:
    """The database as it was at one moment. Reads raise StorageError."""

    def __init__(self, snapshot: Any) -> None:
        self._snapshot = snapshot
        self._get = snapshot.get
        self._last: bytes | None = None
        """The last key of all, once it was asked for."""

    def get(self, key: bytes) -> bytes | None:
        try:
            value: bytes | None = self._get(key, verify_checksums=True)
        except (plyvel.Error, OSError) as error:
            raise _failure("reading the database", error) from None
        return value

    def scan(self, prefix: bytes, after: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Rows whose key begins with `prefix`, in order; with `after`, those beyond that key."""
        start, stop = max(prefix, after), _end_of(prefix)
        rows = _guarded(
            "reading the database",
            lambda: self._snapshot.iterator(
                start=start,
                stop=stop,
                include_start=not after or start != after,
                verify_checksums=True,
            ),
        )
        try:
            yield from rows
        except (plyvel.Error, OSError) as error:
            raise _failure("reading the database", error) from None
        finally:
            rows.close()
        if self._last is None:
            self._last = self._last_key()
        if stop > self._last:
            self._last_key()

    def scan_back(self, prefix: bytes, before: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """The same from behind; with `before`, those that come before that key.

        Without a lower bound, so that damage in front of the last row is met with the row before it
        (see `_last_key`); where there is none, the way forward tells.
        """
        rows = _guarded(
            "reading the database",
            lambda: self._snapshot.iterator(
                stop=before or _end_of(prefix), reverse=True, verify_checksums=True
            ),
        )
        try:
            for key, value in rows:
                if not key.startswith(prefix):
                    return
                yield key, value
        except (plyvel.Error, OSError) as error:
            raise _failure("reading the database", error) from None
        finally:
            rows.close()
        next(self.scan(prefix), None)

    def _last_key(self) -> bytes:
        """The last key of all; empty if there is none.

        An iterator that meets damage goes on behind it, and tells of it with the next row. Where none
        is left it just ends, as if the rows of a damaged last block had never been: from behind, there
        is a next row. Raises: StorageError.
        """
        rows = _guarded(
            "reading the database",
            lambda: self._snapshot.iterator(
                reverse=True, include_value=False, verify_checksums=True
            ),
        )
        try:
            last: bytes = _guarded("reading the database", lambda: next(rows, b""))
        finally:
            rows.close()
        return last

    def close(self) -> None:
        self._snapshot.close()


def _end_of(prefix: bytes) -> bytes:
    """The first key after all that begin with `prefix`, which is not 0xFF alone."""
    # A lock may end in 0xFF: those bytes have no successor, the one before them has.
    shortest = prefix.rstrip(b"\xff")
    assert shortest
    return shortest[:-1] + bytes((shortest[-1] + 1,))


class Database:
    """One LevelDB directory."""

    def __init__(self, path: Path) -> None:
        """Raises: StorageError."""
        self._db = _guarded(f"opening {path}", lambda: plyvel.DB(str(path), **_OPTIONS))

    def view(self) -> View:
        return View(self._db.snapshot())

    def write(self, rows: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Put (or, where the value is None, delete) all rows at once, and sync.

        Raises: StorageError; then none of the rows was written.
        """

        def write() -> None:
            # Without `transaction`, a batch is written as far as it came when a row cannot be made.
            with self._db.write_batch(transaction=True, sync=True) as batch:
                put, delete = batch.put, batch.delete
                for key, value in rows:
                    if value is None:
                        delete(key)
                    else:
                        put(key, value)

        _guarded("writing", write)

    def empty_log(self) -> None:
        """Move what LevelDB has in its log and in memory to a table, before an orderly end.

        Else it reads the log again at the next start, before anything can be answered: 0.2 s for 17 MB.
        """
        # Of a range without rows nothing else is compacted, but the log is emptied first.
        self._db.compact_range(start=_BEHIND_ALL, stop=_BEHIND_ALL)

    def measure(self) -> DatabaseSize:
        """From what LevelDB has in memory, without a look at the disk."""
        memory = self._db.get_property(b"leveldb.approximate-memory-usage") or b"0"
        return DatabaseSize(self._db.approximate_size(b"", _BEHIND_ALL), int(memory))

    def close(self) -> None:
        self._db.close()


def shadow(path: Path, target: Path) -> None:
    """Make `target` a database with the rows of the one at `path`, which stays as it is.

    To open a database is to write to it. Tables never change, so links to them do. Raises: StorageError.
    """
    try:
        for file in sorted(path.iterdir()):
            if file.suffix in _TABLES:
                (target / file.name).symlink_to(file.resolve())
            elif file.name not in NOT_DATA:
                shutil.copyfile(file, target / file.name)
    except OSError as error:
        raise StorageError(
            f"cannot copy {error.filename or path} to {target}: {error.strerror}",
            "check the disk, its rights and the room in TMPDIR",
        ) from None


def destroy(path: Path, disk: Disk = SYSTEM_DISK) -> None:
    """Remove the database at `path`, if there is one. Whenever that ends early, what is left opens as
    it was, as it was some batches before, or empty. Raises: StorageError."""

    def remove() -> None:
        # LevelDB would read a log that it finds into the next database here; the newest goes first,
        # that no batch is left without those before it. Without CURRENT, the rest is rubbish to it.
        logs = sorted((file for file in path.glob("*.log")), key=_number_of, reverse=True)
        for file in [*logs, *path.glob("CURRENT")]:
            disk.unlink(file)
            sync(disk, path)
        plyvel.destroy_db(str(path))

    if path.exists():
        _guarded(f"removing {path}", remove)


def _number_of(file: Path) -> int:
    return int(file.stem) if file.stem.isdecimal() else 0
