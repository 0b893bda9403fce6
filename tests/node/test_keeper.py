"""The next template is ready before anybody asks, and nobody waits for it to be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from consensus.hashes import Txid
from node.events import EventBus, TipChanged, TxAdded
from node.keeper import SHOWN_PER_TURN, TemplateKeeper
from node.mempool_entry import Entry
from node.rpc.methods_mining import show_entry
from tests.node.mempool_kit import Pool
from tests.support.node_chain import within_limit

COINS = SHOWN_PER_TURN + 50


class Desk:
    """A mempool, its keeper, and how often that prepared a template."""

    def __init__(self) -> None:
        self.pool = Pool(coins=COINS)
        self.bus = EventBus()
        self.prepared: list[int] = []
        """Entries that were there each time."""
        self.shown: list[Txid] = []
        self._worked = asyncio.Event()
        keeper = TemplateKeeper(self.pool.mempool, self._show, self._prepare)
        keeper.listen(self.bus)
        self.running = asyncio.create_task(keeper.run())

    def _show(self, entry: Entry) -> None:
        self.shown.append(entry.tx.txid)
        show_entry(entry)
        self._worked.set()

    def _prepare(self) -> None:
        self.prepared.append(len(self.pool.mempool))
        self._worked.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._worked.clear()
            await self._worked.wait()

    def enter(self, first: int, last: int) -> None:
        for coin in self.pool.coins[first:last]:
            self.bus.emit(TxAdded(self.pool.enter([coin], 10_000).tx))


def with_desk(scenario: Callable[[Desk], Awaitable[None]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.keeper.EVERY_S", 0.0)

    async def run() -> None:
        desk = Desk()
        try:
            await scenario(desk)
        finally:
            desk.running.cancel()
            await asyncio.wait([desk.running])

    within_limit(run())


def test_what_came_is_shown_once_and_a_template_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(desk: Desk) -> None:
        desk.enter(0, COINS - 2)
        await desk.until(lambda: desk.prepared == [COINS - 2])
        assert all(entry.shown for entry in desk.pool.mempool.entries())
        desk.enter(COINS - 2, COINS)
        await desk.until(lambda: desk.prepared == [COINS - 2, COINS])
        assert sorted(desk.shown) == sorted(e.tx.txid for e in desk.pool.mempool.entries())

    with_desk(scenario, monkeypatch)


def test_nothing_is_made_while_payments_keep_coming(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(desk: Desk) -> None:
        # A change falls into every moment of rest, however slow this machine is.
        for number in range(30):
            desk.enter(number, number + 1)
            await asyncio.sleep(0)
        assert desk.shown == []
        await desk.until(lambda: desk.prepared == [30])

    monkeypatch.setattr("node.keeper.REST_S", 0.0)
    with_desk(scenario, monkeypatch)


def test_a_choice_that_would_take_long_is_left_to_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(desk: Desk) -> None:
        desk.enter(0, 4)
        await desk.until(lambda: len(desk.shown) == 4)
        desk.enter(4, 5)
        await desk.until(lambda: len(desk.shown) == 5)
        assert desk.prepared == []

    monkeypatch.setattr("node.keeper.READY_MAX", 3)
    with_desk(scenario, monkeypatch)


def test_what_was_mined_leaves_every_index_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(desk: Desk) -> None:
        desk.enter(0, 4)
        await desk.until(lambda: desk.prepared == [4])
        desk.pool.mine([entry.tx for entry in desk.pool.mempool.entries()])
        by_lock = desk.pool.mempool._graph._by_lock
        assert by_lock._users
        tip = desk.pool.chain.tip
        desk.bus.emit(TipChanged(tip, tip))
        await desk.until(lambda: desk.prepared == [4, 0])
        assert not by_lock._users
        assert not by_lock._gone

    with_desk(scenario, monkeypatch)
