"""Data directories of other versions: refused by name, or made anew whatever interrupts that."""

from __future__ import annotations

import json
import shutil
import time
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from consensus.errors import StorageError
from node import layout, mempool_file
from node.blockfiles import RecordFiles
from node.check import check
from node.datadir import DataDirectory
from node.versions import (
    PARTS,
    REBUILT,
    VERSIONS_FILE,
    Versions,
    Written,
    decode_versions,
    encode_versions,
    seal,
)
from p2p import addrbook
from tests.support.chain import ToyChain, blocks_of, digest_of
from tests.support.daemon import Daemon, running, wait_for
from tests.support.disks import Killed, NumberedDisk

NEWEST = {name: part.newest for name, part in PARTS.items()}
BLOCKS = 1_500
KILLS = 4


def write(directory: Path, versions: dict[str, int], *rebuilding: str) -> None:
    directory.mkdir(exist_ok=True)
    body = json.dumps({"versions": versions, "rebuilding": rebuilding})
    (directory / VERSIONS_FILE).write_bytes(seal(body.encode()))


def read(directory: Path) -> Any:
    return json.loads((directory / VERSIONS_FILE).read_text().rpartition("}")[0] + "}")


def complaint(directory: Path, *options: str) -> str:
    daemon = Daemon(directory, *options).start(ready=False)
    assert daemon.wait() == 1
    return daemon.log[-1]


def test_numbers_are_those_that_the_parts_carry_themselves() -> None:
    assert NEWEST["state"] == layout.FORMAT
    assert NEWEST["mempool.dat"] == mempool_file.VERSION
    assert (PARTS["peers.dat"].oldest, NEWEST["peers.dat"]) == (
        addrbook.OLD_VERSION, addrbook.FILE_VERSION,
    )  # fmt: skip


def test_new_directory_says_in_which_versions_it_was_written(tmp_path: Path) -> None:
    with running(Daemon(tmp_path)):
        assert read(tmp_path) == {"versions": NEWEST, "rebuilding": []}


@pytest.mark.parametrize("name", sorted(PARTS))
def test_part_of_a_newer_version_is_refused_by_both_numbers(tmp_path: Path, name: str) -> None:
    newer = NEWEST | {name: NEWEST[name] + 6}
    write(tmp_path, newer)
    told = complaint(tmp_path)
    assert f"{name} in the data directory has version {newer[name]}" in told
    assert f"reads up to {NEWEST[name]} (start the taeld that wrote it" in told
    assert ("--reindex" in told) == (name in REBUILT)
    assert read(tmp_path)["versions"] == newer
    assert not (tmp_path / "blocks").exists()


def test_part_that_is_not_known_is_refused(tmp_path: Path) -> None:
    write(tmp_path, NEWEST | {"rollups": 1})
    assert "holds 'rollups', of which this program knows nothing" in complaint(tmp_path)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b'{"versions": {"state": "x"}}', b"[" * 5_000, b'{"\xff": 1}']
)
def test_file_that_makes_no_sense_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / VERSIONS_FILE).write_bytes(seal(data))
    with pytest.raises(
        StorageError, match="the file versions of the data directory cannot be read"
    ):
        Versions(DataDirectory(tmp_path))


def test_every_flipped_bit_is_called_damage(tmp_path: Path) -> None:
    sound = encode_versions(Written(dict(NEWEST)))
    for place, bit in product(range(len(sound)), range(8)):
        damaged = bytearray(sound)
        damaged[place] ^= 1 << bit
        with pytest.raises(StorageError, match="damaged"):
            decode_versions(bytes(damaged))
    (tmp_path / VERSIONS_FILE).write_bytes(sound.replace(b"state", b"s|ate"))
    assert complaint(tmp_path).endswith("versions of the data directory is damaged (remove it)")


def test_older_part_without_a_way_is_refused_by_both_numbers(tmp_path: Path) -> None:
    write(tmp_path, NEWEST | {"peers.dat": 1})
    told = complaint(tmp_path)
    assert "peers.dat in the data directory has version 1, this program reads 2 to 3" in told


