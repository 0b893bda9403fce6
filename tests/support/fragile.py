"""A disk that knows what of it would outlast a loss of power, and the loss."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from consensus.errors import StorageError
from node.db import Database
from tests.support.disks import NumberedDisk

SECTOR = 512


class FragileDisk(NumberedDisk):
    """Notes for each file how many of its bytes were synced, and whether its name was."""

    def __init__(
        self, at: int = -1, fail: Callable[[str], None] | None = None, lasts: bool = False
    ) -> None:
        super().__init__(at, fail or (lambda what: None), lasts)
        self.synced: dict[str, int] = {}
        self._paths: dict[int, Path] = {}
        self._old: dict[str, bytes | None] = {}
        """What a name stood for that was given to another file, until the directory is synced."""

    def open(self, path: Path, flags: int, mode: int = 0o600) -> int:
        is_new = not path.exists()
        descriptor = super().open(path, flags, mode)
        self._paths[descriptor] = path
        if is_new:
            self._old.setdefault(str(path), None)
        elif flags & os.O_TRUNC:
            self.synced[str(path)] = 0
        return descriptor

    def fsync(self, descriptor: int) -> None:
        super().fsync(descriptor)
        path = self._paths[descriptor]
        if path.is_dir():
            self._old = {n: old for n, old in self._old.items() if Path(n).parent != path}
        else:
            self.synced[str(path)] = path.stat().st_size

    def replace(self, source: Path, target: Path) -> None:
        old = target.read_bytes() if target.exists() else None
        super().replace(source, target)
        self._old.setdefault(str(target), old)
        self.synced[str(target)] = self.synced.pop(str(source), 0)
        self._old.pop(str(source), None)

    def truncate(self, path: Path, size: int) -> None:
        super().truncate(path, size)
        self.synced[str(path)] = min(self.synced.get(str(path), 0), size)

    def existing(self, folder: Path) -> None:
        """What stands in `folder` now was there long before."""
        for path in folder.rglob("*"):
            if path.is_file():
                self.synced[str(path)] = path.stat().st_size

    def note_log(self, folder: Path, is_synced: bool) -> None:
        """LevelDB wrote to its log in `folder`; tables are synced by itself before they count."""
        for path in folder.glob("*.log"):
            self.synced.setdefault(str(path), 0)
            if is_synced:
                self.synced[str(path)] = path.stat().st_size

    def journal(self) -> dict[str, Any]:
        """What `lose_power` has to know."""
        return {
            "synced": self.synced,
            "old": {
                name: old.hex() if old is not None else None for name, old in self._old.items()
            },
        }


def lose_power(
    journal: dict[str, Any], folders: Iterable[Path], rng: random.Random,
    torn: Iterable[str] = ("*.dat", "*.log"),
) -> None:  # fmt: skip
    """Keep what was synced; of the rest, what chance has written to files with names like `torn`."""
    for name, old in journal["old"].items():
        if rng.random() < 0.5 and Path(name).exists():
            if old is None:
                Path(name).unlink()
            else:
                Path(name).write_bytes(bytes.fromhex(old))
                journal["synced"][name] = len(old) // 2
    for folder in folders:
        for path in sorted({path for name in torn for path in folder.glob(name)}):
            _tear(path, journal["synced"].get(str(path), 0), rng)


def _tear(path: Path, sure: int, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    # A log of LevelDB is read up to the first bad record, and what is bad amid others is refused:
    # only a prefix of it is what a loss of power leaves on an ordered file system.
    if path.suffix != ".log":
        for start in range(sure, len(data), SECTOR):
            if rng.random() < 0.4:
                end = min(start + SECTOR, len(data))
                data[start:end] = bytes(end - start)
    path.write_bytes(data[: rng.randint(min(sure, len(data)), len(data))])


class WatchedDatabase(Database):
    """LevelDB whose batches are numbered among the changes of a disk, before and behind each."""

    def __init__(self, path: Path, disk: FragileDisk) -> None:
        super().__init__(path)
        self._folder = path
        self._disk = disk
        self._db = _WatchedDb(self._db, lambda sync: disk.note_log(path, sync))

    def write(self, rows: Iterable[tuple[bytes, bytes | None]]) -> None:
        try:
            self._disk.number("batch")
        except OSError as error:  # which LevelDB tells in its own way
            raise StorageError(f"writing: {error.strerror}", "make room on the disk") from None
        super().write(rows)
        self._disk.number("batch written")


class _WatchedDb:
    """Tells after each batch whether it was synced."""

    def __init__(self, inner: Any, told: Callable[[bool], None]) -> None:
        self._inner = inner
        self._told = told

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def write_batch(self, *, transaction: bool, sync: bool) -> Any:
        return _Batch(self._inner.write_batch(transaction=transaction, sync=sync), sync, self._told)


class _Batch:
    def __init__(self, inner: Any, sync: bool, told: Callable[[bool], None]) -> None:
        self._inner, self._sync, self._told = inner, sync, told

    def __enter__(self) -> Any:
        return self._inner.__enter__()

    def __exit__(self, *error: Any) -> Any:
        done = self._inner.__exit__(*error)
        self._told(self._sync)
        return done
