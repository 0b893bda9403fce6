"""Flushes: what is on disk is always the state at the block that the tip row names."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from consensus.errors import StorageError
from consensus.tx import Coin, OutPoint
from tests.support.economy import Economy, blocks_of, ripe_chain, whole_chain
from tests.support.node_chain import HeldDatabase, NodeChain, open_chain, with_chain, within_limit
from tests.support.recount import Recount, assert_knows, assert_rows_are, digest_of

TOY = ripe_chain()
Economy(TOY, random.Random(11)).blocks(40)
BLOCKS = blocks_of(TOY)
WHOLE = whole_chain(TOY)
Scenario = Callable[[NodeChain, HeldDatabase], Awaitable[None]]


def with_held_database(directory: Path, scenario: Scenario) -> None:
    held: list[HeldDatabase] = []

    def database_of(path: Path) -> HeldDatabase:
        held.append(HeldDatabase(path))
        return held[0]

    async def run() -> None:
        async with open_chain(directory, database_of=database_of) as node:
            try:
                await scenario(node, held[0])
            finally:
                held[0].may_write.set()

    within_limit(run())


def assert_disk_is_at_its_tip(directory: Path, height: int) -> None:
    """What a new process finds, before it connects anything, is the state at `height`."""

    async def look() -> None:
        async with open_chain(directory, follows=False) as node:
            assert node.chain.tip.height == height
            wanted = Recount(WHOLE[: height + 1])
            tip_hash, coins = node.store.scan_coins()
            assert tip_hash == WHOLE[height].header.hash
            assert digest_of(dict(coins)) == wanted.digest()
            assert_knows(node, wanted)

    within_limit(look())
    assert_rows_are(directory, Recount(WHOLE[: height + 1]))


async def started(condition: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never started")


def test_a_flush_that_waited_for_another_writes_the_tip_that_it_writes_the_coins_of(
    tmp_path: Path,
) -> None:
    async def scenario(node: NodeChain, database: HeldDatabase) -> None:
        await node.give(BLOCKS[:110])
        database.may_write.clear()
        first = asyncio.create_task(node.chain.flush())
        await started(lambda: node.store.is_flushing)
        await node.give(BLOCKS[110:120])
        second = asyncio.create_task(node.chain.flush())
        await asyncio.sleep(0.01)
        # Blocks go on while the second flush waits for the first.
        await node.give(BLOCKS[120:130])
        database.may_write.set()
        await first
        await second

    with_held_database(tmp_path, scenario)
    assert_disk_is_at_its_tip(tmp_path, 130)


def test_reads_are_the_same_before_while_and_after_a_flush(tmp_path: Path) -> None:
    async def scenario(node: NodeChain, database: HeldDatabase) -> None:
        await node.give(BLOCKS[:120])
        wanted = Recount(WHOLE[:121])
        assert_knows(node, wanted)
        database.may_write.clear()
        flushing = asyncio.create_task(node.chain.flush())
        await started(lambda: node.store.is_flushing)
        assert_knows(node, wanted)
        await node.give(BLOCKS[120:135])
        assert_knows(node, Recount(WHOLE[:136]))
        database.may_write.set()
        await flushing
        assert_knows(node, Recount(WHOLE[:136]))
        await node.chain.flush()
        assert_knows(node, Recount(WHOLE[:136]))

    with_held_database(tmp_path, scenario)
    assert_disk_is_at_its_tip(tmp_path, 135)


def test_a_flush_whose_caller_gives_up_is_finished_all_the_same(tmp_path: Path) -> None:
    async def scenario(node: NodeChain, database: HeldDatabase) -> None:
        await node.give(BLOCKS[:115])
        database.may_write.clear()
        given_up = asyncio.create_task(node.chain.flush())
        await started(lambda: node.store.is_flushing)
        given_up.cancel()
        await asyncio.wait([given_up])
        assert_knows(node, Recount(WHOLE[:116]))
        await node.give(BLOCKS[115:140])
        again = asyncio.create_task(node.chain.flush())
        await asyncio.sleep(0.01)
        assert_knows(node, Recount(WHOLE[:141]))
        database.may_write.set()
        await again
        assert_knows(node, Recount(WHOLE[:141]))

    with_held_database(tmp_path, scenario)
    assert_disk_is_at_its_tip(tmp_path, 140)


def test_after_a_flush_failed_nothing_more_is_written(tmp_path: Path) -> None:
    async def scenario(node: NodeChain, database: HeldDatabase) -> None:
        await node.give(BLOCKS[:105])
        await node.chain.flush()
        await node.give(BLOCKS[105:120])
        database.fails = True
        with pytest.raises(StorageError, match="no room"):
            await node.chain.flush()
        # Room again: but what the failed flush held is lost to any later one.
        database.fails = False
        with pytest.raises(StorageError, match="no room"):
            await node.give(BLOCKS[120:140])
        with pytest.raises(StorageError, match="no room"):
            await node.chain.flush()
        assert node.chain.tip.height == 120, "no block is taken in any more"
        assert_knows(node, Recount(WHOLE[:121]))

    with_held_database(tmp_path, scenario)
    assert_disk_is_at_its_tip(tmp_path, 105)

    async def later(node: NodeChain) -> None:
        assert node.chain.tip.height == 120
        assert_knows(node, Recount(WHOLE[:121]))

    with_chain(tmp_path, later)


def test_a_flush_that_fails_stops_the_chain_whoever_asked_for_it(tmp_path: Path) -> None:
    async def scenario(node: NodeChain, database: HeldDatabase) -> None:
        await node.give(BLOCKS[:105])
        database.fails = True
        with pytest.raises(StorageError, match="no room"):
            await node.chain.flush()
        assert node.following is not None
        await asyncio.wait([node.following])
        with pytest.raises(StorageError, match="no room"):
            await node.following

    with_held_database(tmp_path, scenario)


def test_a_scan_of_the_coins_names_the_block_they_stand_at_though_flushes_go_on(
    tmp_path: Path,
) -> None:
    async def scenario(node: NodeChain, database: HeldDatabase) -> None:
        await node.give(BLOCKS[:104])
        await node.chain.flush()
        tip_hash, coins = node.store.scan_coins()
        assert tip_hash == WHOLE[104].header.hash
        await node.give(BLOCKS[104:130])
        await node.chain.flush()
        assert digest_of(dict(coins)) == Recount(WHOLE[:105]).digest()

    with_held_database(tmp_path, scenario)


def test_a_flush_with_nothing_new_writes_nothing(tmp_path: Path) -> None:
    async def scenario(node: NodeChain, database: HeldDatabase) -> None:
        await node.give(BLOCKS[:10])
        await node.chain.flush()
        writes = database.writes
        await node.chain.flush()
        assert database.writes == writes

    with_held_database(tmp_path, scenario)


def test_a_coin_that_is_kept_is_gone_for_good_once_it_is_spent(tmp_path: Path) -> None:
    async def scenario(node: NodeChain) -> None:
        await node.give(BLOCKS[:110])
        seen: dict[OutPoint, Coin] = {}
        for height in range(111, 130):
            await node.give(BLOCKS[height - 1 : height])
            await node.chain.flush()
            coins = Recount(WHOLE[: height + 1]).coins
            seen |= coins
            for spent, coin in seen.items():
                assert node.store.coin(spent, coin.lock, keep=True) == coins.get(spent)
        assert seen.keys() - coins.keys()

    with_chain(tmp_path, scenario)
