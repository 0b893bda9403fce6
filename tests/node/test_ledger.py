"""The ledger as everybody sees it: what it tells of confirmed things, and the events of a change."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from consensus.block import Block, genesis
from consensus.errors import Invalid, Rule
from consensus.hashes import BlockHash, Txid
from consensus.params import REGTEST
from consensus.tx import OutPoint, outpoint
from node.blockfiles import RecordFiles
from node.db import Database
from node.events import (
    BlockConnected,
    BlockDisconnected,
    BlockInvalid,
    Event,
    EventBus,
    HeaderAdded,
    TipChanged,
)
from node.ledger import SYNCING_AGE_S, Ledger
from node.policy import Policy
from node.recovery import restore
from node.store import Store
from node.verify import Verifier
from tests.support.chain import ALICE, BOB, CAROL, DAVE, ToyChain
from tests.support.economy import Economy, blocks_of, rewind, ripe_chain, whole_chain
from tests.support.node_chain import within_limit
from tests.support.recount import Recount

KINDS = (BlockConnected, BlockDisconnected, BlockInvalid, HeaderAdded, TipChanged)


class Desk:
    """A ledger, its clock, and every event that it sent."""

    def __init__(self, store: Store) -> None:
        self.now = 4_000_000_000.0
        self.events: list[Event] = []
        bus = EventBus()
        for kind in KINDS:
            bus.subscribe(kind, self.events.append)
        self.ledger = Ledger(
            genesis(REGTEST), REGTEST, store, Verifier(0), Policy(), lambda: self.now, bus
        )

    async def give(self, blocks: list[Block]) -> None:
        for block in blocks:
            await self.ledger.submit_block(block.raw)


@contextlib.asynccontextmanager
async def open_desk(directory: Path) -> AsyncIterator[Desk]:
    for name in ("state", "blocks", "undo"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    writer = ThreadPoolExecutor(1)
    store = Store(
        Database(directory / "state"),
        RecordFiles(directory / "blocks", "blk"),
        RecordFiles(directory / "undo", "undo"),
        writer,
        genesis(REGTEST).header.hash,
    )
    desk = Desk(store)
    await restore(desk.ledger.chain)
    following = asyncio.create_task(desk.ledger.chain.run())
    try:
        yield desk
    finally:
        following.cancel()
        await asyncio.wait([following])
        writer.shutdown()
        store.close()


def with_desk(directory: Path, scenario: Callable[[Desk], Awaitable[None]]) -> None:
    async def run() -> None:
        async with open_desk(directory) as desk:
            await scenario(desk)

    within_limit(run())


def busy(seed: int, count: int = 20) -> ToyChain:
    toy = ripe_chain()
    Economy(toy, random.Random(seed)).blocks(count)
    return toy


def test_the_coin_set_is_that_of_the_tip_and_counts_every_asset(tmp_path: Path) -> None:
    toy = busy(31, 40)
    wanted = Recount(whole_chain(toy))

    async def scenario(desk: Desk) -> None:
        await desk.give(blocks_of(toy))
        found = await desk.ledger.coin_set()
        assert (found.height, found.block_hash) == (toy.tip.height, toy.tip.hash)
        assert (found.digest, found.coins) == (wanted.digest(), len(wanted.coins))
        assert len(found.supply) > 5
        for asset, amount in found.supply.items():
            assert amount == desk.ledger.supply(asset) == toy.supply(asset)

    with_desk(tmp_path, scenario)


def test_the_coin_set_is_that_of_one_block_while_others_are_connected_and_others_ask(
    tmp_path: Path,
) -> None:
    toy = busy(32, 60)
    whole = whole_chain(toy)

    async def scenario(desk: Desk) -> None:
        await desk.give(whole[1:105])
        giving = asyncio.create_task(desk.give(whole[105:]))
        asked = []
        while not giving.done():
            asked.append(asyncio.create_task(desk.ledger.coin_set()))
            if len(asked) % 3 == 0:
                asked.pop().cancel()
            await asyncio.sleep(0.001)
        found = await asyncio.gather(*asked)
        assert len({coins.height for coins in found}) > 1
        for coins in found:
            wanted = Recount(whole[: coins.height + 1])
            assert coins.block_hash == whole[coins.height].header.hash
            assert (coins.digest, coins.coins) == (wanted.digest(), len(wanted.coins))

    with_desk(tmp_path, scenario)


def test_a_confirmed_transaction_is_found_by_its_id_with_its_block(tmp_path: Path) -> None:
    toy = busy(33)

    async def scenario(desk: Desk) -> None:
        await desk.give(blocks_of(toy))
        for height, block in enumerate(whole_chain(toy)):
            for position, tx in enumerate(block.txs):
                found = desk.ledger.read_tx(tx.txid)
                assert found is not None
                assert (found.tx, found.node.height, found.position) == (tx, height, position)
                assert desk.ledger.is_confirmed(tx.txid)
        assert desk.ledger.read_tx(Txid(bytes(32))) is None

    with_desk(tmp_path, scenario)


def test_a_coin_is_found_by_its_outpoint_alone_and_no_more_once_it_is_spent(tmp_path: Path) -> None:
    toy = busy(34)
    txs = [tx for block in blocks_of(toy) for tx in block.txs]

    async def scenario(desk: Desk) -> None:
        await desk.give(blocks_of(toy))
        for tx in txs:
            for index in range(len(tx.body.outputs) + 1):
                place = outpoint(tx.txid, index)
                assert desk.ledger.coin_at(place) == toy.coins.get(place)
        assert desk.ledger.coin_at(OutPoint(bytes(36))) is None
        some = next(place for place, coin in toy.coins.items() if coin.lock == DAVE.lock)
        assert desk.ledger.coin(some, CAROL.lock) == toy.coins[some]

    with_desk(tmp_path, scenario)


def test_a_reorganisation_is_told_in_order_and_its_end_once(tmp_path: Path) -> None:
    toy = ripe_chain()
    economy = Economy(toy, random.Random(35))
    base = toy.tip.height
    economy.blocks(3)
    old = blocks_of(toy)
    rewind(toy, 3)
    economy.blocks(4)
    new = blocks_of(toy, base)

    async def scenario(desk: Desk) -> None:
        await desk.give(old)
        desk.events.clear()
        await desk.give(new)
        told = [event for event in desk.events if not isinstance(event, HeaderAdded)]
        off, on, end = told[:3], told[3:-1], told[-1]
        assert [(type(e), e.node.hash) for e in off if isinstance(e, BlockDisconnected)] == [
            (BlockDisconnected, block.header.hash) for block in reversed(old[-3:])
        ]
        assert [(type(e), e.block.raw) for e in on if isinstance(e, BlockConnected)] == [
            (BlockConnected, block.raw) for block in new
        ]
        assert isinstance(end, TipChanged)
        assert (end.previous.hash, end.tip.hash) == (old[-1].header.hash, new[-1].header.hash)
        assert desk.ledger.is_on_best_chain(end.tip)
        assert not desk.ledger.is_on_best_chain(end.previous)

    with_desk(tmp_path, scenario)


def test_an_invalid_block_is_told_with_its_rule_and_moves_nothing(tmp_path: Path) -> None:
    toy = ripe_chain()
    bad = toy.template(reward=10**12)

    async def scenario(desk: Desk) -> None:
        await desk.give(blocks_of(toy))
        desk.events.clear()
        with pytest.raises(Invalid):
            await desk.ledger.submit_block(bad.raw)
        (told,) = [event for event in desk.events if not isinstance(event, HeaderAdded)]
        assert isinstance(told, BlockInvalid)
        assert (told.node.hash, told.violation.rule) == (bad.header.hash, Rule.COINBASE_AMOUNT)
        assert desk.ledger.tip.hash == toy.tip.hash
        assert desk.ledger.tree.best_header.hash == toy.tip.hash

    with_desk(tmp_path, scenario)


def test_stored_blocks_are_read_back_with_what_they_spent(tmp_path: Path) -> None:
    toy = busy(36)

    async def scenario(desk: Desk) -> None:
        await desk.give(blocks_of(toy))
        for block in whole_chain(toy):
            node = desk.ledger.tree.get(block.header.hash)
            assert node is not None
            assert desk.ledger.has_block(block.header.hash)
            assert desk.ledger.tx_count(node) == len(block.txs)
            assert desk.ledger.read_block_raw(node) == block.raw
            assert desk.ledger.read_undo(node) == toy.undo[block.header.hash]
        unknown = toy.template()
        desk.ledger.add_headers([unknown.header])
        node = desk.ledger.tree.get(unknown.header.hash)
        assert node is not None
        assert not desk.ledger.has_block(unknown.header.hash)
        assert not desk.ledger.has_block(BlockHash(bytes(32)))
        assert desk.ledger.tx_count(node) == 0
        assert desk.ledger.read_block_raw(node) is None
        assert desk.ledger.read_undo(node) is None

    with_desk(tmp_path, scenario)


def test_a_node_is_catching_up_while_its_tip_is_old_and_better_headers_are_known(
    tmp_path: Path,
) -> None:
    toy = ripe_chain()

    async def scenario(desk: Desk) -> None:
        assert not desk.ledger.is_syncing
        desk.ledger.add_headers([block.header for block in blocks_of(toy)])
        assert desk.ledger.is_syncing
        desk.now = desk.ledger.tip.header.time + SYNCING_AGE_S - 1
        assert not desk.ledger.is_syncing
        desk.now = 4_000_000_000.0
        await desk.give(blocks_of(toy))
        assert not desk.ledger.is_syncing

    with_desk(tmp_path, scenario)


def test_a_payment_taken_off_by_a_reorganisation_waits_again_and_is_never_paid_twice(
    tmp_path: Path,
) -> None:
    toy = ripe_chain()
    base = toy.tip.height
    payment = toy.pay(ALICE, BOB, 1_000)
    toy.mine([payment])
    old = blocks_of(toy)
    rewind(toy, 1)
    toy.mine_empty(2)

    async def scenario(desk: Desk) -> None:
        await desk.give(old)
        with pytest.raises(Exception, match=r"already-confirmed|coin-missing"):
            desk.ledger.submit_tx(payment.raw)
        await desk.give(blocks_of(toy, base))
        for _ in range(50):
            await asyncio.sleep(0)
        assert not desk.ledger.is_confirmed(payment.txid)
        assert desk.ledger.has_tx(payment.wtxid)
        assert desk.ledger.tx_raw(payment.wtxid) == payment.raw

    with_desk(tmp_path, scenario)
