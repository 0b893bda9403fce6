"""A disk that is full or broken from one change on ends a node with one message, and costs nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from consensus.errors import StorageError
from tests.support.disks import broken, full
from tests.support.fragile import FragileDisk
from tests.support.kill_points import compare, live, prepare

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
