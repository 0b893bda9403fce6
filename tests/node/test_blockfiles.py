"""Append-only files of records: what was written is read back, or it is known to be damaged."""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from consensus.errors import StorageError
from node.blockfiles import HEAD_BYTES, START, RecordFiles
from node.layout import FilePosition

PAYLOADS = [random.Random(number).randbytes(20 + 7 * number) for number in range(12)]


def filled(path: Path, file_bytes_max: int = 1 << 20) -> tuple[RecordFiles, list[FilePosition]]:
    files = RecordFiles(path, "blk", file_bytes_max)
    return files, [files.append(payload) for payload in PAYLOADS]


def found_in(path: Path, may_drop: bool = False) -> list[bytes]:
    files = RecordFiles(path, "blk")
    try:
        return [payload for _, payload in files.scan(START, may_drop)]
    finally:
        files.close()


def test_records_are_read_back_at_their_places_also_by_a_later_opener(tmp_path: Path) -> None:
    files, places = filled(tmp_path)
    assert [files.read(place) for place in places] == PAYLOADS
    assert list(files.scan(START)) == list(zip(places, PAYLOADS, strict=True))
    end = files.end
    files.close()
    later = RecordFiles(tmp_path, "blk")
    assert later.end == end
    assert list(later.scan(places[5])) == list(zip(places, PAYLOADS, strict=True))[5:]
    assert later.read_bytes(places[3].file, places[3].offset + HEAD_BYTES, 5) == PAYLOADS[3][:5]
    later.close()


def test_a_full_file_is_followed_by_the_next_and_a_record_never_spans_two(tmp_path: Path) -> None:
    files, places = filled(tmp_path, 200)
    assert {place.file for place in places} == set(range(places[-1].file + 1))
    assert places[-1].file > 3
    assert max(path.stat().st_size for path in tmp_path.iterdir()) <= 200
    big = files.append(bytes(1_000))
    assert big.offset == 0
    assert files.read(big) == bytes(1_000)
    files.close()
    assert found_in(tmp_path) == [*PAYLOADS, bytes(1_000)]


def test_an_empty_record_and_an_empty_series_are_read_back(tmp_path: Path) -> None:
    files = RecordFiles(tmp_path, "blk")
    assert list(files.scan(START)) == []
    files.sync()
    place = files.append(b"")
    assert files.read(place) == b""
    files.close()
    assert found_in(tmp_path) == [b""]


def test_a_tail_torn_at_any_byte_is_cut_off_and_writing_goes_on(tmp_path: Path) -> None:
    files, places = filled(tmp_path / "whole")
    files.close()
    whole = (tmp_path / "whole" / "blk00000.dat").read_bytes()
    for length in range(places[-2].offset, len(whole)):
        path = tmp_path / "torn"
        path.mkdir()
        (path / "blk00000.dat").write_bytes(whole[:length])
        count = 10 + (length >= places[-1].offset)
        assert found_in(path) == PAYLOADS[:count]
        torn = RecordFiles(path, "blk")
        assert torn.end == places[count]
        torn.append(b"next")
        torn.close()
        assert found_in(path) == [*PAYLOADS[:count], b"next"]
        shutil.rmtree(path)


def test_a_tail_of_zeros_is_cut_off(tmp_path: Path) -> None:
    # What a file system leaves that made room for a record and lost power before its bytes came.
    files, places = filled(tmp_path)
    files.close()
    path = tmp_path / "blk00000.dat"
    for keep in (places[-1].offset, places[-1].offset + 5, places[-1].offset + HEAD_BYTES + 3):
        data = path.read_bytes()
        path.write_bytes(data[:keep] + bytes(len(data) - keep))
        assert found_in(tmp_path) == PAYLOADS[:-1]
        path.write_bytes(data)


@pytest.mark.parametrize("within", [0, 4, 7, 8, 11, HEAD_BYTES, HEAD_BYTES + 15])
def test_damage_amid_records_is_refused_and_nothing_is_cut_off(tmp_path: Path, within: int) -> None:
    files, places = filled(tmp_path)
    files.close()
    path = tmp_path / "blk00000.dat"
    data = bytearray(path.read_bytes())
    for bit in range(8):
        damaged = bytearray(data)
        damaged[places[4].offset + within] ^= 1 << bit
        path.write_bytes(damaged)
        with pytest.raises(StorageError, match=f"damaged at byte {places[4].offset}"):
            found_in(tmp_path)
        assert path.read_bytes() == damaged


def test_damage_that_may_be_dropped_is_cut_off_with_all_behind_it(tmp_path: Path) -> None:
    files, places = filled(tmp_path, 300)
    files.close()
    path = tmp_path / f"blk{places[6].file:05}.dat"
    data = bytearray(path.read_bytes())
    data[places[6].offset + 20] ^= 1
    path.write_bytes(data)
    assert found_in(tmp_path, may_drop=True) == PAYLOADS[:6]
    assert found_in(tmp_path) == PAYLOADS[:6]
    assert max(tmp_path.iterdir()) == path