def test_newer_database_is_made_anew_when_that_is_asked_for(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    with running(daemon):
        daemon.stop()
    write(tmp_path, NEWEST | {"state": 9, "undo": 9})
    with running(Daemon(tmp_path, "--reindex")):
        assert read(tmp_path) == {"versions": NEWEST, "rebuilding": []}


def test_check_names_versions_that_it_does_not_know_and_reads_no_further(
    tmp_path: Path,
) -> None:
    chain = ToyChain()
    write(tmp_path, NEWEST | {"undo": 2})
    DataDirectory(tmp_path).close()
    found = check(tmp_path, chain.params, NoChance(), lambda text: None)
    assert [finding.what for finding in found.findings] == [
        "undo in the data directory has version 2, this program reads up to 1"
    ]


class NoChance:
    """A source of randomness that nobody asks."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


def test_upgrade_that_is_killed_is_done_again_at_any_point(tmp_path: Path) -> None:
    """At every change of the disk: what is on it says that the work is not done, or that it is."""
    for at in range(100):
        path = tmp_path / str(at)
        write(path, NEWEST | {"state": 0})
        DataDirectory(path).close()
        directory = DataDirectory(path, NumberedDisk(at))
        rebuilt = False
        try:
            versions = Versions(directory)
            assert versions.check()
            versions.begin_rebuilding()
            rebuilt = True
            versions.settle()
        except Killed:
            after = Versions(directory)
            assert after.check() or rebuilt
            assert after.check() or after.written.versions == NEWEST
            directory.close()
        else:
            assert at > 4
            assert read(path) == {"versions": NEWEST, "rebuilding": []}
            directory.close()
            return
    pytest.fail("it never ends")


@pytest.fixture(scope="module")
def chain() -> ToyChain:
    made = ToyChain()
    made.mine_empty(BLOCKS)
    return made


@pytest.fixture(scope="module")
def old(chain: ToyChain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a node of another format left: blocks, and a database that is not to be trusted."""
    path = tmp_path_factory.mktemp("old") / "node"
    files = RecordFiles(path / "blocks", "blk")
    for block in (chain.blocks[chain.chain_id], *blocks_of(chain)):
        files.append(block.raw)
    files.close()
    node = Daemon(path)
    with running(node):
        assert node.stop() == 0
    write(path, NEWEST | {"state": layout.FORMAT - 1})
    return path


def test_older_database_is_made_anew_though_the_node_is_killed_again_and_again(
    chain: ToyChain, old: Path, tmp_path: Path
) -> None:
    path = tmp_path / "node"
    shutil.copytree(old, path)
    node = Daemon(path)
    try:
        for number in range(KILLS):
            node.start(ready=False)
            wait_for(lambda: any("JSON-RPC at" in line for line in node.log), "it has begun")
            time.sleep(0.04 * number)
            node.kill()
        node.start()
        assert node.tip == chain.tip.hash[::-1].hex()
        assert node.call("gettxoutsetinfo")["coinset"] == digest_of(chain)
        assert read(path) == {"versions": NEWEST, "rebuilding": []}
    finally:
        if node.is_running:
            node.kill()


def test_rebuilding_that_was_begun_is_done_though_the_database_looks_well(
    chain: ToyChain, old: Path, tmp_path: Path
) -> None:
    path = tmp_path / "node"
    shutil.copytree(old, path)
    write(path, NEWEST, *REBUILT)
    node = Daemon(path)
    with running(node):
        assert any("rebuilding the database from the block files" in line for line in node.log)
        assert node.tip == chain.tip.hash[::-1].hex()


def test_damaged_blocks_keep_an_older_database_as_it_is(old: Path, tmp_path: Path) -> None:
    path = tmp_path / "node"
    shutil.copytree(old, path)
    blocks = path / "blocks" / "blk00000.dat"
    data = bytearray(blocks.read_bytes())
    data[len(data) // 2] ^= 1
    blocks.write_bytes(data)
    assert "the database is as it was" in complaint(path)
    assert read(path)["versions"]["state"] == layout.FORMAT - 1


def test_directory_of_before_the_file_is_taken_as_it_is(tmp_path: Path) -> None:
    node = Daemon(tmp_path)
    with running(node):
        node.stop()
    (tmp_path / VERSIONS_FILE).unlink()
    with running(Daemon(tmp_path)) as _:
        assert read(tmp_path) == {"versions": NEWEST, "rebuilding": []}
