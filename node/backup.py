"""A copy of the ledger while the node runs: one moment of it, whole, or nothing.

A snapshot of the database says where block and undo files ended when it was written, and up to there they
never change. So the copy takes its time, a slice at a turn in the writer's thread, while blocks come in
as ever. It is made under another name and renamed when every byte is on the disk.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import shutil
from collections.abc import Callable, Generator
from contextlib import suppress
from itertools import islice
from pathlib import Path

import msgspec

from consensus.errors import StorageError
from consensus.hashes import BlockHash
from node.backup_file import (
    FORMAT,
    MANIFEST,
    PARTIAL,
    Copy,
    FileEntry,
    Manifest,
    encode_manifest,
    hash_file,
)
from node.blockfiles import RecordFiles
from node.chain import Chain
from node.database import Database, View
from node.datadir import LEDGER_FOLDERS
from node.db import NOT_DATA
from node.disk import Disk, replace_file, sync
from node.layout import KINDS, FilePosition

log = logging.getLogger(__name__)
ROWS_PER_TURN = 2_000
"""Rows of the database copied before a flush gets its turn: some milliseconds."""


class BackupRefused(Exception):
    """No backup can be begun there, or not now; the text says why."""


class Progress(msgspec.Struct):
    """How far the last backup is."""

    destination: str = ""
    state: str = "none"
    """none, running, done or failed."""
    height: int = -1
    bytes: int = 0
    rows: int = 0
    error: str = ""


class Backups:
    """Makes backups of one chain, one at a time."""

    def __init__(
        self, chain: Chain, disk: Disk, open_database: Callable[[Path], Database]
    ) -> None:  # fmt: skip
        self._disk = disk
        self._open_database = open_database
        self._chain = chain
        self._store = chain.store
        self._task: asyncio.Task[None] | None = None
        self.progress = Progress()

    def start(self, destination: Path) -> None:
        """Begin to make a backup at `destination`, which must not exist. Raises: BackupRefused."""
        if self._task is not None:
            raise BackupRefused(f"a backup to {self.progress.destination} is being made")
        if not destination.is_absolute() or not destination.name or "\0" in str(destination):
            raise BackupRefused(f"{str(destination)!r} is not an absolute path of a directory")
        partial = destination.with_name(destination.name + PARTIAL)
        home = self._store.blocks.path_of(0).parent.parent
        if partial.parent.resolve().is_relative_to(home.resolve()):
            # One called `restore` would be taken for a restore that did not end.
            raise BackupRefused(f"{destination} is inside the data directory; name one elsewhere")
        if destination.exists():
            raise BackupRefused(f"{destination} exists; name a directory that does not")
        if partial.exists():
            raise BackupRefused(f"{partial} is left of a backup that did not end; remove it")
        try:
            # Not the directories above: a name mistyped would else be a place nobody looks at.
            sync(self._disk, partial.parent)
            self._disk.mkdir(partial, 0o700)
        except OSError as error:
            raise BackupRefused(
                f"{destination} cannot be made: {error.strerror}; name a directory in one that there "
                "is, and that the node may write to"
            ) from None
        self.progress = Progress(str(destination), "running")
        self._task = asyncio.create_task(self._run(destination, partial))
        self._task.add_done_callback(lambda _: self._tidy(partial))

    async def _run(self, destination: Path, partial: Path) -> None:
        progress = self.progress
        try:
            await self._make(destination, partial)
            progress.state = "done"
            log.info("backup of block %d at %s", progress.height, destination)
        except (StorageError, OSError) as error:
            reason = str(error) if isinstance(error, StorageError) else error.strerror or str(error)
            progress.state, progress.error = "failed", reason
            log.error("backup to %s failed: %s", destination, reason)
        finally:
            if progress.state != "done":
                # Behind what may still be running there: a backup that is just being given its name
                # must not lose files at the same time.
                await self._beside(lambda: _remove(partial))

    def _tidy(self, partial: Path) -> None:
        """Leave nothing of a backup that did not come to its end, be it that it never began."""
        self._task = None
        if self.progress.state != "done":
            self.progress.state = "failed"
            with suppress(OSError):
                partial.rmdir()

    async def _make(self, destination: Path, partial: Path) -> None:
        await self._chain.flush()
        view, tip = self._store.snapshot()
        try:
            node = self._chain.tree.get(BlockHash(tip.hash))
            assert node is not None
            self.progress.height = node.height
            for folder in LEDGER_FOLDERS:
                self._disk.mkdir(partial / folder, 0o700)
            files: dict[str, FileEntry] = {}
            for folder, series, end in (
                ("blocks", self._store.blocks, tip.blocks_end),
                ("undo", self._store.undo, tip.undo_end),
            ):
                await self._copy_series(partial / folder, folder, series, end, files)
            await self._copy_rows(view, partial / "state")
        finally:
            await self._beside(view.close)
        for name in sorted(self._disk.listdir(partial / "state")):
            if name in NOT_DATA:
                self._disk.unlink(partial / "state" / name)
            else:
                files[f"state/{name}"] = await self._measure(partial / "state" / name)
        manifest = Manifest(
            format=FORMAT,
            network=self._chain.params.name.decode(),
            chain_id=self._chain.chain_id[::-1].hex(),
            height=node.height,
            block=node.hash[::-1].hex(),
            files=files,
        )
        await self._beside(lambda: _seal(self._disk, partial, destination, manifest))

    def _beside(self, work: Callable[[], object]) -> asyncio.Future[object]:
        return asyncio.ensure_future(self._store.beside(work))

    async def _copy_series(
        self, target: Path, folder: str, series: RecordFiles, end: FilePosition,
        files: dict[str, FileEntry],
    ) -> None:  # fmt: skip
        for number in range(end.file + 1):
            source = series.path_of(number)
            size = end.offset if number == end.file else self._disk.size(source)
            if size == 0:
                continue
            copy = Copy(source, target / source.name, size, self._disk)
            try:
                while True:
                    copied = await self._store.beside(copy.step)
                    if not copied:
                        break
                    self.progress.bytes += copied
                files[f"{folder}/{source.name}"] = await self._store.beside(copy.finish)
            finally:
                await self._beside(copy.close)  # behind a step that may still be running there

    async def _copy_rows(self, view: View, target: Path) -> None:
        database = self._open_database(target)
        rows = _rows(view)

        def some() -> int:
            batch = list(islice(rows, ROWS_PER_TURN))
            if batch:
                database.write(batch)
            return len(batch)

        try:
            while copied := await self._store.beside(some):
                self.progress.rows += copied
            await self._store.beside(database.empty_log)
        finally:
            await self._beside(rows.close)
            await self._beside(database.close)

    async def _measure(self, path: Path) -> FileEntry:
        digest, size = hashlib.sha256(), 0
        chunks = hash_file(path, self._disk)

        def some() -> int:
            chunk = next(chunks, b"")
            digest.update(chunk)
            return len(chunk)

        try:
            while read := await self._store.beside(some):
                size += read
        finally:
            await self._beside(chunks.close)
        self.progress.bytes += size
        return FileEntry(size, digest.hexdigest())

    async def ended(self) -> None:
        """Return when no backup is being made."""
        while self._task is not None:
            await asyncio.wait([self._task])

    async def close(self) -> None:
        """Give up what is being made."""
        if self._task is not None:
            self._task.cancel()
            await self.ended()


def _remove(partial: Path) -> None:
    with suppress(OSError):
        shutil.rmtree(partial)


def _rows(view: View) -> Generator[tuple[bytes, bytes], None, None]:
    for kind in KINDS:
        yield from view.scan(kind)


def _seal(disk: Disk, partial: Path, destination: Path, manifest: Manifest) -> None:
    """Write the list, have everything on the disk, and only then give the backup its name."""
    for name in manifest.files:
        sync(disk, partial / name)  # those of LevelDB are written by itself
    for folder in LEDGER_FOLDERS:
        sync(disk, partial / folder)
    replace_file(disk, partial / MANIFEST, encode_manifest(manifest), partial / f"{MANIFEST}.new")
    # An empty directory would be replaced silently, so it is asked once more.
    if destination.exists():
        raise StorageError(f"{destination} exists by now", "name a directory that does not")
    disk.replace(partial, destination)
    sync(disk, destination.parent)
