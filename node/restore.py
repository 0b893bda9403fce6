"""`taeld restore`: a data directory from a backup, verified to the last byte.

Settings, certificate and the like may stand there already. While it works, a file `restore.partial`
does too, and no node starts there: half a restore is never taken for a whole one. Another restore
removes what the first had copied and begins anew.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from consensus.block import genesis
from consensus.errors import StorageError
from consensus.params import Params
from node.backup_file import Copy, FileEntry, Manifest, damaged, load_manifest
from node.datadir import LEDGER_FOLDERS, RESTORING_FILE, DataDirectory
from node.disk import SYSTEM_DISK, Disk, read_file, replace_file, sync

MARK = b"taeld restore\n"
"""What stands in `restore.partial`."""


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
    if _is_ours(marker, disk):
        # What stands there was put there by a restore that did not end: no node ran since.
        for folder in LEDGER_FOLDERS:
            shutil.rmtree(target / folder, ignore_errors=True)
    _check_free(target, disk)
    replace_file(disk, marker, MARK, target / f"{RESTORING_FILE}.new")
    for folder in LEDGER_FOLDERS:
        disk.mkdir(target / folder, 0o700)
    done = 0
    for name, entry in manifest.files.items():
        tell(f"restoring: {done:,} of {manifest.bytes:,} bytes")
        _copy(backup / name, target / name, entry, disk)
        done += entry.bytes
    for folder in LEDGER_FOLDERS:
        sync(disk, target / folder)
    sync(disk, target)
    # Now that every byte and every name is on the disk, it counts.
    disk.unlink(marker)
    sync(disk, target)


def _is_ours(marker: Path, disk: Disk) -> bool:
    """Whether a restore began here; something else may bear that name where a node has run."""
    try:
        return read_file(disk, marker) == MARK
    except OSError:
        return False


def _check_free(target: Path, disk: Disk) -> None:
    for name in LEDGER_FOLDERS:
        if name in disk.listdir(target):
            raise StorageError(
                f"{target / name} exists",
                "restore into another directory, or remove blocks, undo and state from this one",
            )


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
