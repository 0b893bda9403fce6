"""What the node asks of its database; `node.db` answers with LevelDB."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol


class DatabaseSize(NamedTuple):
    """About how much a database takes."""

    disk_bytes: int
    memory_bytes: int


class View(Protocol):
    """A database as it was at one moment. Reads raise StorageError."""

    def get(self, key: bytes) -> bytes | None: ...

    def scan(self, prefix: bytes, after: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Rows whose key begins with `prefix`, in order; with `after`, those beyond that key."""

    def scan_back(self, prefix: bytes, before: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """The same from behind; with `before`, those that come before that key."""

    def close(self) -> None: ...


class Database(Protocol):
    """Rows in the order of their keys, changed by batches that happen whole or not at all."""

    def view(self) -> View: ...

    def write(self, rows: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Put (or, where the value is None, delete) all rows at once, and sync.

        Raises: StorageError; then none of the rows was written.
        """

    def empty_log(self) -> None:
        """Make the next start quick, before an orderly end."""

    def measure(self) -> DatabaseSize: ...

    def close(self) -> None: ...
