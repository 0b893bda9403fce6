"""The data directory: who may use it, and the small files in it that are written whole.

| file            | what it is                                              |
|-----------------|---------------------------------------------------------|
| `.lock`         | held by the process that uses the directory             |
| `blocks/`       | blocks as they came, append-only                        |
| `undo/`         | what each connected block spent, append-only            |
| `state/`        | LevelDB: coins, indexes, headers                        |
| `electrum/`     | LevelDB: locks by script hash, if the Electrum server is on |
| `events/`       | LevelDB: the event log, if it is on                     |
| `mempool.dat`   | what waited when the node stopped                       |
| `peers.dat`     | addresses of other nodes                                |
| `peer.pem`      | key and certificate by which peers know this node       |
| `versions`      | in which version each of these was written              |
| `.cookie`       | the password of the running node, for local programs    |
| `restore.partial` | there only while a backup is being restored: no node starts |
"""

from __future__ import annotations

from pathlib import Path

from consensus.errors import StorageError
from node.disk import LOCK, READ, SYSTEM_DISK, Disk, read_file, replace_file

MEMPOOL_FILE = "mempool.dat"
PEERS_FILE = "peers.dat"
COOKIE_FILE = ".cookie"
RESTORING_FILE = "restore.partial"
LEDGER_FOLDERS = ("blocks", "undo", "state")
"""All that a node gets again from its peers. The rest is its own: who it is, how it is set up."""
SYNC_AGAIN = (
    "remove blocks, undo and state from the data directory (keep peer.pem and the rest), and sync "
    "again or bring back a backup by `taeld restore`"
)
"""What to do when the block files are damaged and there is no copy of them."""
REBUILD = "start once with --reindex to rebuild it from the block files"
"""What to do when anything else of the ledger is."""


class DataDirectory:
    """A directory that one process uses at a time."""

    def __init__(
        self, path: Path, disk: Disk = SYSTEM_DISK, *, may_create: bool = True,
        may_restore: bool = False,
    ) -> None:  # fmt: skip
        """Lock it, and if it `may_create` make it first; `may_restore` is for who restores a backup.

        Raises: StorageError.
        """
        self.path = path
        self._disk = disk
        try:
            if may_create:
                disk.mkdir(path, 0o700)
            # Reading is enough to hold a lock: a directory on a read-only disk can be checked.
            self._lock = disk.open(path / ".lock", LOCK if may_create else READ)
        except OSError as error:
            raise StorageError(
                f"cannot use {path}: {error.strerror}", "give another --datadir or mend its rights"
            ) from None
        try:
            disk.lock(self._lock)
        except OSError:
            disk.close(self._lock)
            raise StorageError(
                f"another process uses {path}", "stop it first, or give another --datadir"
            ) from None
        if not may_restore and RESTORING_FILE in disk.listdir(path):
            disk.close(self._lock)
            raise StorageError(
                f"a backup was being restored to {path}, and that did not end",
                f"restore it again, or remove {RESTORING_FILE}, blocks, undo and state to sync",
            )
        self.blocks = path / "blocks"
        self.undo = path / "undo"
        self.state = path / "state"
        self.events = path / "events"
        self.cookie = path / COOKIE_FILE

    def make(self, path: Path) -> None:
        """Make a directory inside. Raises: StorageError."""
        try:
            self._disk.mkdir(path, 0o700)
        except OSError as error:
            raise StorageError(
                f"cannot make {path}: {error.strerror}", "make room on the disk or mend its rights"
            ) from None

    def has_ledger(self) -> bool:
        """Whether a node has begun to fill it. Raises: StorageError."""
        try:
            return not set(LEDGER_FOLDERS).isdisjoint(self._disk.listdir(self.path))
        except OSError as error:
            raise StorageError(
                f"cannot read {self.path}: {error.strerror}", "mend its rights"
            ) from None

    def load(self, name: str) -> bytes | None:
        """A small file, or None if there is none. Raises: StorageError."""
        try:
            return read_file(self._disk, self.path / name)
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
        try:
            replace_file(self._disk, target, data, target.with_name(f"{name}.new"))
        except OSError as error:
            raise StorageError(
                f"cannot write {target}: {error.strerror}", "make room on the disk"
            ) from None

    def close(self) -> None:
        """Let others use the directory."""
        self._disk.close(self._lock)


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
