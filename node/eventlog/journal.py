"""Rows on their way to the event log's database: one batch at a time, synced, whole or not at all.

What is put is seen by `get` at once and by `view` when it lies on the disk: nothing may be told to
anybody before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Executor
from typing import TypeVar

from consensus.errors import StorageError
from node.database import Database
from node.eventlog.layout import REMEDY

T = TypeVar("T")


class Journal:
    """The one owner of the database."""

    def __init__(self, database: Database, writer: Executor) -> None:
        """`writer` runs one thing at a time. Raises: StorageError."""
        self._database = database
        self._writer = writer
        self._view = database.view()
        self._rows: dict[bytes, bytes | None] = {}
        self._writing: dict[bytes, bytes | None] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Rows that are not being written yet."""
        return len(self._rows)

    def put(self, key: bytes, value: bytes | None) -> None:
        """Have a row written with the next batch; None deletes it."""
        self._rows[key] = value

    def get(self, key: bytes) -> bytes | None:
        """The newest value of a row. Raises: StorageError."""
        for rows in (self._rows, self._writing):
            if key in rows:
                return rows[key]
        return _own(lambda: self._view.get(key))

    def scan(
        self, prefix: bytes, after: bytes = b""
    ) -> Generator[tuple[bytes, bytes], None, None]:  # fmt: skip
        """Rows on the disk whose key begins with `prefix`, from behind `after` on.

        To be read in one turn of the loop, for the next batch closes what is read. Raises: StorageError.
        """
        rows = self._view.scan(prefix, after)
        while (row := _own(lambda: next(rows, None))) is not None:
            yield row

    async def write(self) -> None:
        """Write what was put until now. Raises: StorageError; then nothing of it is on the disk."""
        assert not self._writing, "one batch at a time, and what failed is not written again"
        # Before anything else gets a turn: what comes next belongs to the next batch, with its head.
        self._rows, self._writing = {}, self._rows
        # A task of its own: half a write must not be left behind by a caller that gives up.
        self._task = asyncio.create_task(self._write(self._writing))
        await asyncio.wait([self._task])
        self._task.result()

    async def _write(self, rows: Mapping[bytes, bytes | None]) -> None:
        await asyncio.get_running_loop().run_in_executor(
            self._writer, lambda: _own(lambda: self._database.write(rows.items()))
        )
        self._writing = {}
        old, self._view = self._view, self._database.view()
        old.close()

    async def finish(self) -> None:
        """Return when nothing is being written any more. Raises: StorageError, if that failed."""
        if self._task is not None:
            await asyncio.wait([self._task])
            self._task.result()

    def close(self) -> None:
        self._view.close()
        self._database.empty_log()
        self._database.close()


def _own(work: Callable[[], T]) -> T:
    """Have what fails say the right remedy: nothing makes this database again but the log itself."""
    try:
        return work()
    except StorageError as error:
        if "--reindex" not in error.remedy:
            raise StorageError(f"event log: {error.what}", error.remedy) from None
        raise StorageError(f"event log: {error.what}", REMEDY) from None