def test_a_torn_end_of_a_file_that_others_follow_is_refused(tmp_path: Path) -> None:
    files, _ = filled(tmp_path, 200)
    files.close()
    path = tmp_path / "blk00001.dat"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StorageError, match="damaged"):
        found_in(tmp_path)


def test_every_flipped_bit_of_a_record_is_seen_when_it_is_read(tmp_path: Path) -> None:
    files, places = filled(tmp_path)
    path = tmp_path / "blk00000.dat"
    data = path.read_bytes()
    start, end = places[3].offset, places[4].offset
    for place in range(start, end):
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(StorageError):
            files.read(places[3])
    files.close()


def test_bytes_inside_a_block_never_pass_for_a_record_behind_a_torn_one(tmp_path: Path) -> None:
    # Else whoever puts such bytes into a memo has every node that crashes then refuse to start.
    fake = struct.pack(">4sII", b"TaeL", 0, zlib.crc32(b""))
    files = RecordFiles(tmp_path, "blk")
    files.append(b"first")
    place = files.append(fake * 50 + b"the rest")
    files.close()
    path = tmp_path / "blk00000.dat"
    path.write_bytes(path.read_bytes()[:-1])
    assert found_in(tmp_path) == [b"first"]
    assert path.stat().st_size == place.offset


def test_a_record_that_stands_elsewhere_than_it_was_written_is_refused(tmp_path: Path) -> None:
    files, places = filled(tmp_path, 200)
    files.close()
    shutil.copy(tmp_path / "blk00001.dat", tmp_path / "blk00000.dat")
    later = RecordFiles(tmp_path, "blk")
    with pytest.raises(StorageError):
        later.read(places[0])
    later.close()


def test_truncate_forgets_files_and_bytes_and_writing_goes_on_there(tmp_path: Path) -> None:
    for cut in range(len(PAYLOADS)):
        path = tmp_path / str(cut)
        files, places = filled(path, 200)
        for place in places:
            files.read(place)
        files.truncate(places[cut])
        assert files.end == places[cut]
        assert [payload for _, payload in files.scan(START)] == PAYLOADS[:cut]
        again = files.append(PAYLOADS[cut])
        assert again == places[cut]
        files.sync()
        with pytest.raises(StorageError):
            files.read(places[-1] if cut < 11 else FilePosition(99, 0))
        files.close()
        assert found_in(path) == PAYLOADS[: cut + 1]


LIMITED = """
import pathlib, resource, sys
from consensus.errors import StorageError
from node.blockfiles import RecordFiles
files = RecordFiles(pathlib.Path(sys.argv[1]), "blk")
files.append(b"kept")
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))
try:
    files.append(bytes(5_000))
except StorageError as error:
    print("refused:", error)
print("end:", files.end.offset)
files.append(b"small")
"""


def test_a_full_disk_is_an_error_and_leaves_no_half_of_a_record(tmp_path: Path) -> None:
    outcome = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "refused: cannot write" in outcome.stdout
    assert "end: 16" in outcome.stdout
    assert found_in(tmp_path) == [b"kept", b"small"]


def test_a_file_missing_amid_others_is_refused(tmp_path: Path) -> None:
    files, _ = filled(tmp_path, 200)
    files.close()
    (tmp_path / "blk00001.dat").unlink()
    with pytest.raises(StorageError, match="missing"):
        RecordFiles(tmp_path, "blk")


def test_files_of_other_names_are_left_alone(tmp_path: Path) -> None:
    files, _ = filled(tmp_path)
    files.close()
    for name in ("blk.dat", "blkold.dat", "blk00000 (copy).dat", "blk00000.dat.bak", "notes.txt"):
        (tmp_path / name).write_bytes(b"something")
    assert found_in(tmp_path) == PAYLOADS


def test_a_place_that_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot use"):
        RecordFiles(tmp_path / "file", "blk")
    with pytest.raises(StorageError, match="cannot use"):
        RecordFiles(tmp_path / "file" / "below", "blk")


def test_reading_many_files_takes_few_descriptors(tmp_path: Path) -> None:
    files = RecordFiles(tmp_path, "blk", 30)
    places = [files.append(b"%020d" % number) for number in range(100)]
    before = len(os.listdir("/proc/self/fd"))
    assert [int(files.read(place)) for place in places] == list(range(100))
    assert len(os.listdir("/proc/self/fd")) - before <= 20
    files.close()


def test_a_file_that_cannot_be_opened_any_more_is_an_error_of_storage(tmp_path: Path) -> None:
    files, places = filled(tmp_path)
    files.close()
    (tmp_path / "blk00000.dat").unlink()
    with pytest.raises(StorageError, match="cannot read"):
        files.read(places[0])
    with pytest.raises(StorageError, match="cannot read"):
        files.read_bytes(0, 0, 10)
