"""`taeld --check`: is everything in a data directory what the blocks in it say?

Nothing in the directory is changed. Blocks and undo data are read to the last byte; headers go through
the rules again, proof of work included; a plain recount of the blocks (`node.recount`) is compared with
every row of the database. Signatures are not verified again: they were, before a block was written, and
the root in its header still holds the block together.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from consensus.block import Block, decode_header, genesis
from consensus.block_rules import check_block
from consensus.errors import DecodeError, StorageError, Violation
from consensus.hashes import HASH_BYTES, BlockHash
from consensus.header_tree import HeaderNode, HeaderTree, Status
from consensus.params import Params
from node import check_rows, db
from node.archive import encode_undo
from node.blockfiles import RecordFiles
from node.datadir import MEMPOOL_FILE, PEERS_FILE, REBUILD, SYNC_AGAIN, DataDirectory
from node.layout import (
    FORMAT,
    HEADER,
    KEY_FORMAT,
    KEY_TIP,
    FilePosition,
    HeaderRow,
    TipRow,
    decode_format_row,
    decode_header_row,
    decode_tip_row,
)
from node.mempool_file import load_file
from node.recount import Absent, Recount
from node.versions import Versions
from p2p.addrbook import AddressBook
from p2p.ports import RandomSource

REINDEX = "start once with --reindex to rebuild the database from the block files"
RESTORE_FILE = f"restore the file from a copy, or {SYNC_AGAIN}"
NOT_NEEDED = "remove it: the node starts without and makes another"
FINDINGS_MAX = 100
"""Findings that are told one by one: a database of other blocks differs in every row."""
FAR_FUTURE = 1 << 62
"""A time by which no header is from the future: when it came it was not, or it would not be here."""
PROGRESS_EVERY = 200
"""Blocks between two words about how far it is."""


class Finding(NamedTuple):
    """Something that is not as it should be, and what to do about it."""

    what: str
    remedy: str


class Outcome(NamedTuple):
    """What a check found, and what it looked at."""

    findings: list[Finding]
    left_out: int
    """Findings beyond `FINDINGS_MAX`."""
    notes: list[str]
    """What the next start mends by itself."""
    blocks: int
    records: int
    coins: int


class _Checker:
    """Goes over one directory. Findings are collected; what depends on a broken part is left."""

    def __init__(
        self, directory: DataDirectory, params: Params, rng: RandomSource,
        tell: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._directory = directory
        self._params = params
        self._rng = rng
        self._tell = tell
        self._genesis = genesis(params)
        self._tree = HeaderTree(params, self._genesis.header)
        self._rows: dict[BlockHash, HeaderRow] = {}
        self.findings: list[Finding] = []
        self.left_out = 0
        self.notes: list[str] = []
        self.blocks = self.records = self.coins = 0
        self._unbuilt = ""
        """What the next start does about a database without blocks, if the block files allow it."""
        self._are_blocks_whole = False

    def add(self, what: str, remedy: str) -> None:
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(Finding(what, remedy))
        else:
            self.left_out += 1

    def run(self) -> None:
        if not self._are_versions_known():
            return
        with ExitStack() as stack:
            blocks = self._open_files(self._directory.blocks, "blk", stack)
            undo = self._open_files(self._directory.undo, "undo", stack)
            view = self._open_view(stack)
            tip = self._read_headers(view) if view else None
            if blocks:
                before = len(self.findings)
                self._survey(blocks, tip.blocks_end if tip else None, "block")
                self._are_blocks_whole = len(self.findings) == before
            if undo:
                self._survey(undo, tip.undo_end if tip else None, "undo")
            if view and tip and blocks and undo:
                self._replay(view, tip, blocks, undo)
        if self._unbuilt and self._are_blocks_whole:
            self.notes.append(self._unbuilt)
        self._check_small_files()

    # Opening

    def _are_versions_known(self) -> bool:
        before = len(self.findings)
        try:
            for problem in Versions(self._directory).problems():
                self.add(problem.what, problem.remedy)
        except StorageError as error:
            self.add(error.what, error.remedy)
        return len(self.findings) == before

    def _open_files(self, path: Path, name: str, stack: ExitStack) -> RecordFiles | None:
        if not path.is_dir():
            self.add(f"{path} is missing", RESTORE_FILE if name == "blk" else REINDEX)
            return None
        try:
            files = RecordFiles(path, name, remedy=SYNC_AGAIN if name == "blk" else REBUILD)
        except StorageError as error:
            self.add(error.what, error.remedy)
            return None
        stack.callback(files.close)
        return files

    def _open_view(self, stack: ExitStack) -> db.View | None:
        if not self._directory.state.is_dir():
            self._unbuilt = "there is no database yet: the next start makes it from the blocks"
            return None
        target = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="taeld-check-")))
        try:
            db.shadow(self._directory.state, target)
            database = db.Database(target)
            stack.callback(database.close)
            view = database.view()
            stack.callback(view.close)
            value = view.get(KEY_FORMAT)
            if value is None:
                self.add("the database is empty", REINDEX)
                return None
            found = decode_format_row(value)
        except StorageError as error:
            self.add(error.what.replace(str(target), str(self._directory.state)), error.remedy)
            return None
        if found.chain_id != self._genesis.header.hash:
            self.add("the data directory belongs to another network", "give another --network")
            return None
        if found.format != FORMAT:
            self.add(f"the data directory has format {found.format}, not {FORMAT}", REINDEX)
            return None
        self.indexed = found.indexed
        return view

    # Headers

    def _read_headers(self, view: db.View) -> TipRow | None:
        try:
            value = view.get(KEY_TIP)
            if value is None:
                self._unbuilt = "nothing is written yet: the next start goes on from the blocks"
                return None
            tip = decode_tip_row(value)
            rows = [(BlockHash(k[1:]), decode_header_row(v)) for k, v in view.scan(HEADER)]
        except StorageError as error:
            self.add(error.what, error.remedy)
            return None
        rows.sort(key=lambda item: item[1].height)
        for block_hash, row in rows:
            self._rows[block_hash] = row
            self._check_header(block_hash, row)
        return tip

    def _check_header(self, block_hash: BlockHash, row: HeaderRow) -> None:
        header = decode_header(row.raw)
        if header.hash != block_hash:
            self.add(f"the header of block {_text(block_hash)} is another block's", REINDEX)
            return
        try:
            node = self._tree.add(header, FAR_FUTURE)
        except Violation as violation:
            self.add(f"the header of block {_text(block_hash)} breaks a rule: {violation}", REINDEX)
            return
        if node.height != row.height:
            self.add(f"block {_text(block_hash)} is at {node.height}, not {row.height}", REINDEX)

    # Files

    def _survey(self, files: RecordFiles, end: FilePosition | None, kind: str) -> None:
        """Read every record; see that those the database knows are where it says."""
        wanted = {
            place: block_hash
            for block_hash, row in self._rows.items()
            if (place := row.block if kind == "block" else row.undo) is not None
        }
        size = sum(1 for _ in wanted)
        remedy = RESTORE_FILE if kind == "block" else REINDEX
        if end is not None and _key(files.end) < _key(end):
            self.add(f"the {kind} files are shorter than the database says", remedy)
        for number, (place, payload) in enumerate(self._records(files), 1):
            if number % PROGRESS_EVERY == 0:
                self._tell(f"{kind} files: record {number:,}, {size:,} known")
            self.records += 1
            named = wanted.pop(place, None)
            is_behind = _key(place) >= _key(end) if end else files.is_torn_end(place)
            if payload is None:
                self._tell_damage(files, place, kind, is_behind)
            elif kind == "block":
                self._check_block(payload, place, named)
            elif named is not None and payload[:HASH_BYTES] != named:
                self.add(f"where undo data of block {_text(named)} should be is another's", REINDEX)
        for place, block_hash in wanted.items():
            path = files.path_of(place.file)
            self.add(
                f"no {kind} record of block {_text(block_hash)} at byte {place.offset} of {path}",
                remedy,
            )

    def _records(self, files: RecordFiles) -> Iterator[tuple[FilePosition, bytes | None]]:
        try:
            yield from files.survey()
        except StorageError as error:
            self.add(error.what, error.remedy)

    def _tell_damage(
        self, files: RecordFiles, place: FilePosition, kind: str, is_behind: bool
    ) -> None:
        where = f"{files.path_of(place.file)} is damaged at byte {place.offset}"
        if is_behind or (kind == "undo" and not self._rows):
            self.notes.append(f"{where}, behind what was synced: the next start cuts it off")
        else:
            self.add(where, RESTORE_FILE if kind == "block" else REINDEX)

    def _check_block(self, raw: bytes, place: FilePosition, named: BlockHash | None) -> None:
        try:
            # Genesis keeps none of the rules for what is mined; it is compared byte by byte.
            is_genesis = raw == self._genesis.raw
            header = self._genesis.header if is_genesis else check_block(raw).block.header
        except Violation as violation:
            self.add(f"the block at {place} breaks a rule: {violation}", RESTORE_FILE)
            return
        if named is not None and header.hash != named:
            self.add(f"where block {_text(named)} should be is {_text(header.hash)}", REINDEX)

    # The state

    def _replay(self, view: db.View, tip: TipRow, blocks: RecordFiles, undo: RecordFiles) -> None:
        node = self._tree.get(BlockHash(tip.hash))
        if node is None:
            self.add("the database lacks the headers that lead to its own tip", REINDEX)
            return
        recount = Recount()
        rows = check_rows.RowCheck(view, self.indexed, self.add)
        try:
            for height in range(node.height + 1):
                if height % PROGRESS_EVERY == 0:
                    self._tell(f"recounting: block {height:,} of {node.height:,}")
                self._recount(node.ancestor(height), blocks, undo, recount, rows)
            self._tell(f"comparing {len(recount.coins):,} coins")
            rows.compare(recount)
        except _Halt:
            return
        except StorageError as error:
            self.add(error.what, error.remedy)
            return
        self.coins = len(recount.coins)

    def _recount(
        self, node: HeaderNode, blocks: RecordFiles, undo: RecordFiles, recount: Recount,
        rows: check_rows.RowCheck,
    ) -> None:  # fmt: skip
        row = self._rows[node.hash]
        if row.block is None:
            self._halt(node, "is not stored", REINDEX)
        assert row.block is not None
        try:
            block = self._block(node, blocks.read(row.block))
        except (StorageError, Violation):
            self._halt(node, "cannot be read", RESTORE_FILE)  # and was told before
        if row.status != Status.STORED:
            self.add(f"block {node.height} of the best chain is not marked as stored", REINDEX)
        if row.tx_count != len(block.txs):
            self.add(f"block {node.height} has {len(block.txs)} transactions", REINDEX)
        try:
            counted = recount.add(block)
        except Absent as absent:
            self._halt(node, f"spends a coin that is not there, {absent.spent.hex()}", REINDEX)
        self.blocks += 1
        if node.height:
            wanted = node.hash + encode_undo(counted.undo)
            try:
                is_right = row.undo is not None and undo.read(row.undo) == wanted
            except StorageError:
                is_right = False
            if not is_right:
                self.add(f"undo data of block {node.height} is not what it spent", REINDEX)
        rows.check_block(block, node.height, row.block, counted)

    def _block(self, node: HeaderNode, raw: bytes) -> Block:
        return self._genesis if node.height == 0 else check_block(raw).block

    def _halt(self, node: HeaderNode, what: str, remedy: str) -> None:
        self.add(f"block {node.height}, {_text(node.hash)}, {what}: no recount from here", remedy)
        raise _Halt

    # The rest

    def _check_small_files(self) -> None:
        for name, load in (
            (MEMPOOL_FILE, lambda data: load_file(data, self._genesis.header.hash)),
            (PEERS_FILE, lambda data: AddressBook(self._rng, data)),
        ):
            path = self._directory.path / name
            try:
                data = self._directory.load(name)
                if data is not None:
                    load(data)
            except DecodeError as error:
                self.add(f"{path} is damaged: {error}", NOT_NEEDED)
            except StorageError as error:
                self.add(error.what, error.remedy)


class _Halt(Exception):
    """The recount cannot go on; why has been told."""


def check(
    path: Path, params: Params, rng: RandomSource, tell: Callable[[str], None]
) -> Outcome:  # fmt: skip
    """Verify the data directory at `path`, which no other process may use meanwhile.

    `tell` is given a few words now and then. Raises: StorageError if the directory cannot be used.
    """
    directory = DataDirectory(path, may_create=False)
    try:
        checker = _Checker(directory, params, rng, tell)
        checker.run()
    finally:
        directory.close()
    return Outcome(
        checker.findings, checker.left_out, checker.notes, checker.blocks, checker.records,
        checker.coins,
    )  # fmt: skip


def _key(place: FilePosition) -> tuple[int, int]:
    return place.file, place.offset


def _text(block_hash: bytes) -> str:
    return block_hash[::-1].hex()
