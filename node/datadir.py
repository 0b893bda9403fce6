"""The data directory: who may use it, and the small files in it that are written whole.

| file            | what it is                                              |
|-----------------|---------------------------------------------------------|
| `.lock`         | held by the process that uses the directory             |
| `blocks/`       | blocks as they came, append-only                        |
| `undo/`         | what each connected block spent, append-only            |
| `state/`        | LevelDB: coins, indexes, headers                        |
| `mempool.dat`   | what waited when the node stopped                       |
| `peers.dat`     | addresses of other nodes                                |
| `.cookie`       | the password of the running node, for local programs    |
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from consensus.errors import StorageError


class DataDirectory:
    """A directory that one process uses at a time."""

    def __init__(self, path: Path) -> None:
        """Create it if need be, and lock it. Raises: StorageError."""
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(path / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StorageError(
                f"cannot use {path}: {error.strerror}", "give another --datadir or mend its rights"
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise StorageError(
                f"another process uses {path}", "stop it first, or give another --datadir"
            ) from None
        self.blocks = path / "blocks"
        self.undo = path / "undo"
        self.state = path / "state"
        self.cookie = path / ".cookie"

    def load(self, name: str) -> bytes | None:
        """A small file, or None if there is none. Raises: StorageError."""
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(
                f"cannot read {self.path / name}: {error.strerror}", "mend its rights or remove it"
            ) from None

    def save(self, name: str, data: bytes) -> None:
        """Replace a small file: after a crash it is the old one or the new one, whole.

        Raises: StorageError.
        """
        target = self.path / name
        temporary = target.with_name(f"{name}.new")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
            directory = os.open(self.path, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as error:
            raise StorageError(
                f"cannot write {target}: {error.strerror}", "make room on the disk"
            ) from None

    def close(self) -> None:
        """Let others use the directory."""
        os.close(self._lock)


class SmallFile:
    """One small file of a data directory."""

    def __init__(self, directory: DataDirectory, name: str) -> None:
        self._directory = directory
        self._name = name

    def load(self) -> bytes | None:
        """Raises: StorageError."""
        return self._directory.load(self._name)

    def save(self, data: bytes) -> None:
        """Raises: StorageError."""
        self._directory.save(self._name, data)
