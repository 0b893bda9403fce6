"""A backup of a node that runs is one moment of it, whole; a restore is that moment, or nothing."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import threading
import time
from pathlib import Path

import msgspec
import pytest

from consensus.errors import StorageError
from consensus.params import REGTEST
from node.backup import BackupRefused, Backups
from node.backup_file import MANIFEST
from node.check import check
from node.datadir import LEDGER_FOLDERS, DataDirectory
from node.db import Database
from node.disk import SYSTEM_DISK, Disk
from node.restore import restore_backup
from tests.support.chain import ALICE
from tests.support.chain_process import FILE_BYTES_MAX
from tests.support.command import NO_PORTS, complaint, taeld
from tests.support.daemon import Daemon, running
from tests.support.damage import DAMAGES, damage, fingerprint
from tests.support.disks import Killed, NumberedDisk, full
from tests.support.history import ARRIVALS, WANTED, WINNER, filled
from tests.support.node_chain import NodeChain, with_chain
from tests.support.recount import Recount, assert_knows, assert_rows_are, digest_of


async def backed_up(node: NodeChain, target: Path, disk: Disk = SYSTEM_DISK) -> Backups:
    backups = Backups(node.chain, disk, Database)
    backups.start(target)
    await backups.ended()
    return backups


def restored(backup: Path, target: Path, disk: Disk = SYSTEM_DISK) -> None:
    restore_backup(backup, target, REGTEST, lambda text: None, disk)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory to which every block came."""
    path = tmp_path_factory.mktemp("source") / "node"
    filled(path, 120)
    return path


