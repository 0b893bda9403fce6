"""Append-only files of records with checksums: blocks in one series, undo data in another.

A record is magic(4) length(4) crc32(4) payload, numbers big-endian. Values as large as blocks would
make LevelDB's compaction copy them again and again.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from consensus.errors import StorageError
from node.layout import FilePosition

_HEAD = struct.Struct(">4sII")
HEAD_BYTES = _HEAD.size
"""Bytes of a record before its payload."""
_MAGIC = b"TaeL"
FILE_BYTES_MAX = 128 << 20
RECORD_BYTES_MAX = 64 << 20
_OPEN_READERS_MAX = 64
START = FilePosition(0, 0)


class RecordFiles:
    """A series of files `<name>00000.dat`, … in one directory."""

    def __init__(self, directory: Path, name: str, file_bytes_max: int = FILE_BYTES_MAX) -> None:
        """Raises: StorageError."""
        self._directory = directory
        self._name = name
        self._file_bytes_max = file_bytes_max
        self._readers: dict[int, int] = {}
        self._writer: int | None = None
        self._unsynced: set[int] = set()
        directory.mkdir(parents=True, exist_ok=True)
        numbers = sorted(int(path.stem[len(name) :]) for path in directory.glob(f"{name}*.dat"))
        if numbers != list(range(len(numbers))):
            raise StorageError(
                f"a file of {directory / name} is missing", "restore it from a copy, or sync again"
            )
        last = max(0, len(numbers) - 1)
        self.end = FilePosition(last, self._size(last))

    def _path(self, number: int) -> Path:
        return self._directory / f"{self._name}{number:05}.dat"

    def _size(self, number: int) -> int:
        path = self._path(number)
        return path.stat().st_size if path.exists() else 0

    def append(self, payload: bytes) -> FilePosition:
        """Write one record behind the last; return where it is. It is not synced yet.

        Raises: StorageError; a half-written record is cut off again.
        """
        assert len(payload) <= RECORD_BYTES_MAX
        record = _HEAD.pack(_MAGIC, len(payload), zlib.crc32(payload)) + payload
        if self.end.offset and self.end.offset + len(record) > self._file_bytes_max:
            # Only the last file may end in a torn record, so the one before it goes to the disk.
            self.sync()
            self._close_writer()
            self.end = FilePosition(self.end.file + 1, 0)
        place = self.end
        try:
            descriptor = self._open_writer()
            self._unsynced.add(place.file)
            view = memoryview(record)
            while view:
                view = view[os.write(descriptor, view) :]
        except OSError as error:
            self._cut(place)
            raise _cannot_write(self._path(place.file), error) from None
        self.end = FilePosition(place.file, place.offset + len(record))
        return place

    def _open_writer(self) -> int:
        if self._writer is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            self._writer = os.open(self._path(self.end.file), flags, 0o600)
        return self._writer

    def _close_writer(self) -> None:
        if self._writer is not None:
            os.close(self._writer)
            self._writer = None

    def _cut(self, end: FilePosition) -> None:
        self._close_writer()
        if self._path(end.file).exists():
            os.truncate(self._path(end.file), end.offset)

    def sync(self) -> None:
        """Return when every record is on the disk. Raises: StorageError."""
        try:
            # Swapped, not cleared at the end: another thread may append meanwhile.
            unsynced, self._unsynced = self._unsynced, set()
            for number in sorted(unsynced):
                descriptor = os.open(self._path(number), os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
            directory = os.open(self._directory, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as error:
            raise _cannot_write(self._directory, error) from None

    def read(self, place: FilePosition) -> bytes:
        """The payload of the record at `place`. Raises: StorageError."""
        payload = self._read(place)
        if payload is None:
            raise StorageError(
                f"{self._path(place.file)} is damaged at byte {place.offset}",
                "restore the file from a copy, or remove the data directory and sync again",
            )
        return payload

    def read_bytes(self, file: int, offset: int, length: int) -> bytes:
        """Bytes from inside a record, unchecked."""
        try:
            return os.pread(self._reader(file), length, offset)
        except OSError as error:
            raise StorageError(f"{self._path(file)}: {error}", "check the disk") from None

    def _reader(self, file: int) -> int:
        descriptor = self._readers.get(file)
        if descriptor is None:
            if len(self._readers) >= _OPEN_READERS_MAX:
                os.close(self._readers.pop(next(iter(self._readers))))
            descriptor = self._readers[file] = os.open(self._path(file), os.O_RDONLY)
        return descriptor

    def _read(self, place: FilePosition) -> bytes | None:
        """The payload at `place`, or None if there is no whole record."""
        head = self.read_bytes(place.file, place.offset, _HEAD.size)
        if len(head) < _HEAD.size:
            return None
        magic, length, checksum = _HEAD.unpack(head)
        if magic != _MAGIC or length > RECORD_BYTES_MAX:
            return None
        payload = self.read_bytes(place.file, place.offset + _HEAD.size, length)
        return payload if len(payload) == length and zlib.crc32(payload) == checksum else None

    def scan(self, start: FilePosition) -> Iterator[tuple[FilePosition, bytes]]:
        """Every whole record from `start` on. What follows a torn one at the very end is cut off.

        Raises: StorageError where a damaged record has others behind it.
        """
        place = start
        while (place.file, place.offset) < (self.end.file, self.end.offset):
            if place.offset >= self._size(place.file):
                place = FilePosition(place.file + 1, 0)
                continue
            payload = self._read(place)
            if payload is None:
                # A crash tears the last record. A damaged one amid others is another matter.
                if place.file != self.end.file or self._has_record_behind(place):
                    self.read(place)
                self.truncate(place)
                return
            yield place, payload
            place = FilePosition(place.file, place.offset + _HEAD.size + len(payload))

    def _has_record_behind(self, place: FilePosition) -> bool:
        """Whether a whole record lies anywhere behind the damaged one at `place`."""
        tail = self.read_bytes(place.file, place.offset + 1, self.end.offset - place.offset)
        found = tail.find(_MAGIC)
        while found >= 0:
            if self._read(FilePosition(place.file, place.offset + 1 + found)) is not None:
                return True
            found = tail.find(_MAGIC, found + 1)
        return False

    def truncate(self, end: FilePosition) -> None:
        """Forget everything from `end` on. Raises: StorageError."""
        try:
            for number in range(self.end.file, end.file, -1):
                self._close_reader(number)
                self._path(number).unlink(missing_ok=True)
            self._cut(end)
        except OSError as error:
            raise _cannot_write(self._path(end.file), error) from None
        self.end = end

    def _close_reader(self, number: int) -> None:
        if number in self._readers:
            os.close(self._readers.pop(number))

    def close(self) -> None:
        self._close_writer()
        for number in tuple(self._readers):
            self._close_reader(number)


def _cannot_write(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"cannot write {path}: {error.strerror}",
        "make room on the disk or repair it, and start again; nothing that was confirmed is lost",
    )
