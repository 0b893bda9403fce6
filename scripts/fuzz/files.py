"""Targets: what the node reads from its own disk, which may hold anything."""

from __future__ import annotations

import hashlib
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from consensus.asset import AssetRecord
from consensus.block import genesis
from consensus.errors import DecodeError, StorageError
from consensus.hashes import AssetId, LockHash, Txid
from consensus.params import REGTEST
from consensus.tx import NATIVE, AssetDefinition, Coin, Height, outpoint
from node import layout
from node.blockfiles import HEAD_BYTES, START, RecordFiles
from node.layout import FilePosition, FormatRow, HeaderRow, TipRow
from node.mempool_file import Kept, dump_file, load_file
from node.versions import Written, decode_versions, encode_versions, seal
from scripts.fuzz import mutate
from scripts.fuzz.target import Target, need

CHAIN = bytes(range(32))
LOCK = LockHash(b"\x11" * 32)
SPOT = outpoint(b"\x22" * 32, 7)
SMALL_FILE = 200
"""Bytes after which a series begins a new file, so that an input can span several."""


def mempool_file(data: bytes) -> None:
    try:
        kept = load_file(data, CHAIN)
    except DecodeError:
        kept = None
    if kept is not None:
        need(dump_file(CHAIN, kept) == data, "a mempool file has one encoding")
    # The checksum keeps a fuzzer out: what a sound one covers is read too.
    sound = data + hashlib.sha256(data).digest()
    try:
        within = load_file(sound, CHAIN)
    except DecodeError:
        return
    need(dump_file(CHAIN, within) == sound, "a mempool file has one encoding")


def versions_file(data: bytes) -> None:
    try:
        written = decode_versions(seal(data))
    except StorageError as error:
        need(bool(error.what and error.remedy), "a file of versions that is no such names a remedy")
        return
    need(
        decode_versions(encode_versions(written)) == written, "versions are kept as they were read"
    )


def _versions_files() -> Iterator[bytes]:
    yield msgspec.json.encode(Written({"state": 1, "peers.dat": 3}))
    yield msgspec.json.encode(Written({"blocks": 2, "undo": 1}, ("state", "undo")))


def rows(data: bytes) -> None:
    """First byte: which row. The rest is its value, or key and value."""
    if not data:
        return
    kind, value = data[0] % len(_ROWS), data[1:]
    try:
        _ROWS[kind](value)
    except StorageError as error:
        need(bool(error.what and error.remedy), "a damaged row names a remedy")


def _coin(value: bytes) -> None:
    coin = layout.coin_of(LOCK, value)
    need(layout.coin_value(coin) == value, "a coin row has one encoding")
    key = layout.coin_key(LOCK, SPOT)
    need(layout.coin_row(key, value) == (SPOT, coin), "key and value give the coin")


def _place(value: bytes) -> None:
    need(layout.tx_value(*layout.tx_place(value)) == value, "a transaction row has one encoding")


def _history(value: bytes) -> None:
    key = layout.history_key(LOCK + b"", layout.history_place(3, 4))
    entry = layout.history_entry(key, value)
    made = layout.history_value(entry.txid, entry.received, entry.spent)
    need(made == value, "a history row has one encoding")
    need((entry.height, entry.position) == (3, 4), "the key holds the place")


def _pair(value: bytes) -> None:
    need(layout.pack_pair(*layout.unpack_pair(value)) == value, "sums have one encoding")


def _asset(value: bytes) -> None:
    need(layout.asset_value(layout.decode_asset_row(value)) == value, "one encoding")


def _encoded(decode: Callable[[bytes], FormatRow | TipRow | HeaderRow]) -> Callable[[bytes], None]:
    def check(value: bytes) -> None:
        need(layout.encode_row(decode(value)) == value, "a row has one encoding")

    return check


_ROWS = (
    _coin, _place, _history, _pair, _asset, _encoded(layout.decode_format_row),
    _encoded(layout.decode_tip_row), _encoded(layout.decode_header_row),
)  # fmt: skip


