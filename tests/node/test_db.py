"""LevelDB behind `node.db`: whole batches, exact scans, and damage that is always seen."""

from __future__ import annotations

import errno
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from consensus.errors import StorageError
from node import db
from node.db import Database, View
from node.disk import SystemDisk

ROWS = {b"k%05d" % n: random.Random(n).randbytes(60) for n in range(3_000)}


def by_scan(view: View) -> dict[bytes, bytes]:
    return dict(view.scan(b"k"))


def by_scan_back(view: View) -> dict[bytes, bytes]:
    return dict(reversed(list(view.scan_back(b"k"))))


def by_get(view: View) -> dict[bytes, bytes]:
    return {key: value for key in ROWS if (value := view.get(key)) is not None}


def rows_of(path: Path, *ways: Callable[[View], dict[bytes, bytes]]) -> dict[bytes, bytes]:
    """Everything that the database holds, read by scan and by get, or in one of these ways alone."""
    database = Database(path)
    try:
        view = database.view()
        try:
            found, *others = [read(view) for read in ways or (by_scan, by_scan_back, by_get)]
        finally:
            view.close()
        assert all(other == found for other in others)
        return found
    finally:
        database.close()


def fill(path: Path, batches: int = 10) -> None:
    database = Database(path)
    keys = sorted(ROWS)
    size = len(keys) // batches
    for number in range(batches):
        database.write([(key, ROWS[key]) for key in keys[number * size : (number + 1) * size]])
    database.close()


@pytest.fixture(scope="module")
def log_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database whose rows are all in the log."""
    path = tmp_path_factory.mktemp("log") / "state"
    fill(path)
    return path


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database whose rows are in a table: opening it again moves them there."""
    path = tmp_path_factory.mktemp("tables") / "state"
    fill(path)
    Database(path).close()
    assert list(path.glob("*.ldb"))
    return path


def files(path: Path) -> list[Path]:
    """Files that hold rows, or say which files do."""
    names = ("*.log", "*.ldb", "MANIFEST-*")
    return sorted(file for name in names for file in path.glob(name) if file.stat().st_size)


