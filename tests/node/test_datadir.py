"""The data directory: one process at a time, and small files that are never half-written."""

from __future__ import annotations

import os
import random
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from consensus.errors import StorageError
from node.datadir import DataDirectory, SmallFile
from tests.support.disks import Killed, kill
from tests.support.fragile import FragileDisk, lose_power

ROOT = Path(__file__).resolve().parents[2]
HOLDER = """
import pathlib, sys
from node.datadir import DataDirectory
directory = DataDirectory(pathlib.Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def holder(path: Path) -> subprocess.Popen[str]:
    """A process that holds the directory until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_until_the_first_ends_even_by_a_kill(tmp_path: Path) -> None:
    process = holder(tmp_path)
    with pytest.raises(StorageError, match="another process") as caught:
        DataDirectory(tmp_path)
    assert str(tmp_path) in str(caught.value)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    DataDirectory(tmp_path).close()


def test_a_second_opener_in_one_process_is_refused_too(tmp_path: Path) -> None:
    first = DataDirectory(tmp_path)
    with pytest.raises(StorageError, match="another process"):
        DataDirectory(tmp_path)
    first.close()
    DataDirectory(tmp_path).close()


@pytest.mark.parametrize("left", [b"", b"4711", bytes(4_096), b"\xff" * 100])
def test_a_lock_file_that_was_left_or_damaged_bars_nobody(tmp_path: Path, left: bytes) -> None:
    (tmp_path / ".lock").write_bytes(left)
    directory = DataDirectory(tmp_path)
    with pytest.raises(StorageError, match="another process"):
        DataDirectory(tmp_path)
    directory.close()


def test_a_lock_file_that_is_none_is_told_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / ".lock").mkdir()
    with pytest.raises(StorageError, match="cannot use") as caught:
        DataDirectory(tmp_path)
    assert caught.value.remedy


def test_nobody_else_may_read_what_is_made(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path / "deep" / "node")
    directory.save("peers.dat", b"x")
    assert stat.S_IMODE((tmp_path / "deep" / "node").stat().st_mode) == 0o700
    for path in directory.path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    directory.close()


@pytest.mark.parametrize("name", ["file", "file/below", "a" * 300])
def test_a_place_that_can_be_no_directory_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot use"):
        DataDirectory(tmp_path / name)


def test_small_files_are_replaced_whole(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    peers = SmallFile(directory, "peers.dat")
    assert peers.load() is None
    for data in (b"first", b"", bytes(100_000), b"last"):
        peers.save(data)
        assert peers.load() == data
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "peers.dat"]
    directory.close()


SAVER = """
import pathlib, sys
from node.datadir import DataDirectory
directory = DataDirectory(pathlib.Path(sys.argv[1]))
print("go", flush=True)
while True:
    for byte in (b"a", b"b"):
        directory.save("peers.dat", byte * 300_000)
"""


def test_a_process_killed_while_it_saves_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    for _ in range(8):
        process = subprocess.Popen(
            [sys.executable, "-c", SAVER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        while not (tmp_path / "peers.dat").exists():
            assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert (tmp_path / "peers.dat").read_bytes() in (b"a" * 300_000, b"b" * 300_000)
    directory = DataDirectory(tmp_path)
    directory.save("peers.dat", b"next")
    assert directory.load("peers.dat") == b"next"
    directory.close()


def test_a_loss_of_power_leaves_the_old_or_the_new_and_what_was_saved(tmp_path: Path) -> None:
    rng, old, new = random.Random(40), b"old" * 1_000, b"new" * 2_000
    DataDirectory(tmp_path).close()
    at, seen, is_saved = 0, set(), False
    while not is_saved:
        for _ in range(12):
            disk = FragileDisk(at, kill)
            (tmp_path / "peers.dat").write_bytes(old)
            (tmp_path / "peers.dat.new").unlink(missing_ok=True)
            disk.existing(tmp_path)
            directory = DataDirectory(tmp_path, disk)
            try:
                directory.save("peers.dat", new)
                is_saved = True
            except Killed:
                is_saved = False
            directory.close()
            lose_power(disk.journal(), [tmp_path], rng, ["*"])
            found = (tmp_path / "peers.dat").read_bytes()
            assert found in ((new,) if is_saved else (old, new))
            seen.add((found, is_saved))
        at += 1
    assert seen == {(old, False), (new, False), (new, True)}


LIMITED = """
import pathlib, resource, sys
from consensus.errors import StorageError
from node.datadir import DataDirectory
directory = DataDirectory(pathlib.Path(sys.argv[1]))
directory.save("peers.dat", b"old")
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))
try:
    directory.save("peers.dat", bytes(5_000))
except StorageError as error:
    print("refused:", error)
"""


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    outcome = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert outcome.stdout.startswith("refused: cannot write")
    assert (tmp_path / "peers.dat").read_bytes() == b"old"


def test_a_small_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    (tmp_path / "peers.dat").mkdir()
    with pytest.raises(StorageError, match=r"peers\.dat"):
        directory.load("peers.dat")
    with pytest.raises(StorageError, match=r"peers\.dat"):
        directory.save("peers.dat", b"x")
    directory.close()
