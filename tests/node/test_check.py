"""`taeld --check` finds what is wrong, says what to do, and changes nothing."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from consensus.errors import StorageError
from consensus.params import REGTEST
from consensus.tx import NATIVE
from node.check import FINDINGS_MAX, Outcome, check
from node.datadir import DataDirectory
from node.db import Database
from node.layout import (
    ASSET,
    BALANCE,
    COIN,
    DELAYED,
    HEADER,
    HISTORY,
    KEY_TIP,
    TX,
    asset_key,
    decode_header_row,
    decode_tip_row,
    encode_row,
    header_key,
)
from node.mempool_file import dump_file
from tests.support.chain import ALICE
from tests.support.chain_process import FILE_BYTES_MAX
from tests.support.command import NO_PORTS, taeld
from tests.support.daemon import Daemon, running
from tests.support.damage import DAMAGES, damage, fingerprint
from tests.support.history import ARRIVALS, WINNER, filled
from tests.support.node_chain import NodeChain, with_chain

FLUSHED = len(ARRIVALS)


def checked(path: Path) -> Outcome:
    return check(path, REGTEST, random.Random(1), lambda text: None)


def directory_at(path: Path, flush_at: int | None, indexed: bool = True) -> Path:
    """A data directory to which every block came."""
    filled(path, flush_at, indexed)
    DataDirectory(path).close()
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that was written to the last block, with nothing wrong in it."""
    return directory_at(tmp_path_factory.mktemp("whole") / "node", FLUSHED)


@pytest.mark.parametrize("flush_at", [None, 1, 107, 125, FLUSHED])
@pytest.mark.parametrize("indexed", [True, False])
def test_nothing_is_wrong_with_what_a_node_left_and_nothing_of_it_is_changed(
    tmp_path: Path, flush_at: int | None, indexed: bool
) -> None:
    path = directory_at(tmp_path / "node", flush_at, indexed)
    before = fingerprint(path)
    outcome = checked(path)
    assert outcome.findings == []
    assert outcome.notes == []
    assert outcome.blocks > (100 if flush_at in (125, FLUSHED) else 0)
    assert fingerprint(path) == before


def test_all_blocks_and_all_coins_are_looked_at(whole: Path) -> None:
    outcome = checked(whole)
    assert outcome.blocks == len(WINNER)
    assert outcome.records > 2 * len(WINNER)
    assert outcome.coins > 100


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("folder", ["blocks", "undo"])
def test_damage_anywhere_in_block_and_undo_files_is_found(
    tmp_path: Path, whole: Path, folder: str, kind: str
) -> None:
    rng = random.Random(f"{folder} {kind}")
    for number in range(25):
        path = tmp_path / str(number)
        shutil.copytree(whole, path)
        victim = rng.choice(sorted((path / folder).iterdir()))
        if damage(victim, kind, rng):
            before = fingerprint(path)
            outcome = checked(path)
            assert outcome.findings, f"{victim} after damage {number}"
            assert all(finding.remedy for finding in outcome.findings)
            assert fingerprint(path) == before
        shutil.rmtree(path)


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_anywhere_in_the_database_is_found_or_leaves_every_row(
    tmp_path: Path, whole: Path, kind: str
) -> None:
    rng = random.Random(kind)
    rows = rows_of(whole)
    found = 0
    for number in range(25):
        path = tmp_path / str(number)
        shutil.copytree(whole, path)
        names = ("*.ldb", "*.log", "MANIFEST-*", "CURRENT")
        victims = [file for name in names for file in sorted((path / "state").glob(name))]
        victim = rng.choice([file for file in victims if file.stat().st_size])
        if damage(victim, kind, rng):
            outcome = checked(path)
            found += bool(outcome.findings)
            assert outcome.findings or rows_of(path) == rows, f"{victim.name}, {number}"
        shutil.rmtree(path)
    assert found > 8


def rows_of(path: Path) -> dict[bytes, bytes]:
    """Every row, read of a copy."""
    copy = path.with_name(path.name + "-rows")
    shutil.copytree(path / "state", copy)
    database = Database(copy)
    view = database.view()
    kinds = (b"M", HEADER, COIN, ASSET, TX, HISTORY, BALANCE, DELAYED)
    rows = {key: value for kind in kinds for key, value in view.scan(kind)}
    view.close()
    database.close()
    shutil.rmtree(copy)
    return rows


Change = Callable[[dict[bytes, bytes]], dict[bytes, bytes | None]]


def _other(prefix: bytes) -> Change:
    def change(rows: dict[bytes, bytes]) -> dict[bytes, bytes | None]:
        key = sorted(key for key in rows if key.startswith(prefix))[3]
        return {key: rows[key][:-1] + bytes((rows[key][-1] ^ 1,))}

    return change


def _gone(prefix: bytes) -> Change:
    def change(rows: dict[bytes, bytes]) -> dict[bytes, bytes | None]:
        return {sorted(key for key in rows if key.startswith(prefix))[2]: None}

    return change


def _one_more(prefix: bytes) -> Change:
    def change(rows: dict[bytes, bytes]) -> dict[bytes, bytes | None]:
        key = sorted(key for key in rows if key.startswith(prefix))[1]
        return {key[:5] + bytes((key[5] ^ 1,)) + key[6:]: rows[key]}

    return change


