"""A node is ended at one numbered change of its disk after the other, and again while it recovers.

    python -m tests.support.kill_points DIRECTORY EVERY SEED

Every child is forked from a process that has everything loaded, works on a copy of a directory, and ends
by `os._exit` in the middle of a change: a write is then half done, and nothing is tidied up. Of every
`EVERY`-th change: ended there, then once more at a change of the recovery, then brought back and compared
with a chain that never ended. Half of the ends are losses of power: what was not synced is gone.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from consensus.errors import StorageError
from node.blockfiles import RecordFiles
from tests.support.fragile import FragileDisk, WatchedDatabase, lose_power
from tests.support.history import ARRIVALS, WANTED, WINNER
from tests.support.node_chain import NodeChain, open_chain
from tests.support.recount import Recount, assert_knows, assert_rows_are, digest_of

FILE_BYTES_MAX = 3_000
"""Small, so that files are begun and finished among the changes."""
BEFORE = 106
"""Blocks that were written long before."""
FLUSH_AFTER = (3, 9, 17, 25)
ENDED = 9
"""Exit code of a child that ended where it was told to."""


def open_on(directory: Path, disk: FragileDisk) -> Any:
    def files_of(path: Path, name: str, size: int) -> RecordFiles:
        return RecordFiles(path, name, size, disk)

    return open_chain(
        directory, file_bytes_max=FILE_BYTES_MAX, files_of=files_of,
        database_of=lambda path: WatchedDatabase(path, disk),
    )  # fmt: skip


async def prepare(directory: Path) -> None:
    async with open_chain(directory, file_bytes_max=FILE_BYTES_MAX) as node:
        await node.give(ARRIVALS[:BEFORE])
        await node.chain.flush()


def acknowledge(file: Path, height: int) -> None:
    """Note that everything up to `height` was said to be written."""
    file.write_text(str(height))


def acknowledged_height(file: Path) -> int:
    return int(file.read_text()) if file.exists() else BEFORE


async def live(directory: Path, disk: FragileDisk, acknowledged: Path) -> None:
    """Take blocks with three reorganisations, and flush now and then."""
    async with open_on(directory, disk) as node:
        for number, block in enumerate(ARRIVALS[BEFORE:]):
            await node.give([block])
            if number in FLUSH_AFTER:
                await node.chain.flush()
                acknowledge(acknowledged, node.chain.tip.height)


async def recover(directory: Path, disk: FragileDisk, acknowledged: Path) -> None:
    """Open what is there, have it settle, and write it."""
    async with open_on(directory, disk) as node:
        await node.chain.flush()


async def compare(directory: Path, acknowledged: Path) -> None:
    """The state is whole, not older than what was acknowledged, and becomes that of the twin."""
    least = acknowledged_height(acknowledged)
    async with open_chain(directory, file_bytes_max=FILE_BYTES_MAX, follows=False) as node:
        assert node.chain.tip.height >= least, "what was acknowledged is lost"
    async with open_chain(directory, file_bytes_max=FILE_BYTES_MAX) as node:
        assert_knows(node, Recount(node.best_blocks()), page=50)
        await bring_up(node)
    assert_rows_are(directory, WANTED)


async def bring_up(node: NodeChain) -> None:
    node.chain.add_headers([block.header for block in ARRIVALS])
    await node.give(ARRIVALS)
    assert node.chain.tip.hash == WINNER[-1].header.hash
    assert_knows(node, WANTED, page=50)
    assert digest_of(await node.coins_on_disk()) == WANTED.digest()


Work = Callable[[Path, FragileDisk, Path], Coroutine[Any, Any, None]]


def in_child(work: Callable[[], None]) -> int:
    """Exit code of a process that does `work`; 1 with its error on stderr if that fails."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def end_at(at: int, work: Work, directory: Path, base: Path) -> int:
    """Do `work` and end at change `at`; the journal of the disk is left beside the directory."""
    journal = directory.with_suffix(".journal")

    def child() -> None:
        disk = FragileDisk(at)

        def end(what: str) -> None:
            journal.write_text(json.dumps(disk.journal()))
            os._exit(ENDED)

        disk.on_turn(end)
        disk.existing(directory)
        asyncio.run(work(directory, disk, base / "acknowledged"))
        journal.write_text(str(len(disk.changes)))

    return in_child(child)


def after_the_end(directory: Path, rng: random.Random) -> bool:
    """Half of the ends take the power too; whether this one did."""
    journal = directory.with_suffix(".journal")
    if rng.random() < 0.5:
        return False
    folders = [directory / name for name in ("blocks", "undo", "state")]
    lose_power(json.loads(journal.read_text()), folders, rng)
    return True


def count_of(work: Work, source: Path, base: Path) -> int:
    directory = base / "whole"
    shutil.copytree(source, directory)
    assert end_at(-1, work, directory, base) == 0
    shutil.rmtree(directory)
    (base / "acknowledged").unlink(missing_ok=True)
    return int(directory.with_suffix(".journal").read_text())


def run(base: Path, every: int, seed: int) -> Counter[str]:
    """Counts of what was tried. Raises: AssertionError at the first state that is not right."""
    rng = random.Random(seed)
    source, directory = base / "source", base / "node"
    # In a child: the thread that LevelDB starts for itself would be missing in what is forked later.
    assert in_child(lambda: asyncio.run(prepare(source))) == 0
    changes = count_of(live, source, base)
    tried = Counter(changes=changes)
    for at in range(seed % every, changes, every):
        (base / "acknowledged").unlink(missing_ok=True)
        shutil.copytree(source, directory)
        assert end_at(at, live, directory, base) == ENDED, f"change {at}"
        tried["ends"] += 1
        tried["of power"] += after_the_end(directory, rng)
        in_recovery = count_of_recovery(directory, base)
        if in_recovery:
            second = rng.randrange(in_recovery)
            assert end_at(second, recover, directory, base) == ENDED, f"change {at}, then {second}"
            tried["in recovery"] += 1
            tried["of power"] += after_the_end(directory, rng)
        where = f"seed {seed}, change {at}"
        code = in_child(lambda: asyncio.run(compare(directory, base / "acknowledged")))
        assert code == 0, where
        shutil.rmtree(directory)
    return tried


def count_of_recovery(directory: Path, base: Path) -> int:
    """How many changes the recovery of a copy makes."""
    copy = base / "copy"
    shutil.copytree(directory, copy)
    code = end_at(-1, recover, copy, base)
    shutil.rmtree(copy)
    assert code == 0, "recovery"
    return int(copy.with_suffix(".journal").read_text())


if __name__ == "__main__":
    try:
        counts = run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    except (AssertionError, StorageError) as error:
        sys.exit(f"not as it should be: {error}")
    sys.stdout.write(json.dumps(counts) + "\n")
