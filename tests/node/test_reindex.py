"""`taeld --reindex` and the other ways out of damage, on real data directories."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from consensus.block import genesis
from consensus.params import REGTEST
from node import db
from node.check import Outcome, check
from node.datadir import LEDGER_FOLDERS, SYNC_AGAIN
from node.layout import FORMAT, KEY_FORMAT, FormatRow, encode_row
from tests.support.chain import ALICE
from tests.support.command import NO_PORTS, complaint, taeld
from tests.support.daemon import Daemon, running, wait_for, wait_for_one_tip

BLOCKS = 20


def filled(directory: Path, count: int) -> None:
    daemon = Daemon(directory)
    with running(daemon):
        daemon.call("generatetoaddress", count, ALICE.address())
        assert daemon.stop() == 0


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "node"
    filled(path, BLOCKS)
    return path


@pytest.fixture
def directory(tmp_path: Path, source: Path) -> Path:
    """A data directory with 20 blocks whose node was stopped."""
    return shutil.copytree(source, tmp_path / "node")


def looked_at(directory: Path) -> Outcome:
    return check(directory, REGTEST, random.Random(1), lambda text: None)


def here(directory: Path) -> tuple[str, ...]:
    return ("--network", "regtest", *NO_PORTS, "--datadir", str(directory))


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.suffix == ".ldb"}


def test_reindex_from_damaged_block_files_leaves_the_database_that_there_is(
    directory: Path,
) -> None:
    path = directory / "blocks" / "blk00000.dat"
    flip(path, path.stat().st_size // 2)
    kept = contents(directory / "state")
    line = complaint(taeld(*here(directory), "--reindex"))
    assert "blk00000.dat is damaged at byte" in line
    assert "the database is as it was" in line
    assert SYNC_AGAIN in line
    assert contents(directory / "state") == kept
    daemon = Daemon(directory)
    with running(daemon):  # what it needs of the damaged file is in the database
        assert daemon.call("getblockcount") == BLOCKS
        assert daemon.stop() == 0


def test_reindex_for_another_network_leaves_the_database_that_there_is(directory: Path) -> None:
    kept = contents(directory / "state")
    options = ("--network", "test", *NO_PORTS, "--datadir", str(directory))
    assert "another network" in complaint(taeld(*options, "--reindex"))
    assert contents(directory / "state") == kept


def test_reindex_with_a_block_file_missing_leaves_the_database_that_there_is(
    directory: Path,
) -> None:
    path = directory / "blocks" / "blk00000.dat"
    path.rename(path.with_name("blk00001.dat"))
    kept = contents(directory / "state")
    assert "is missing" in complaint(taeld(*here(directory), "--reindex"))
    assert contents(directory / "state") == kept


@pytest.mark.parametrize("state", ["removed", "begun"])
def test_check_promises_no_start_from_damaged_block_files(directory: Path, state: str) -> None:
    shutil.rmtree(directory / "state")
    if state == "begun":  # a database without a block in it
        (directory / "state").mkdir()
        database = db.Database(directory / "state")
        row = FormatRow(FORMAT, genesis(REGTEST).header.hash, True)
        database.write([(KEY_FORMAT, encode_row(row))])
        database.close()
    outcome = looked_at(directory)
    assert not outcome.findings
    assert "the next start" in outcome.notes[0]
    path = directory / "blocks" / "blk00000.dat"
    flip(path, path.stat().st_size // 2)
    outcome = looked_at(directory)
    assert [SYNC_AGAIN in finding.remedy for finding in outcome.findings] == [True]
    assert not outcome.notes
    assert "is damaged at byte" in complaint(taeld(*here(directory)))


def test_check_tells_of_a_torn_end_without_a_database_what_the_next_start_does(
    directory: Path,
) -> None:
    shutil.rmtree(directory / "state")
    path = directory / "blocks" / "blk00000.dat"
    path.write_bytes(path.read_bytes()[:-3])
    outcome = looked_at(directory)
    assert not outcome.findings
    assert "the next start cuts it off" in outcome.notes[0]
    daemon = Daemon(directory)
    with running(daemon):
        assert daemon.call("getblockcount") == BLOCKS - 1


def test_what_the_remedy_names_comes_back_from_peers_and_the_rest_stays(
    tmp_path: Path, directory: Path
) -> None:
    other = Daemon(directory)
    node = Daemon(tmp_path / "again")
    filled(node.datadir, 3)
    (node.datadir / "taeld.toml").write_text("outbound = 0\n")
    identity = (node.datadir / "peer.pem").read_bytes()
    backup = tmp_path / "backup"
    with running(other):
        other.call("backup", str(backup))
        wait_for(lambda: other.call("getbackupinfo")["state"] == "done", "the backup is made")
        for way in ("sync", "restore"):
            for name in LEDGER_FOLDERS:
                assert name in SYNC_AGAIN
                shutil.rmtree(node.datadir / name)
            if way == "restore":
                where = ("--network", "regtest", "--datadir", str(node.datadir))
                back = taeld("restore", *where, str(backup))
                assert back.returncode == 0, back.stderr
            with running(node):
                if way == "sync":
                    node.call("addnode", other.p2p, "add")
                    wait_for_one_tip([node, other])
                assert node.tip == other.tip
                assert node.stop() == 0
            assert (node.datadir / "peer.pem").read_bytes() == identity
            assert (node.datadir / "taeld.toml").exists()


@pytest.mark.parametrize("left", [[], [1], [0, 2]])
def test_reindex_makes_undo_files_again_that_are_missing(directory: Path, left: list[int]) -> None:
    undo = directory / "undo"
    data = (undo / "undo00000.dat").read_bytes()
    shutil.rmtree(undo)
    undo.mkdir()
    for number in left:  # as if there had been several, and these were left
        (undo / f"undo{number:05}.dat").write_bytes(data)
    assert any("--reindex" in finding.remedy for finding in looked_at(directory).findings)
    assert "--reindex" in complaint(taeld(*here(directory)))
    daemon = Daemon(directory)
    try:
        daemon.start("--reindex")
        assert daemon.call("getblockcount") == BLOCKS
        assert daemon.stop() == 0
    finally:
        if daemon.is_running:
            daemon.kill()
    assert not looked_at(directory).findings
