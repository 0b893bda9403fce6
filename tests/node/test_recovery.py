"""Coming back: after a kill at any moment, with any damage, the state is right or the node says no."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from consensus.errors import StorageError
from consensus.params import REGTEST
from node import db
from node.blockfiles import HEAD_BYTES, START, RecordFiles
from tests.support.chain_process import FILE_BYTES_MAX, write_blocks
from tests.support.economy import Economy, blocks_of, rewind, ripe_chain, whole_chain
from tests.support.history import ARRIVALS, WANTED, WINNER, filled
from tests.support.node_chain import FragileFiles, NodeChain, with_chain
from tests.support.recount import Recount, assert_knows, assert_rows_are, digest_of

ROOT = Path(__file__).resolve().parents[2]


async def assert_is_winner(node: NodeChain) -> None:
    assert node.chain.tip.hash == WINNER[-1].header.hash
    assert_knows(node, WANTED, page=50)
    assert digest_of(await node.coins_on_disk()) == WANTED.digest()


async def assert_becomes_winner(node: NodeChain) -> None:
    """Whatever was kept, the rest leads to the same state as in a node that never crashed."""
    height = node.chain.tip.height
    assert_knows(node, Recount(node.best_blocks()), page=50)
    node.chain.add_headers([block.header for block in ARRIVALS])
    await node.give(ARRIVALS)
    assert node.chain.tip.height >= height
    await assert_is_winner(node)


def assert_recovers(directory: Path) -> None:
    with_chain(directory, assert_becomes_winner, file_bytes_max=FILE_BYTES_MAX)
    assert_rows_are(directory, WANTED)


def kill_one(directory: Path, blocks: Path, line: int, pause_s: float, flush_every: int) -> None:
    """Run a process that connects, and kill it `pause_s` after it told `line` lines."""
    process = subprocess.Popen(
        [
            sys.executable, "-m", "tests.support.chain_process",
            str(directory), str(blocks), str(flush_every),
        ],
        cwd=ROOT, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    told = 0
    while told < line and process.stdout.readline():
        told += 1
    time.sleep(pause_s)
    os.kill(process.pid, signal.SIGKILL)
    process.stdout.close()
    process.wait(30)


@pytest.mark.parametrize("seed", range(6))
def test_a_node_killed_again_and_again_is_in_the_end_where_one_is_that_never_was(
    tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    blocks = tmp_path / "blocks.in"
    write_blocks(blocks, ARRIVALS)
    directory = tmp_path / "node"
    for _ in range(4):
        # Line 1 is the begin of recovery and line 2 its end: some are killed in between.
        line = rng.choice([1, 2, rng.randrange(3, 140), rng.randrange(3, 140)])
        kill_one(directory, blocks, line, rng.random() * 0.02, rng.randint(1, 9))
        if rng.random() < 0.3:
            shutil.copytree(directory, tmp_path / "copy")
            assert_recovers(tmp_path / "copy")
            shutil.rmtree(tmp_path / "copy")
    assert_recovers(directory)


@pytest.mark.parametrize("flush_at", [None, 1, 107, 110, 125, len(ARRIVALS)])
def test_what_was_not_flushed_is_connected_again(tmp_path: Path, flush_at: int | None) -> None:
    filled(tmp_path, flush_at)
    for _ in range(2):
        with_chain(tmp_path, assert_is_winner, file_bytes_max=FILE_BYTES_MAX)
    assert_rows_are(tmp_path, WANTED)


def test_a_rebuilt_database_is_the_same_also_without_and_with_indexes(tmp_path: Path) -> None:
    filled(tmp_path, 120)
    for indexed in (True, False, True):
        db.destroy(tmp_path / "state")

        async def scenario(node: NodeChain, indexed: bool = indexed) -> None:
            if indexed:
                await assert_is_winner(node)
            else:
                assert digest_of(await node.coins_on_disk()) == WANTED.digest()

        with_chain(tmp_path, scenario, file_bytes_max=FILE_BYTES_MAX, indexed=indexed)
    assert_rows_are(tmp_path, WANTED)


def test_indexes_cannot_be_switched_without_a_rebuild(tmp_path: Path) -> None:
    filled(tmp_path, None)

    async def flush(node: NodeChain) -> None:
        await node.chain.flush()

    with_chain(tmp_path, flush)
    with pytest.raises(StorageError) as caught:
        with_chain(tmp_path, flush, indexed=False)
    assert "--reindex" in caught.value.remedy


def test_stored_blocks_are_found_in_whatever_order_they_came(tmp_path: Path) -> None:
    order = list(dict.fromkeys(block.raw for block in ARRIVALS))
    random.Random(4).shuffle(order)
    files = RecordFiles(tmp_path / "blocks", "blk", FILE_BYTES_MAX)
    for raw in (WINNER[0].raw, *order):
        files.append(raw)
    files.close()
    with_chain(tmp_path, assert_is_winner, file_bytes_max=FILE_BYTES_MAX)
    assert_rows_are(tmp_path, WANTED)


def test_block_files_torn_anywhere_behind_the_last_flush_cost_only_what_is_missing(
    tmp_path: Path,
) -> None:
    filled(tmp_path / "whole", 115)
    rng = random.Random(8)
    for number in range(12):
        path = tmp_path / str(number)
        shutil.copytree(tmp_path / "whole", path)
        files = sorted((path / "blocks").iterdir())
        last = files[-1]
        size = last.stat().st_size
        if number % 2:
            os.truncate(last, rng.randrange(size))
        else:
            # Loss of power: a hole, and whole records behind it.
            data = bytearray(last.read_bytes())
            at = rng.randrange(size)
            data[at : at + 600] = bytes(len(data[at : at + 600]))
            last.write_bytes(data)
        assert_recovers(path)
        shutil.rmtree(path)


@pytest.mark.parametrize("flush_rate", [0, 0.1])
@pytest.mark.parametrize("seed", range(8))
def test_after_a_loss_of_power_the_state_is_one_that_was_written(
    tmp_path: Path, seed: int, flush_rate: float
) -> None:
    rng = random.Random(seed)
    stop = rng.randrange(1, len(ARRIVALS))
    files: list[FragileFiles] = []

    def files_of(directory: Path, name: str, file_bytes_max: int) -> FragileFiles:
        files.append(FragileFiles(directory, name, file_bytes_max))
        return files[-1]

    async def scenario(node: NodeChain) -> None:
        for block in ARRIVALS[:stop]:
            await node.give([block])
            if rng.random() < flush_rate:
                await node.chain.flush()

    with_chain(tmp_path, scenario, file_bytes_max=FILE_BYTES_MAX, files_of=files_of)
    for series in files:
        series.lose_power(rng)
    assert_recovers(tmp_path)


def test_a_first_record_that_was_torn_is_written_again(tmp_path: Path) -> None:
    genesis = WINNER[0].raw
    files = RecordFiles(tmp_path / "whole", "blk")
    files.append(genesis)
    files.close()
    whole = (tmp_path / "whole" / "blk00000.dat").read_bytes()
    for length in (0, 1, HEAD_BYTES - 1, HEAD_BYTES, HEAD_BYTES + 10, len(whole) - 1):
        path = tmp_path / str(length)
        (path / "blocks").mkdir(parents=True)
        (path / "blocks" / "blk00000.dat").write_bytes(whole[:length])

        async def scenario(node: NodeChain) -> None:
            await node.give(WINNER[1:20])
            assert node.chain.tip.height == 19

        with_chain(path, scenario)


def test_block_files_shorter_than_the_database_says_are_refused(tmp_path: Path) -> None:
    for name in ("blocks", "undo"):
        path = tmp_path / name
        filled(path, len(ARRIVALS))
        last = max((path / name).iterdir())
        os.truncate(last, last.stat().st_size - 1)
        with pytest.raises(StorageError, match="shorter than the database says") as caught:
            with_chain(path, assert_is_winner, file_bytes_max=FILE_BYTES_MAX)
        assert "--reindex" in caught.value.remedy
        db.destroy(path / "state")
        assert_recovers(path)


def test_undo_data_behind_the_last_flush_is_made_again(tmp_path: Path) -> None:
    filled(tmp_path, 120)
    last = max((tmp_path / "undo").iterdir())
    os.truncate(last, last.stat().st_size - 3)
    with_chain(tmp_path, assert_is_winner, file_bytes_max=FILE_BYTES_MAX)


def test_damaged_undo_data_stops_a_reorganisation_and_changes_nothing(tmp_path: Path) -> None:
    base = 106
    toy = ripe_chain()
    economy = Economy(toy, random.Random(2))
    economy.blocks(4)
    old = whole_chain(toy)
    rewind(toy, 4)
    economy.blocks(5)
    new = blocks_of(toy, base)

    async def first(node: NodeChain) -> None:
        await node.give(old[1:])
        await node.chain.flush()

    async def later(node: NodeChain) -> None:
        with pytest.raises(StorageError, match="damaged"):
            await node.give(new)
        assert node.chain.tip.hash == old[-1].header.hash
        assert digest_of(await node.coins_on_disk()) == Recount(old).digest()

    with_chain(tmp_path, first)
    undo = tmp_path / "undo" / "undo00000.dat"
    data = bytearray(undo.read_bytes())
    data[-1] ^= 1
    undo.write_bytes(data)
    with_chain(tmp_path, later)


def test_a_directory_of_another_network_is_refused(tmp_path: Path) -> None:
    other = msgspec.structs.replace(REGTEST, genesis_time=REGTEST.genesis_time + 1)

    async def flush(node: NodeChain) -> None:
        await node.give(WINNER[1:3])
        await node.chain.flush()

    with_chain(tmp_path, flush)
    with pytest.raises(StorageError, match="another network"):
        with_chain(tmp_path, flush, other)
    db.destroy(tmp_path / "state")
    with pytest.raises(StorageError, match="another network"):
        with_chain(tmp_path, flush, other)
    db.destroy(tmp_path / "state")
    with_chain(tmp_path, flush)


def test_a_damaged_block_amid_others_is_named_when_the_database_is_rebuilt(tmp_path: Path) -> None:
    filled(tmp_path, None)
    path = tmp_path / "blocks" / "blk00000.dat"
    data = bytearray(path.read_bytes())
    data[5_000] ^= 1
    path.write_bytes(data)
    db.destroy(tmp_path / "state")
    with pytest.raises(StorageError, match=r"blk00000\.dat is damaged at byte"):
        with_chain(tmp_path, assert_is_winner)
    assert path.read_bytes() == data


def test_no_flipped_bit_of_what_a_node_has_on_disk_gives_another_state(tmp_path: Path) -> None:
    filled(tmp_path / "whole", 118)
    rng = random.Random(5)
    outcomes = {"refused": 0, "right": 0}
    for number in range(40):
        path = tmp_path / str(number)
        shutil.copytree(tmp_path / "whole", path)
        victims = [file for file in path.rglob("*") if file.is_file() and file.stat().st_size]
        victim = rng.choice(victims)
        data = bytearray(victim.read_bytes())
        at = rng.randrange(len(data))
        data[at] ^= 1 << rng.randrange(8)
        victim.write_bytes(data)
        try:
            assert_recovers(path)
        except StorageError:
            outcomes["refused"] += 1
        else:
            outcomes["right"] += 1
        shutil.rmtree(path)
    assert min(outcomes.values()) > 3, outcomes


def test_the_first_record_is_the_genesis_block(tmp_path: Path) -> None:
    filled(tmp_path, None)
    files = RecordFiles(tmp_path / "blocks", "blk", FILE_BYTES_MAX)
    assert files.read(START) == WINNER[0].raw
    files.close()
