"""What a backup consists of, and the list in it by which a restore knows that it is whole.

| file             | what it is                                                              |
|------------------|-------------------------------------------------------------------------|
| `blocks/`        | block files, up to where the database stands                            |
| `undo/`          | undo data, up to the same place                                         |
| `state/`         | LevelDB with every row of one moment                                    |
| `backup.json`    | network, block, and size and SHA-256 of every file; then its own SHA-256 |

Left out is what belongs to one node rather than to the ledger: settings, waiting transactions, addresses
of peers, the cookie, certificates.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator
from pathlib import Path

import msgspec

from consensus.errors import StorageError
from node.disk import CREATE, READ, Disk, read_file, write_all

FORMAT = 1
MANIFEST = "backup.json"
PARTIAL = ".partial"
"""Ends the name of a backup that is being made."""
CHUNK_BYTES = 1 << 20
_NAME = re.compile(r"(blocks|undo|state)/[A-Za-z0-9][A-Za-z0-9._-]*")


class FileEntry(msgspec.Struct, frozen=True):
    """One file."""

    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands in a backup."""

    format: int
    network: str
    chain_id: str
    """Hash of the genesis block, in reversed hex."""
    height: int
    block: str
    """The block at which the ledger stands, in reversed hex."""
    files: dict[str, FileEntry]
    """By `folder/name`."""

    @property
    def bytes(self) -> int:
        return sum(entry.bytes for entry in self.files.values())


def encode_manifest(manifest: Manifest) -> bytes:
    body = msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"
    return body + hashlib.sha256(body).hexdigest().encode() + b"\n"


def load_manifest(backup: Path, disk: Disk) -> Manifest:
    """The list of the files in a backup. Raises: StorageError."""
    path = backup / MANIFEST
    try:
        data = read_file(disk, path)
    except OSError as error:
        raise StorageError(
            f"{backup} is no backup: {MANIFEST} cannot be read: {error.strerror}",
            f"name a directory that `taeld backup` made; one that ends in {PARTIAL} is not whole",
        ) from None
    body, _, digest = data.rstrip(b"\n").rpartition(b"\n")
    if hashlib.sha256(body + b"\n").hexdigest().encode() != digest:
        raise damaged(path)
    try:
        manifest = msgspec.json.decode(body, type=Manifest)
    except msgspec.DecodeError:
        raise damaged(path) from None
    if manifest.format != FORMAT or not all(map(_NAME.fullmatch, manifest.files)):
        raise StorageError(
            f"{path} has format {manifest.format}, this program reads {FORMAT}",
            "restore it with the version of taeld that made it",
        )
    return manifest


def damaged(path: Path) -> StorageError:
    """Something in a backup is not what was written."""
    return StorageError(
        f"{path} is damaged", "take another backup, or sync from peers into an empty directory"
    )


class Copy:
    """A copy of the first `size` bytes of a file, made a chunk at a time, with its SHA-256."""

    def __init__(self, source: Path, target: Path, size: int, disk: Disk) -> None:
        """Raises: OSError."""
        self._disk = disk
        self._size = size
        self._done = 0
        self._digest = hashlib.sha256()
        self._from = disk.open(source, READ)
        try:
            # One that exists is somebody else's: nothing is ever written over.
            self._to = disk.open(target, CREATE)
        except OSError:
            disk.close(self._from)
            raise

    def step(self) -> int:
        """Copy some more; return how many bytes that were, 0 when all are. Raises: OSError."""
        size = min(CHUNK_BYTES, self._size - self._done)
        chunk = self._disk.pread(self._from, size, self._done)
        write_all(self._disk, self._to, chunk)
        self._digest.update(chunk)
        self._done += len(chunk)
        return len(chunk)

    def finish(self) -> FileEntry:
        """What was copied, when it is on the disk. Raises: OSError."""
        self._disk.fsync(self._to)
        return FileEntry(self._done, self._digest.hexdigest())

    def close(self) -> None:
        self._disk.close(self._from)
        self._disk.close(self._to)


def hash_file(path: Path, disk: Disk) -> Generator[bytes, None, None]:
    """The chunks of a file. Raises: OSError."""
    descriptor, offset = disk.open(path, READ), 0
    try:
        while chunk := disk.pread(descriptor, CHUNK_BYTES, offset):
            offset += len(chunk)
            yield chunk
    finally:
        disk.close(descriptor)