@pytest.mark.parametrize("source", ["log_only", "tables"])
def test_a_flipped_bit_is_refused_or_harmless_and_never_a_hole_or_another_value(
    source: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    original: Path = request.getfixturevalue(source)
    rng = random.Random(1)
    refused = 0
    for number in range(120):
        copy = tmp_path / str(number)
        shutil.copytree(original, copy)
        victim = rng.choice(files(copy))
        data = bytearray(victim.read_bytes())
        place = rng.randrange(len(data))
        data[place] ^= 1 << rng.randrange(8)
        victim.write_bytes(data)
        try:
            # One way alone: what the other refuses says nothing of it.
            found = rows_of(copy, (by_scan, by_scan_back, by_get)[number % 3])
        except StorageError:
            refused += 1
        else:
            assert found == ROWS, f"{victim.name} damaged at {place}"
        shutil.rmtree(copy)
    assert refused > 60


@pytest.mark.parametrize("prefix", [b"k", b"k0299", b"k02999"])
def test_rows_of_a_damaged_last_block_are_not_taken_for_absent(
    tables: Path, tmp_path: Path, prefix: bytes
) -> None:
    # LevelDB goes on behind damage; where nothing is behind it, it says nothing either.
    shutil.copytree(tables, tmp_path / "copy")
    (table,) = (tmp_path / "copy").glob("*.ldb")
    data = bytearray(table.read_bytes())
    data[data.index(ROWS[max(ROWS)])] ^= 1
    table.write_bytes(data)
    with pytest.raises(StorageError, match="checksum mismatch"):
        rows_of(tmp_path / "copy", lambda view: dict(view.scan(prefix)))


@pytest.mark.parametrize("prefix", [b"k", b"k00", b"k0000"])
def test_rows_of_a_damaged_first_block_are_not_taken_for_absent_from_behind(
    tables: Path, tmp_path: Path, prefix: bytes
) -> None:
    shutil.copytree(tables, tmp_path / "copy")
    (table,) = (tmp_path / "copy").glob("*.ldb")
    data = bytearray(table.read_bytes())
    data[data.index(ROWS[min(ROWS)])] ^= 1
    table.write_bytes(data)
    with pytest.raises(StorageError, match="checksum mismatch"):
        rows_of(tmp_path / "copy", lambda view: dict(view.scan_back(prefix)))


def test_rows_come_from_behind_up_to_a_key_and_of_one_prefix_alone(tmp_path: Path) -> None:
    database = Database(tmp_path)
    database.write([(key, key) for key in (b"a9", b"b1", b"b2", b"b\xff", b"c0")])
    view = database.view()
    assert [key for key, _ in view.scan_back(b"b")] == [b"b\xff", b"b2", b"b1"]
    assert [key for key, _ in view.scan_back(b"b", b"b2")] == [b"b1"]
    assert list(view.scan_back(b"b", b"b1")) == []
    assert list(view.scan_back(b"d")) == []
    view.close()
    database.close()


def test_a_log_that_was_cut_off_loses_whole_batches_only(log_only: Path, tmp_path: Path) -> None:
    size = sum(file.stat().st_size for file in log_only.glob("*.log"))
    rng = random.Random(2)
    lost = 0
    for number, length in enumerate([0, 1, size - 1, *rng.sample(range(size), 40)]):
        copy = tmp_path / str(number)
        shutil.copytree(log_only, copy)
        (log,) = copy.glob("*.log")
        log.write_bytes(log.read_bytes()[:length])
        try:
            found = rows_of(copy)
        except StorageError:
            continue
        assert len(found) % 300 == 0, "half a batch"
        assert found == {key: ROWS[key] for key in sorted(ROWS)[: len(found)]}
        lost += len(found) < len(ROWS)
        shutil.rmtree(copy)
    assert lost > 20


def test_a_table_that_is_cut_off_or_missing_is_refused(tables: Path, tmp_path: Path) -> None:
    for number, length in enumerate((0, 1, 100, 5_000, None)):
        copy = tmp_path / str(number)
        shutil.copytree(tables, copy)
        for table in copy.glob("*.ldb"):
            if length is None:
                table.unlink()
            else:
                table.write_bytes(table.read_bytes()[:length])
        with pytest.raises(StorageError) as caught:
            rows_of(copy)
        assert "--reindex" in caught.value.remedy


def test_an_emptied_log_has_nothing_left_to_read_at_the_next_start(
    log_only: Path, tmp_path: Path
) -> None:
    path = tmp_path / "copy"
    shutil.copytree(log_only, path)
    assert log_bytes(path) > 100_000
    for _ in range(2):  # the second time there is nothing to move
        database = Database(path)
        database.empty_log()
        database.close()
        assert log_bytes(path) == 0
    assert rows_of(path) == ROWS


def log_bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in path.glob("*.log"))


def test_a_batch_whose_rows_cannot_all_be_made_writes_none(tmp_path: Path) -> None:
    database = Database(tmp_path)

    def rows() -> Iterator[tuple[bytes, bytes]]:
        yield b"k1", b"one"
        raise StorageError("a row cannot be made", "none")

    with pytest.raises(StorageError, match="cannot be made"):
        database.write(rows())
    assert database.view().get(b"k1") is None
    database.close()
    assert rows_of(tmp_path) == {}


def test_a_second_opener_is_refused_and_not_told_to_rebuild(tmp_path: Path) -> None:
    database = Database(tmp_path)
    with pytest.raises(StorageError) as caught:
        Database(tmp_path)
    assert "another process" in str(caught.value)
    assert "reindex" not in caught.value.remedy
    assert "b'" not in str(caught.value)
    database.close()
    Database(tmp_path).close()


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    database = Database(tmp_path)
    code = "import sys, pathlib, node.db; node.db.Database(pathlib.Path(sys.argv[1]))"
    outcome = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )
    database.close()
    assert outcome.returncode == 1
    assert "StorageError" in outcome.stderr


