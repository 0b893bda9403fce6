"""A disk that is full or broken from one change on ends a node with one message, and costs nothing."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from consensus.errors import StorageError
from node import db
from tests.support.disks import broken, full
from tests.support.fragile import FragileDisk
from tests.support.history import ARRIVALS
from tests.support.kill_points import (
    BEFORE,
    FILE_BYTES_MAX,
    acknowledge,
    compare,
    live,
    prepare,
)
from tests.support.node_chain import open_chain

EVERY = int(os.environ.get("TAEL_KILL_EVERY", "11"))
"""1 tries every change."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("source") / "node"
    asyncio.run(prepare(directory))
    return directory


@pytest.mark.parametrize(("fail", "lasts"), [(full, True), (broken, False)])
def test_a_disk_that_fails_at_any_change_ends_the_node_and_the_next_start_goes_on(
    tmp_path: Path, source: Path, fail: Callable[[str], None], lasts: bool
) -> None:
    acknowledged = tmp_path / "acknowledged"
    whole = FragileDisk()
    shutil.copytree(source, tmp_path / "whole")
    asyncio.run(live(tmp_path / "whole", whole, acknowledged))
    # What is told behind the last change of all is no change.
    changes = [number for number, what in enumerate(whole.changes) if what != "batch written"]
    assert len(changes) > 150
    for at in changes[::EVERY]:
        acknowledged.unlink(missing_ok=True)
        directory = tmp_path / str(at)
        shutil.copytree(source, directory)
        with pytest.raises(StorageError) as caught:
            asyncio.run(live(directory, FragileDisk(at, fail, lasts), acknowledged))
        assert caught.value.remedy, f"change {at}"
        asyncio.run(compare(directory, acknowledged))
        shutil.rmtree(directory)


def fill_open_files(state: Path, pattern: str) -> None:
    """Have all that LevelDB adds to such files, which it holds open, find no room."""
    full_disk = os.open("/dev/full", os.O_WRONLY)
    filled = 0
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # of the listing itself
            path = Path(os.readlink(f"/proc/self/fd/{name}"))
            if path.parent == state and path.match(pattern):
                os.dup2(full_disk, int(name))
                filled += 1
    os.close(full_disk)
    assert filled == 1, f"{pattern} of {state}"


def fill_tables(state: Path) -> None:
    """Have all tables that LevelDB begins from now on find no room."""
    last = max(int(number[0]) for path in state.iterdir() if (number := NUMBER.findall(path.name)))
    for later in range(last + 1, last + 100):
        (state / f"{later:06}.ldb").symlink_to("/dev/full")


def make_room(state: Path) -> None:
    for path in state.iterdir():
        if path.is_symlink():
            path.unlink()


NUMBER = re.compile(r"\d{6}")
LACKS: dict[str, Callable[[Path], None]] = {
    "log": lambda state: fill_open_files(state, "*.log"),
    "tables": fill_tables,
    "manifest": lambda state: fill_open_files(state, "MANIFEST-*"),
}


@pytest.mark.parametrize(("lacks", "at"), [("log", 0), ("log", 18), ("tables", 4), ("manifest", 4)])
def test_no_room_for_what_leveldb_writes_by_itself_costs_nothing_that_was_acknowledged(
    tmp_path: Path, source: Path, lacks: str, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its least: so that it begins a new log, a table and an entry of the manifest within this test.
    monkeypatch.setitem(db._OPTIONS, "write_buffer_size", 64 << 10)
    acknowledged = tmp_path / "acknowledged"
    directory = tmp_path / "node"
    shutil.copytree(source, directory)

    async def scenario() -> None:
        async with open_chain(directory, file_bytes_max=FILE_BYTES_MAX) as node:
            for number, block in enumerate(ARRIVALS[BEFORE:]):
                if number == at:
                    LACKS[lacks](directory / "state")
                await node.give([block])
                await node.chain.flush()
                acknowledge(acknowledged, node.chain.tip.height)

    with pytest.raises(StorageError, match="No space left") as caught:
        asyncio.run(scenario())
    assert "make room" in caught.value.remedy
    make_room(directory / "state")
    asyncio.run(compare(directory, acknowledged))
