"""Append-only files of records with checksums: blocks in one series, undo data in another.

A record is magic(4) length(4) crc32(4) payload, numbers big-endian. The checksum also covers where
the record stands, so that bytes inside a block never pass for a record. Values as large as blocks
would make LevelDB's compaction copy them again and again.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from consensus.errors import StorageError
from node.datadir import SYNC_AGAIN
from node.disk import APPEND, READ, SYSTEM_DISK, Disk, sync, write_all
from node.layout import FilePosition

_HEAD = struct.Struct(">4sII")
HEAD_BYTES = _HEAD.size
"""Bytes of a record before its payload."""
_MAGIC = b"TaeL"
FILE_BYTES_MAX = 128 << 20
RECORD_BYTES_MAX = 64 << 20
_OPEN_READERS_MAX = 16
START = FilePosition(0, 0)
_PLACE = struct.Struct(">III")


def _checksum(place: FilePosition, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(_PLACE.pack(place.file, place.offset, len(payload))))


class RecordFiles:
    """A series of files `<name>00000.dat`, … in one directory."""

    def __init__(
        self, directory: Path, name: str, file_bytes_max: int = FILE_BYTES_MAX,
        disk: Disk = SYSTEM_DISK, remedy: str = SYNC_AGAIN, may_lack: bool = False,
    ) -> None:  # fmt: skip
        """`remedy`: what to do where there is no copy of a file that is damaged or missing; `may_lack`:
        files may be missing, since all of them go anyway. Raises: StorageError.
        """
        self._disk = disk
        self._directory = directory
        self._name = name
        self._file_bytes_max = file_bytes_max
        self._remedy = remedy
        self._readers: dict[int, int] = {}
        self._writer: int | None = None
        try:
            disk.mkdir(directory)
            last = self._last_number(may_lack)
        except OSError as error:
            raise _cannot("use", directory, error) from None
        self.end = FilePosition(last, self._size(last))
        self._synced_to = self.end.file
        """What stands in files before this one is on the disk."""

    def _last_number(self, may_lack: bool) -> int:
        pattern = re.compile(re.escape(self._name) + r"(\d{5,})\.dat")
        found = [pattern.fullmatch(name) for name in self._disk.listdir(self._directory)]
        numbers = sorted(int(match[1]) for match in found if match)
        if numbers != list(range(len(numbers))) and not may_lack:
            raise StorageError(
                f"a file of {self._directory / self._name} is missing",
                f"restore it from a copy, or {self._remedy}",
            )
        return numbers[-1] if numbers else 0

    def path_of(self, number: int) -> Path:
        """The file of that number."""
        return self._directory / f"{self._name}{number:05}.dat"

    def _size(self, number: int) -> int:
        try:
            return self._disk.size(self.path_of(number))
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise _cannot("use", self.path_of(number), error) from None

    @property
    def size_bytes(self) -> int:
        """Of all files together. Asks the disk, once a file. Raises: StorageError."""
        return sum(self._size(number) for number in range(self.end.file)) + self.end.offset

    def append(self, payload: bytes) -> FilePosition:
        """Write one record behind the last; return where it is. It is not synced yet.

        Raises: StorageError; a half-written record is cut off again.
        """
        assert len(payload) <= RECORD_BYTES_MAX
        if self.end.offset and self.end.offset + HEAD_BYTES + len(payload) > self._file_bytes_max:
            # Only the last file may end in a torn record, so the one before it goes to the disk.
            self.sync()
            self.truncate(FilePosition(self.end.file + 1, 0))
        place = self.end
        record = _HEAD.pack(_MAGIC, len(payload), _checksum(place, payload)) + payload
        try:
            write_all(self._disk, self._open_writer(), record)
        except OSError as error:
            self.truncate(place)
            raise _cannot("write", self.path_of(place.file), error) from None
        self.end = FilePosition(place.file, place.offset + len(record))
        return place

    def _open_writer(self) -> int:
        if self._writer is None:
            self._writer = self._disk.open(self.path_of(self.end.file), APPEND)
        return self._writer

    def _close_writer(self) -> None:
        if self._writer is not None:
            self._disk.close(self._writer)
            self._writer = None

    def sync(self) -> None:
        """Return when every record is on the disk. Raises: StorageError.

        May be called from another thread. What is appended meanwhile waits for the next call.
        """
        last = self.end.file
        try:
            for number in range(self._synced_to, last + 1):
                # A file that does not exist yet has nothing to be synced.
                with suppress(FileNotFoundError):
                    sync(self._disk, self.path_of(number))
            sync(self._disk, self._directory)
        except OSError as error:
            raise _cannot("write", self._directory, error) from None
        self._synced_to = last

    def read(self, place: FilePosition) -> bytes:
        """The payload of the record at `place`. Raises: StorageError."""
        payload = self._read(place)
        if payload is None:
            raise StorageError(
                f"{self.path_of(place.file)} is damaged at byte {place.offset}",
                f"restore the file from a copy, or {self._remedy}",
            )
        return payload

    def read_bytes(self, file: int, offset: int, length: int) -> bytes:
        """Bytes from inside a record, unchecked."""
        try:
            return self._disk.pread(self._reader(file), length, offset)
        except OSError as error:
            raise StorageError(
                f"cannot read {self.path_of(file)}: {error.strerror}",
                "check the disk and the rights, or restore the file from a copy",
            ) from None

    def _reader(self, file: int) -> int:
        descriptor = self._readers.get(file)
        if descriptor is None:
            if len(self._readers) >= _OPEN_READERS_MAX:
                self._disk.close(self._readers.pop(next(iter(self._readers))))
            descriptor = self._readers[file] = self._disk.open(self.path_of(file), READ)
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
        is_whole = len(payload) == length
        return payload if is_whole and _checksum(place, payload) == checksum else None

    def scan(
        self, start: FilePosition, may_drop: bool = False
    ) -> Iterator[tuple[FilePosition, bytes]]:
        """Every whole record from `start` on. What follows a torn one at the very end is cut off.

        Raises: StorageError where a damaged record has others behind it, which only loss of power
        explains; with `may_drop`, those are cut off too.
        """
        place = start
        while (place.file, place.offset) < (self.end.file, self.end.offset):
            if place.offset >= self._size(place.file):
                place = FilePosition(place.file + 1, 0)
                continue
            payload = self._read(place)
            if payload is None:
                # A crash tears the last record. A damaged one amid others is another matter.
                if not may_drop and not self.is_torn_end(place):
                    self.read(place)
                self.truncate(place)
                return
            yield place, payload
            place = FilePosition(place.file, place.offset + HEAD_BYTES + len(payload))

    def survey(self) -> Iterator[tuple[FilePosition, bytes | None]]:
        """Every whole record, and with None every place where something else stands. Nothing is
        cut off. Raises: StorageError if a file cannot be read."""
        for number in range(self.end.file + 1):
            place: FilePosition | None = FilePosition(number, 0)
            while place is not None and place.offset < self._size(number):
                payload = self._read(place)
                yield place, payload
                if payload is not None:
                    place = FilePosition(number, place.offset + HEAD_BYTES + len(payload))
                else:
                    place = self._record_behind(place)

    def verify(self) -> Iterator[None]:
        """Read every record as `scan` from the start does, one at a step, and cut nothing off.

        Raises: StorageError where `scan` would: only the end of the last file may be torn.
        """
        for place, payload in self.survey():
            if payload is None and not self.is_torn_end(place):
                self.read(place)
            yield

    def is_torn_end(self, place: FilePosition) -> bool:
        """Whether what is damaged at `place` is the end of all, as a crash leaves it."""
        return place.file == self.end.file and self._record_behind(place) is None

    def _record_behind(self, place: FilePosition) -> FilePosition | None:
        """The next whole record of the file behind the damaged one at `place`."""
        tail = self.read_bytes(place.file, place.offset + 1, self._size(place.file) - place.offset)
        found = tail.find(_MAGIC)
        while found >= 0:
            behind = FilePosition(place.file, place.offset + 1 + found)
            if self._read(behind) is not None:
                return behind
            found = tail.find(_MAGIC, found + 1)
        return None

    def truncate(self, end: FilePosition) -> None:
        """Forget everything from `end` on. Raises: StorageError."""
        try:
            self._close_writer()
            for number in range(self.end.file, end.file, -1):
                self._close_reader(number)
                with suppress(FileNotFoundError):
                    self._disk.unlink(self.path_of(number))
            if self._size(end.file) > end.offset:
                self._disk.truncate(self.path_of(end.file), end.offset)
        except OSError as error:
            raise _cannot("write", self.path_of(end.file), error) from None
        self.end = end
        self._synced_to = min(self._synced_to, end.file)

    def _close_reader(self, number: int) -> None:
        if number in self._readers:
            self._disk.close(self._readers.pop(number))

    def close(self) -> None:
        self._close_writer()
        for number in tuple(self._readers):
            self._close_reader(number)


def _cannot(what: str, path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"cannot {what} {path}: {error.strerror}",
        "make room on the disk or repair it, and start again; nothing that was confirmed is lost",
    )