def test_a_database_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"not a directory")
    with pytest.raises(StorageError):
        Database(tmp_path / "state")


def test_scan_of_a_prefix_ends_where_the_prefix_does(tmp_path: Path) -> None:
    database = Database(tmp_path)
    full = b"c" + b"\xff" * 32
    inside = [full, full + b"\x00", full + b"\xff" * 36]
    outside = [b"c" + b"\xff" * 31, b"c" + b"\xff" * 31 + b"\xfe" * 2, b"d", b"d" + bytes(31)]
    outside += [b"d" + bytes(32), b"c"]
    database.write([(key, b"") for key in inside + outside])
    view = database.view()
    assert [key for key, _ in view.scan(full)] == inside
    assert [key for key, _ in view.scan(b"d")] == [b"d", b"d" + bytes(31), b"d" + bytes(32)]
    view.close()
    database.close()


def test_scan_after_a_key_leaves_that_key_out_whether_it_exists_or_not(tmp_path: Path) -> None:
    database = Database(tmp_path)
    database.write([(b"k" + bytes([n]), b"%d" % n) for n in range(0, 10, 2)])
    view = database.view()

    def after(key: bytes) -> list[int]:
        return [int(value) for _, value in view.scan(b"k", key)]

    assert after(b"") == [0, 2, 4, 6, 8]
    assert after(b"k") == [0, 2, 4, 6, 8]
    assert after(b"k\x04") == [6, 8]
    assert after(b"k\x05") == [6, 8]
    assert after(b"k\x08") == []
    assert after(b"a") == [0, 2, 4, 6, 8]
    assert after(b"z") == []
    view.close()
    database.close()


def test_a_view_shows_one_moment(tmp_path: Path) -> None:
    database = Database(tmp_path)
    database.write([(b"k1", b"old")])
    view = database.view()
    database.write([(b"k1", b"new"), (b"k2", b"more")])
    assert view.get(b"k1") == b"old"
    assert dict(view.scan(b"k")) == {b"k1": b"old"}
    database.write([(b"k1", None)])
    assert view.get(b"k1") == b"old"
    view.close()
    assert database.view().get(b"k1") is None
    database.close()


def test_destroy_leaves_an_empty_database_behind(tmp_path: Path) -> None:
    fill(tmp_path / "state")
    db.destroy(tmp_path / "state")
    assert rows_of(tmp_path / "state") == {}
    db.destroy(tmp_path / "absent")


class EndingDisk(SystemDisk):
    """A disk of a process that is killed when it has synced a directory so many times."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def open(self, path: Path, flags: int, mode: int = 0o600) -> int:
        if not self.left:
            raise OSError(errno.EIO, "killed")
        self.left -= 1
        return super().open(path, flags, mode)


@pytest.mark.parametrize(("steps", "left"), [(0, 2_000), (1, 0)])
def test_destroy_that_is_killed_leaves_no_database_with_a_hole(
    tmp_path: Path, steps: int, left: int
) -> None:
    path = tmp_path / "state"
    keys = sorted(ROWS)
    database = Database(path)
    database.write([(key, ROWS[key]) for key in keys[:2_000]])
    database.empty_log()
    database.write([(key, ROWS[key]) for key in keys[2_000:]])
    database.close()
    with pytest.raises(StorageError):
        db.destroy(path, EndingDisk(steps))
    found = rows_of(path)
    assert sorted(found) == keys[:left]
    db.destroy(path)
    assert rows_of(path) == {}


LIMITED = """
import pathlib, resource, sys
from consensus.errors import StorageError
from node.db import Database, View
database = Database(pathlib.Path(sys.argv[1]))
database.write([(b"k1", bytes(1000))])
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    database.write([(b"k2", bytes(100_000))])
except StorageError as error:
    print("refused:", error)
"""


def test_a_batch_that_the_disk_does_not_take_is_an_error_and_leaves_the_rest(
    tmp_path: Path,
) -> None:
    outcome = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert outcome.stdout.startswith("refused: writing")
    assert list(rows_of(tmp_path, by_scan)) == [b"k1"]
