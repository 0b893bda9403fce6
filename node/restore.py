"""`taeld restore`: a data directory from a backup, verified to the last byte.

While it works, a file `restore.partial` stands in the data directory, and no node starts there: half a
restore is never taken for a whole one. Another restore removes what is there and begins anew.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from consensus.block import genesis
from consensus.errors import StorageError
from consensus.params import Params
from node.backup_file import FOLDERS, Copy, FileEntry, Manifest, damaged, load_manifest
from node.datadir import MEMPOOL_FILE, PEERS_FILE, RESTORING_FILE, DataDirectory
from node.disk import SYSTEM_DISK, Disk, replace_file, sync


def restore_backup(
    backup: Path, target: Path, params: Params, tell: Callable[[str], None],
    disk: Disk = SYSTEM_DISK,
) -> Manifest:  # fmt: skip
    """Make the data directory `target` from `backup`. Raises: StorageError; then no node starts
    from what was copied."""
    manifest = load_manifest(backup, disk)
    if manifest.chain_id != genesis(params).header.hash[::-1].hex():
        raise StorageError(
            f"{backup} belongs to another network, {manifest.network}", "give another --network"
        )
    directory = DataDirectory(target, disk, may_restore=True)
    try:
        _restore(backup, target, manifest, tell, disk)
    except OSError as error:
        raise StorageError(
            f"cannot restore to {error.filename or target}: {error.strerror}",
            "make room on the disk or mend its rights, and restore again",
        ) from None
    finally:
        directory.close()
    return manifest


def _restore(
    backup: Path, target: Path, manifest: Manifest, tell: Callable[[str], None], disk: Disk
) -> None:
    marker = target / RESTORING_FILE
    _check_free(target, (MEMPOOL_FILE, PEERS_FILE), disk)
    if RESTORING_FILE in disk.listdir(target):
        # What stands there was put there by a restore that did not end: no node ran since.
        for folder in FOLDERS:
            shutil.rmtree(target / folder, ignore_errors=True)
    _check_free(target, FOLDERS, disk)
    replace_file(disk, marker, b"", target / f"{RESTORING_FILE}.new")
    for folder in FOLDERS:
        disk.mkdir(target / folder, 0o700)
    done = 0
    for name, entry in manifest.files.items():
        tell(f"restoring: {done:,} of {manifest.bytes:,} bytes")
        _copy(backup / name, target / name, entry, disk)
        done += entry.bytes
    for folder in FOLDERS:
        sync(disk, target / folder)
    sync(disk, target)
    # Now that every byte and every name is on the disk, it counts.
    disk.unlink(marker)
    sync(disk, target)


def _check_free(target: Path, names: Iterable[str], disk: Disk) -> None:
    for name in names:
        if name in disk.listdir(target):
            raise StorageError(f"{target / name} exists", "restore into an empty directory")


def _copy(source: Path, target: Path, entry: FileEntry, disk: Disk) -> None:
    try:
        # One byte more than there should be, to see that there are not more.
        copy = Copy(source, target, entry.bytes + 1, disk)
    except FileNotFoundError:
        raise StorageError(f"{source} is missing", damaged(source).remedy) from None
    try:
        while copy.step():
            pass
        if copy.finish() != entry:
            raise damaged(source)
    finally:
        copy.close()