def _supply(rows: dict[bytes, bytes]) -> dict[bytes, bytes | None]:
    value = bytearray(rows[asset_key(NATIVE)])
    value[15] ^= 1
    return {asset_key(NATIVE): bytes(value)}


def _tip_one_back(rows: dict[bytes, bytes]) -> dict[bytes, bytes | None]:
    tip = decode_tip_row(rows[KEY_TIP])
    parent = decode_header_row(rows[header_key(tip.hash)]).raw[4:36]
    return {KEY_TIP: encode_row(type(tip)(parent, tip.blocks_end, tip.undo_end))}


def _header_of_no_work(rows: dict[bytes, bytes]) -> dict[bytes, bytes | None]:
    key = header_key(WINNER[-1].header.hash)
    row = decode_header_row(rows[key])
    raw = row.raw[:-4] + bytes(4)
    return {key: encode_row(type(row)(raw, *(getattr(row, n) for n in row.__struct_fields__[1:])))}


CHANGES: dict[str, Change] = {
    **{f"another {kind.decode()}": _other(kind) for kind in (COIN, TX, HISTORY, BALANCE, DELAYED)},
    **{f"no {kind.decode()}": _gone(kind) for kind in (COIN, TX, HISTORY, BALANCE, DELAYED, ASSET)},
    **{f"one more {k.decode()}": _one_more(k) for k in (COIN, TX, HISTORY, BALANCE, DELAYED)},
    "another supply": _supply,
    "a tip one block back": _tip_one_back,
    "a header that was not mined": _header_of_no_work,
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_row_that_is_not_what_the_blocks_say_is_found(
    tmp_path: Path, whole: Path, name: str
) -> None:
    path = tmp_path / "node"
    shutil.copytree(whole, path)
    database = Database(path / "state")
    database.write(CHANGES[name](rows_of(whole)).items())
    database.close()
    outcome = checked(path)
    assert outcome.findings
    assert all("--reindex" in finding.remedy for finding in outcome.findings)


def test_a_half_written_end_is_only_noted_for_the_next_start_mends_it(tmp_path: Path) -> None:
    path = directory_at(tmp_path / "node", 115)
    last = max((path / "blocks").iterdir())
    last.write_bytes(last.read_bytes()[:-7])
    outcome = checked(path)
    assert outcome.findings == []
    assert len(outcome.notes) == 1

    async def goes_on(node: NodeChain) -> None:
        await node.chain.flush()

    with_chain(path, goes_on, file_bytes_max=FILE_BYTES_MAX)
    again = checked(path)
    assert (again.findings, again.notes) == ([], [])


def test_a_missing_file_or_folder_is_found(tmp_path: Path, whole: Path) -> None:
    for number, name in enumerate(("blocks", "undo", "blocks/blk00001.dat", "undo/undo00000.dat")):
        path = tmp_path / str(number)
        shutil.copytree(whole, path)
        victim = path / name
        shutil.rmtree(victim) if victim.is_dir() else victim.unlink()
        assert checked(path).findings


def test_small_files_that_are_damaged_are_found(tmp_path: Path, whole: Path) -> None:
    path = tmp_path / "node"
    shutil.copytree(whole, path)
    data = bytearray(dump_file(WINNER[0].header.hash, []))
    (path / "mempool.dat").write_bytes(data)
    assert checked(path).findings == []
    data[3] ^= 1
    (path / "mempool.dat").write_bytes(data)
    (path / "peers.dat").write_bytes(b"nonsense")
    names = [finding.what.split(" ")[0].rpartition("/")[2] for finding in checked(path).findings]
    assert names == ["mempool.dat", "peers.dat"]


def test_a_directory_in_use_or_absent_is_refused_and_not_made(tmp_path: Path, whole: Path) -> None:
    holder = DataDirectory(whole)
    with pytest.raises(StorageError, match="another process"):
        checked(whole)
    holder.close()
    with pytest.raises(StorageError, match="cannot use"):
        checked(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()


def test_of_very_many_findings_the_rest_is_counted(tmp_path: Path, whole: Path) -> None:
    path = tmp_path / "node"
    shutil.copytree(whole, path)
    rows = rows_of(whole)
    database = Database(path / "state")
    database.write((key, None) for key in rows if key.startswith(TX))
    database.close()
    outcome = checked(path)
    assert len(outcome.findings) == FINDINGS_MAX
    assert outcome.left_out > 50


def test_the_command_tells_by_its_exit_code_whether_all_is_well(tmp_path: Path) -> None:
    command = ("--network", "regtest", *NO_PORTS, "--datadir", str(tmp_path), "--check")
    daemon = Daemon(tmp_path)
    with running(daemon):
        daemon.call("generatetoaddress", 20, ALICE.address())
        busy = taeld(*command)
        assert busy.returncode == 1
        assert "another process" in busy.stderr
        assert daemon.stop() == 0
    well = taeld(*command)
    assert well.returncode == 0
    assert "21 blocks recounted, 20 coins compared: all as it should be" in well.stdout
    blocks = tmp_path / "blocks" / "blk00000.dat"
    data = bytearray(blocks.read_bytes())
    data[len(data) // 2] ^= 16
    blocks.write_bytes(data)
    bad = taeld(*command)
    assert bad.returncode == 1
    (line,) = [line for line in bad.stdout.splitlines() if f"{blocks} is damaged" in line]
    assert "restore the file" in line
    assert "Traceback" not in bad.stderr