@pytest.fixture(scope="module")
def backup(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Path:
    """A whole backup of it."""
    path = tmp_path_factory.mktemp("backup") / "tael"

    async def scenario(node: NodeChain) -> None:
        assert (await backed_up(node, path)).progress.state == "done"

    with_chain(source, scenario, file_bytes_max=FILE_BYTES_MAX)
    return path


def assert_is_whole(path: Path) -> None:
    """The directory holds the winner, to the last row, and a node goes on from it."""
    outcome = check(path, REGTEST, random.Random(1), lambda text: None)
    assert outcome.findings == []
    assert outcome.blocks == len(WINNER)

    async def scenario(node: NodeChain) -> None:
        assert node.chain.tip.hash == WINNER[-1].header.hash
        assert_knows(node, WANTED, page=50)
        await node.give(ARRIVALS)

    with_chain(path, scenario, file_bytes_max=FILE_BYTES_MAX)
    assert_rows_are(path, WANTED)


def test_what_is_restored_is_what_was_backed_up(tmp_path: Path, backup: Path) -> None:
    assert not backup.with_name(backup.name + ".partial").exists()
    restored(backup, tmp_path / "new")
    assert_is_whole(tmp_path / "new")
    (tmp_path / "empty").mkdir()
    restored(backup, tmp_path / "empty")
    assert_is_whole(tmp_path / "empty")


def test_blocks_and_reorganisations_go_on_while_a_backup_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.backup.ROWS_PER_TURN", 20)
    monkeypatch.setattr("node.backup_file.CHUNK_BYTES", 2_000)
    starts = (104, 107, 112, 119)
    heights: list[int] = []

    async def scenario(node: NodeChain) -> None:
        backups = Backups(node.chain, SYSTEM_DISK, Database)
        for number, block in enumerate(ARRIVALS):
            if number in starts:
                await backups.ended()
                backups.start(tmp_path / str(number))
                begun = backups.progress
            await node.give([block])
            if number in (105, 114, 122):
                await node.chain.flush()
            if number in starts:
                # The block was connected and told while the copy was being made.
                assert begun.state == "running"
                heights.append(node.chain.tip.height)
        await backups.ended()
        assert backups.progress.state == "done"
        assert node.chain.tip.hash == WINNER[-1].header.hash

    with_chain(tmp_path / "node", scenario, file_bytes_max=FILE_BYTES_MAX)
    assert len(heights) == len(starts)
    for start in starts:
        path = tmp_path / f"new{start}"
        restored(tmp_path / str(start), path)
        manifest = json.loads(
            (tmp_path / str(start) / MANIFEST).read_bytes().rpartition(b"}")[0] + b"}"
        )

        async def stands_there(node: NodeChain, block: str = manifest["block"]) -> None:
            assert node.chain.tip.hash[::-1].hex() == block
            wanted = Recount(node.best_blocks())
            assert_knows(node, wanted, page=50)
            assert digest_of(await node.coins_on_disk()) == wanted.digest()

        assert check(path, REGTEST, random.Random(1), lambda text: None).findings == []
        with_chain(path, stands_there, file_bytes_max=FILE_BYTES_MAX, follows=False)


def test_nothing_is_ever_written_over(tmp_path: Path, source: Path, backup: Path) -> None:
    before = fingerprint(backup)

    async def scenario(node: NodeChain) -> None:
        backups = Backups(node.chain, SYSTEM_DISK, Database)
        (tmp_path / "half.partial").mkdir()
        for target, part in (
            (backup, "exists"),
            (tmp_path, "exists"),
            (tmp_path / "half", "did not end"),
            (Path("relative"), "not an absolute path"),
            (tmp_path / "absent" / "below", "cannot be made"),
            (source / "restore", "inside the data directory"),
            (source / "blocks" / "copy", "inside the data directory"),
        ):
            with pytest.raises(BackupRefused, match=part) as refused:
                backups.start(target)
            assert (".partial" in str(refused.value)) == (part == "did not end")
        backups.start(tmp_path / "first")
        with pytest.raises(BackupRefused, match="is being made"):
            backups.start(tmp_path / "second")
        await backups.close()
        assert backups.progress.state == "failed"

    with_chain(source, scenario, file_bytes_max=FILE_BYTES_MAX)
    assert fingerprint(backup) == before
    assert [path.name for path in tmp_path.iterdir()] == ["half.partial"]


class SlowToRename(NumberedDisk):
    """Tells when something is about to be renamed to `target`, and takes its time."""

    def __init__(self, target: Path) -> None:
        super().__init__()
        self.target = target
        self.has_come_to_it = threading.Event()

    def replace(self, source: Path, target: Path) -> None:
        if target == self.target:
            self.has_come_to_it.set()
            time.sleep(0.3)
        super().replace(source, target)


def test_a_node_that_stops_while_a_backup_gets_its_name_leaves_it_whole(
    tmp_path: Path, source: Path
) -> None:
    disk = SlowToRename(tmp_path / "last")

    async def scenario(node: NodeChain) -> None:
        backups = Backups(node.chain, disk, Database)
        backups.start(disk.target)
        await asyncio.to_thread(disk.has_come_to_it.wait)
        await backups.close()

    with_chain(source, scenario, file_bytes_max=FILE_BYTES_MAX)
    restored(disk.target, tmp_path / "new")
    assert_is_whole(tmp_path / "new")


def changes_of_a_backup(source: Path, target: Path) -> int:
    disk = NumberedDisk()

    async def scenario(node: NodeChain) -> None:
        assert (await backed_up(node, target, disk)).progress.state == "done"

    with_chain(source, scenario, file_bytes_max=FILE_BYTES_MAX)
    return len(disk.changes)


def test_a_disk_that_fills_up_at_any_moment_leaves_no_backup_and_the_node_goes_on(
    tmp_path: Path, source: Path
) -> None:
    count = changes_of_a_backup(source, tmp_path / "whole")
    assert count > 40

    async def scenario(node: NodeChain) -> None:
        for at in range(count):
            target = tmp_path / "target" / str(at)
            target.parent.mkdir(exist_ok=True)
            disk = NumberedDisk(at, full)
            backups = Backups(node.chain, disk, Database)
            if at < 2:  # before there is anything to be removed
                with pytest.raises(BackupRefused, match="No space left"):
                    backups.start(target)
                continue
            backups.start(target)
            await backups.ended()
            renamed = any(change == f"rename {at}.partial" for change in disk.changes[:at])
            assert backups.progress.state == "failed"
            assert "No space left" in backups.progress.error
            assert renamed == target.exists()
            assert not target.with_name(f"{at}.partial").exists()
        assert node.chain.tip.hash == WINNER[-1].header.hash

    with_chain(source, scenario, file_bytes_max=FILE_BYTES_MAX)


def test_a_restore_killed_at_any_moment_is_refused_until_another_ends(
    tmp_path: Path, backup: Path
) -> None:
    disk = NumberedDisk()
    restored(backup, tmp_path / "whole", disk)
    count = len(disk.changes)
    assert count > 40
    refused = 0
    for at in range(count):
        target = tmp_path / str(at)
        with pytest.raises(Killed):
            restored(backup, target, NumberedDisk(at))
        done = "unlink restore.partial" in disk.changes[:at]
        begun = any(change.startswith("rename restore.partial") for change in disk.changes[:at])
        if begun and not done:
            refused += 1
            with pytest.raises(StorageError, match="did not end") as caught:
                DataDirectory(target)
            assert "restore it again" in caught.value.remedy
        if not done:
            assert begun or not (target / "blocks").exists()
            restored(backup, target)
        assert check(target, REGTEST, random.Random(1), lambda text: None).findings == []
        shutil.rmtree(target)
    assert refused > 30


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_backup_is_refused_and_no_node_starts_from_it(
    tmp_path: Path, backup: Path, kind: str
) -> None:
    rng = random.Random(kind)
    for number in range(20):
        copy, target = tmp_path / f"copy{number}", tmp_path / f"new{number}"
        shutil.copytree(backup, copy)
        victims = [path for path in sorted(copy.rglob("*")) if path.is_file()]
        victim = rng.choice(victims) if number else copy / MANIFEST
        if victim.stat().st_size == 0 or not damage(victim, kind, rng):
            continue
        with pytest.raises(StorageError, match=victim.name) as caught:
            restored(copy, target)
        assert caught.value.remedy
        if target.exists():
            with pytest.raises(StorageError, match="did not end"):
                DataDirectory(target)
            restored(backup, target)
            DataDirectory(target).close()


def test_a_file_missing_or_longer_in_a_backup_is_refused(tmp_path: Path, backup: Path) -> None:
    for number, folder in enumerate(LEDGER_FOLDERS):
        copy = tmp_path / f"copy{number}"
        shutil.copytree(backup, copy)
        victim = max((copy / folder).iterdir())
        victim.write_bytes(victim.read_bytes() + b"\0")
        with pytest.raises(StorageError, match="damaged"):
            restored(copy, tmp_path / f"long{number}")
        victim.unlink()
        with pytest.raises(StorageError, match="is missing"):
            restored(copy, tmp_path / f"gone{number}")


def test_a_backup_of_another_network_or_none_is_refused(tmp_path: Path, backup: Path) -> None:
    other = msgspec.structs.replace(REGTEST, genesis_time=REGTEST.genesis_time + 1)
    with pytest.raises(StorageError, match="another network"):
        restore_backup(backup, tmp_path / "new", other, lambda text: None)
    with pytest.raises(StorageError, match="is no backup"):
        restored(tmp_path, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_restore_never_writes_over_a_ledger(tmp_path: Path, source: Path, backup: Path) -> None:
    path = tmp_path / "node"
    shutil.copytree(source, path)
    before = fingerprint(path)
    with pytest.raises(StorageError, match="blocks exists"):
        restored(backup, path)
    # Nor where a node has run, though something bears the name of a restore that did not end.
    (path / "peers.dat").write_bytes(b"")
    (path / "restore.partial").mkdir()
    with pytest.raises(StorageError, match="blocks exists"):
        restored(backup, path)
    (path / "restore.partial").rmdir()
    for name in (".lock", "peers.dat"):
        (path / name).unlink()
    assert fingerprint(path) == before


def test_the_commands_copy_a_node_that_runs_and_bring_it_back(tmp_path: Path) -> None:
    where = ("--network", "regtest", "--datadir")
    target = str(tmp_path / "copy")
    daemon = Daemon(tmp_path / "node")
    assert "no node runs" in complaint(taeld(*where, str(daemon.datadir), "backup", target))
    with running(daemon):
        daemon.call("generatetoaddress", 30, ALICE.address())
        wanted = daemon.call("gettxoutsetinfo")
        here = (*where, str(daemon.datadir), "--rpc", f"127.0.0.1:{daemon.rpc_port}")
        made = taeld("backup", *here, target)
        assert made.returncode == 0, made.stderr
        assert made.stdout.startswith(f"Backup of block 30 at {target}: ")
        assert "exists" in complaint(taeld(*here, "backup", target))
        daemon.call("generatetoaddress", 5, ALICE.address())
        assert daemon.call("getbackupinfo")["state"] == "done"
    help_text = taeld("restore", "--help").stdout
    assert "--datadir" in help_text
    assert "--rpc" not in help_text
    back = taeld("restore", *where, str(tmp_path / "new"), target)
    assert back.returncode == 0, back.stderr
    assert "Restored block 30" in back.stdout
    assert "exists" in complaint(taeld("restore", *where, str(tmp_path / "new"), target))
    again = Daemon(tmp_path / "new", *NO_PORTS)
    with running(again):
        assert again.call("gettxoutsetinfo") == wanted