def records(data: bytes) -> None:
    """What lies in a series of files after a crash: sound records at first, then anything."""
    with tempfile.TemporaryDirectory(prefix="tael-fuzz-") as name:
        folder = Path(name)
        files = RecordFiles(folder, "blk", SMALL_FILE)
        count = data[0] % 4 if data else 0
        sound = [bytes((at,)) * 50 for at in range(count)]
        for payload in sound:
            files.append(payload)
        end = files.end
        files.close()
        with (folder / f"blk{end.file:05}.dat").open("ab") as file:
            file.write(data[1:])
        _scan(folder, sound, end)


def _scan(folder: Path, sound: list[bytes], end: FilePosition) -> None:
    files = RecordFiles(folder, "blk", SMALL_FILE)
    try:
        found = [payload for _, payload in files.scan(START)]
    except StorageError as error:
        need(bool(error.remedy), "damage amid records names a remedy")
        found = [payload for _, payload in files.scan(START, may_drop=True)]
    need(found[: len(sound)] == sound, "what was written whole is read back")
    need((files.end.file, files.end.offset) >= (end.file, end.offset), "nothing whole is cut off")
    place = files.append(b"next")
    need(files.read(place) == b"next", "what follows can be written")
    again = [payload for _, payload in files.scan(START)]
    need(again == [*found, b"next"], "a second scan finds the same")
    files.close()


def _mempool_files() -> Iterator[bytes]:
    raw = genesis(REGTEST).txs[0].raw
    for kept in ((), (Kept(raw, 1_800_000_000), Kept(b"", 0))):
        whole = dump_file(CHAIN, kept)
        yield whole
        yield whole[:-32]


def _row_seeds() -> Iterator[bytes]:
    header = genesis(REGTEST).header
    coin = Coin(NATIVE, 5, LOCK, Height(7), True)
    definition = AssetDefinition(b"GOLD", b"Gold", 2, b"", True)
    record = AssetRecord(definition, b"", SPOT, Height(9), 10, 3)
    place = FilePosition(1, 2)
    yield b"\x00" + layout.coin_value(coin)
    yield b"\x00" + layout.coin_value(Coin(AssetId(CHAIN), 2**63 - 1, LOCK, Height(1), False))
    yield b"\x01" + layout.tx_value(1, 2, 3, 4, 5)
    yield b"\x02" + layout.history_value(Txid(CHAIN), 5, 6)
    yield b"\x03" + layout.pack_pair(2**100, 1)
    yield b"\x04" + layout.asset_value(record)
    yield b"\x05" + layout.encode_row(FormatRow(1, CHAIN, True))
    yield b"\x06" + layout.encode_row(TipRow(CHAIN, place, place))
    yield b"\x07" + layout.encode_row(HeaderRow(header.raw, 0, 1, 1, place, None))


def _series() -> Iterator[bytes]:
    rng = random.Random(1)
    with tempfile.TemporaryDirectory(prefix="tael-fuzz-") as name:
        files = RecordFiles(Path(name), "blk", 10_000)
        for size in (0, 40, 300):
            files.append(rng.randbytes(size))
        files.close()
        whole = (Path(name) / "blk00000.dat").read_bytes()
    yield b"\x00" + whole
    yield b"\x00" + whole[:-1]
    yield b"\x03" + whole
    yield b"\x02" + whole[:HEAD_BYTES]
    yield b"\x00" + whole[:20] + b"\xff" + whole[21:]


TARGETS = (
    Target(
        "mempool-file", "mempool.dat: one encoding, and one error for all else",
        mempool_file, _mempool_files, 2_048, mutate.packed,
    ),
    Target(
        "versions-file", "versions: kept as they were read, and one error for all else",
        versions_file, _versions_files, 512,
    ),
    Target("rows", "rows of the database: one encoding, or damage with a remedy", rows, _row_seeds,
           512, mutate.tagged),
    Target(
        "records", "block files after a crash: what was whole is read, what follows can be written",
        records, _series, 2_048,
    ),
)  # fmt: skip
