"""A log in files that never take more than they may, and never stop the node.

The newest lines are in FILE, older ones in FILE.1, FILE.2 and so on. Lines that cannot be written there
go to standard error, and as soon as one can be written again, the log says how many are missing.
Whoever moves files away himself, as logrotate does, has the node open FILE anew (`reopen`).
"""

from __future__ import annotations

import errno
import logging
from contextlib import suppress
from pathlib import Path

from node.disk import APPEND, Disk, write_all

FILES = 5
"""FILE itself and those before it."""


class LogFile(logging.Handler):
    """Writes each line as soon as it comes. Lines are shorter than a file (`node.log`)."""

    def __init__(
        self, path: Path, bytes_max: int, disk: Disk, fallback: logging.Handler
    ) -> None:  # fmt: skip
        """`bytes_max`: of all files together. `fallback` gets what cannot be written.

        Raises: OSError.
        """
        super().__init__()
        self._path = path
        self._file_bytes_max = bytes_max // FILES
        self._disk = disk
        self._fallback = fallback
        self._descriptor: int | None = None
        self._size = 0
        self._lost = 0
        self._is_torn = False
        """Whether the last line in the file has no end."""
        disk.mkdir(path.parent)
        self._open()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if self._lost:
                missing = "%d lines are missing here: they could not be written"
                self._write(_record(missing, self._lost))
                self._lost = 0
            self._write(record)
        except OSError as error:
            if not self._lost:
                message = "cannot write the log %s: %s"
                self._fallback.handle(_record(message, self._path, error.strerror))
            self._lost += 1
            self._fallback.handle(record)
            self._let_go()

    def _write(self, record: logging.LogRecord) -> None:
        """Raises: OSError."""
        line = self.format(record).encode("utf-8", "replace") + b"\n"
        if self._descriptor is None:
            self._open()
        if self._size and self._size + len(line) > self._file_bytes_max:
            self._rotate()
        assert self._descriptor is not None
        if self._is_torn:
            line = b"\n" + line
        self._is_torn = True
        self._size += len(line)  # at most: of a line that fails, a part may be there
        write_all(self._disk, self._descriptor, line)
        self._is_torn = False

    def _open(self) -> None:
        """Raises: OSError."""
        if self._path.exists() and not self._path.is_file():
            # A pipe without a reader would hold the node, and a device must not be renamed.
            raise OSError(errno.EINVAL, "it is no file", str(self._path))
        self._descriptor = self._disk.open(self._path, APPEND)
        self._size = self._disk.size(self._path)

    def _let_go(self) -> None:
        if self._descriptor is not None:
            with suppress(OSError):
                self._disk.close(self._descriptor)
            self._descriptor = None

    def _rotate(self) -> None:
        """Raises: OSError."""
        self._let_go()
        names = self._disk.listdir(self._path.parent)
        for number in range(FILES - 1, 0, -1):
            newer = self._numbered(number - 1)
            if newer.name in names:
                self._disk.replace(newer, self._numbered(number))
        self._is_torn = False
        self._open()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path

    def reopen(self) -> None:
        """Go on in the file that has the name now."""
        self.acquire()
        try:
            self._let_go()
            self._is_torn = False
        finally:
            self.release()

    def close(self) -> None:
        self._let_go()
        super().close()


def _record(message: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord("node.log", logging.WARNING, "", 0, message, arguments, None)
