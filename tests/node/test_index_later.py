"""Index rows that are made after the tip was told: nobody may notice that they come later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from node.chain import REST_S, Change
from tests.support.chain import ALICE, BOB, CAROL
from tests.support.economy import blocks_of, ripe_chain, whole_chain
from tests.support.node_chain import NodeChain, open_chain, with_chain, within_limit
from tests.support.recount import Recount, assert_knows


def at_the_tip(node: NodeChain, monkeypatch: pytest.MonkeyPatch, do: Callable[[], None]) -> None:
    """Have `do` called in the moment when the chain tells a new tip."""
    tell = node.chain._listener.changed

    def changed(change: Change) -> None:
        tell(change)
        do()

    listener = node.chain._listener._replace(changed=changed)
    monkeypatch.setattr(node.chain, "_listener", listener)


async def _nothing(*_: object) -> None:
    pass


def leave_rows(node: NodeChain, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make no rows after the tip, as when the next thing happens at once."""
    monkeypatch.setattr("node.chain.index", _nothing)
    monkeypatch.setattr(node.chain, "_flush_if_due", _nothing)


def is_due(node: NodeChain) -> bool:
    return bool(node.store._active._due)


def test_whoever_asks_when_the_tip_is_told_gets_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = ripe_chain()
    before = blocks_of(toy)
    block = toy.mine([toy.pay(ALICE, BOB, 1_000)])
    wanted = Recount(whole_chain(toy))
    due: list[bool] = []

    def ask(node: NodeChain) -> None:
        due.append(is_due(node))
        assert_knows(node, wanted, page=50)
        due.append(is_due(node))

    async def scenario(node: NodeChain) -> None:
        await node.give(before)
        at_the_tip(node, monkeypatch, lambda: ask(node))
        await node.give([block])
        assert due == [True, False]

    with_chain(tmp_path, scenario)


def test_rows_are_there_when_the_chain_is_at_rest(tmp_path: Path) -> None:
    toy = ripe_chain()

    async def scenario(node: NodeChain) -> None:
        await node.give(blocks_of(toy))
        for _ in range(1_000):
            if not is_due(node):
                break
            await asyncio.sleep(REST_S)
        assert not is_due(node)

    with_chain(tmp_path, scenario)


def test_rows_of_one_block_at_most_are_due_while_blocks_follow_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = ripe_chain()
    monkeypatch.setattr("node.chain.REST_S", 1_000)

    async def scenario(node: NodeChain) -> None:
        await node.give(blocks_of(toy)[:-5])
        for block in blocks_of(toy)[-5:]:
            await node.give([block])
            assert len(node.store._active._due) == 1

    with_chain(tmp_path, scenario)


def test_a_reorganisation_right_after_a_tip_takes_its_rows_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = ripe_chain()
    before = blocks_of(toy)
    first = toy.mine([toy.pay(ALICE, BOB, 1_000)])
    toy.disconnect()
    others = [toy.mine([toy.pay(ALICE, CAROL, 7)]), toy.mine()]
    wanted = Recount(whole_chain(toy))

    async def scenario(node: NodeChain) -> None:
        await node.give(before)
        leave_rows(node, monkeypatch)
        await node.give([first])
        assert is_due(node)
        await node.give(others)
        assert node.changes[-1].detached
        assert_knows(node, wanted, page=50)

    with_chain(tmp_path, scenario)


def test_a_flush_right_after_a_tip_writes_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = ripe_chain()
    before = blocks_of(toy)
    block = toy.mine([toy.pay(ALICE, BOB, 1_000)])
    wanted = Recount(whole_chain(toy))

    async def scenario() -> None:
        async with open_chain(tmp_path) as node:
            await node.give(before)
            with monkeypatch.context() as patch:
                leave_rows(node, patch)
                await node.give([block])
                assert is_due(node)
                await node.chain.flush()
        # Killed now: what is on disk has the rows of its tip.
        async with open_chain(tmp_path, follows=False) as node:
            assert node.store.flushed is not None
            assert node.store.flushed.hash == block.header.hash
            assert_knows(node, wanted, page=50)

    within_limit(scenario())


def test_a_node_killed_before_the_rows_were_made_makes_them_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = ripe_chain()
    before = blocks_of(toy)
    block = toy.mine([toy.pay(ALICE, BOB, 1_000)])
    wanted = Recount(whole_chain(toy))

    async def scenario() -> None:
        async with open_chain(tmp_path) as node:
            await node.give(before)
            await node.chain.flush()
            with monkeypatch.context() as patch:
                leave_rows(node, patch)
                await node.give([block])
                assert is_due(node)
        async with open_chain(tmp_path) as node:
            await node.settled()
            assert_knows(node, wanted, page=50)

    within_limit(scenario())
