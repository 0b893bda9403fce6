"""A log that does not go back to the first block, beside a ledger that was removed to sync again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from consensus.errors import StorageError
from tests.events.event_kit import FOLDERS, open_life
from tests.support.chain import ALICE, BOB, ToyChain
from tests.support.economy import blocks_of, rewind, ripe_chain
from tests.support.event_fold import Fold
from tests.support.node_chain import within_limit


def begin_late(path: Path, toy: ToyChain) -> None:
    """Have a log begin at the tip of `toy`, follow one more block, and lose the ledger."""

    async def without_log() -> None:
        async with open_life(path) as life:
            await life.give(blocks_of(toy))

    async def with_log() -> None:
        async with open_life(path) as life:
            life.watch(BOB.lock)
            tx = toy.pay(ALICE, BOB, 5_000)
            await life.give([toy.mine([tx])])
            assert [event["kind"] for event in await life.told()] == [
                "block_connected", "payment_confirmed",
            ]  # fmt: skip

    within_limit(without_log())
    shutil.rmtree(path / "events")
    within_limit(with_log())
    for folder in FOLDERS:
        shutil.rmtree(path / folder)


def test_it_takes_off_what_it_knows_and_waits_for_the_block_at_which_it_began(
    tmp_path: Path,
) -> None:
    toy = ripe_chain()
    begin_late(tmp_path, toy)

    async def anew() -> None:
        async with open_life(tmp_path) as life:
            assert life.events.log.tip.height == toy.tip.height - 1
            assert not life.events.follower.is_beside
            await life.give(blocks_of(toy)[:50])
            await life.give(blocks_of(toy)[50:])
            events = await life.told()
            assert [event["kind"] for event in events[2:]] == [
                "block_disconnected", "payment_reversed", "block_connected", "payment_confirmed",
            ]  # fmt: skip
            fold = Fold().take_all(events)
            life.check(fold, [BOB.lock])

    within_limit(anew())


def test_it_ends_the_node_if_the_chain_goes_elsewhere(tmp_path: Path) -> None:
    toy = ripe_chain()
    begin_late(tmp_path, toy)
    rewind(toy, 5)
    toy.mine_empty(10)

    async def anew() -> None:
        async with open_life(tmp_path, is_killed=True) as life:
            await life.give(blocks_of(toy))
            await life.ended()

    with pytest.raises(StorageError, match="not in the chain of this node"):
        within_limit(anew())
