"""Statuses that are told, against those that the protocol defines, over random blocks and payments."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.block import genesis
from consensus.errors import Violation
from consensus.params import REGTEST
from consensus.tx import NATIVE, Tx, TxOut, outpoint
from node import ledger as ledger_module
from node.blockfiles import RecordFiles
from node.db import Database
from node.electrum import watch as watch_module
from node.electrum.history import history_of
from node.electrum.scripts import LockIndex, scripthash_of
from node.electrum.watch import Watch
from node.events import EventBus
from node.ledger import Ledger
from node.policy import Policy
from node.rpc.params import ScriptHash
from node.store import Store
from node.verify import Verifier
from tests.support.chain import ALICE, BOB, CAROL, Person, coins_made
from tests.support.economy import LOCKS, Economy, blocks_of, rewind, ripe_chain
from tests.support.electrum import status_of
from tests.support.node_chain import within_limit

NOW = 4_000_000_000.0
MOMENT_S = 0.01
MOMENTS_MAX = 2_000
STRANGERS = [Person(1_000 + number) for number in range(6)]
"""Whom nobody pays at first."""
WATCHED = [*LOCKS, *(person.lock for person in STRANGERS)]


class Listener:
    """A client that keeps the last status it was told of each script hash."""

    def __init__(self) -> None:
        self.told: dict[str, str | None] = {}
        self.count = 0

    def tell(self, notice: bytes) -> None:
        message = msgspec.json.decode(notice)
        if message["method"] == "blockchain.scripthash.subscribe":
            scripthash, status = message["params"]
            self.told[scripthash] = status
            self.count += 1


class Desk:
    """A ledger with a watch over it."""

    def __init__(self, directory: Path, writer: ThreadPoolExecutor) -> None:
        self.directory = directory
        self.store = Store(
            Database(directory / "state"), RecordFiles(directory / "blocks", "blk"),
            RecordFiles(directory / "undo", "undo"), writer, genesis(REGTEST).header.hash,
        )  # fmt: skip
        self.bus = EventBus()
        self.ledger = Ledger(
            genesis(REGTEST), REGTEST, self.store, Verifier(0), Policy(), lambda: NOW, self.bus
        )
        self.index = self.another_index()
        self.watch = Watch(self.ledger, self.index, self.bus)
        self.listener = Listener()

    def another_index(self) -> LockIndex:
        return LockIndex(self.ledger, lambda: Database(self.directory / "electrum"))

    async def settle(self) -> None:
        """Return when everything that happened was told."""
        await self.ledger.chain.settled()
        await self.ledger.at_rest()
        for _ in range(MOMENTS_MAX):
            if self.watch.is_settled:
                return
            await asyncio.sleep(MOMENT_S)
        raise AssertionError("the watch does not come to rest")

    async def expect(self) -> None:
        """Every status that was told last is the one that follows from the history."""
        await self.settle()
        for lock in WATCHED:
            name = scripthash_of(lock)[::-1].hex()
            rows: Any = await history_of(self.ledger, lock)
            assert self.listener.told.get(name) == status_of(rows), lock.hex()


@contextlib.asynccontextmanager
async def open_desk(directory: Path) -> AsyncIterator[Desk]:
    for name in ("state", "blocks", "undo", "electrum"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(1) as writer:
        desk = Desk(directory, writer)
        tasks = [asyncio.create_task(desk.ledger.chain.run())]
        try:
            await desk.index.start()
            tasks.append(asyncio.create_task(desk.watch.run()))
            yield desk
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            assert [task for task in tasks if not task.cancelled()] == []
            desk.watch.close()
            await desk.index.close()
            desk.store.close()


def with_desk(directory: Path, scenario: Callable[[Desk], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        async with open_desk(directory) as desk:
            await scenario(desk)

    within_limit(run())


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """News comes a hundredth as late, and what a reorganisation took off comes back one by one."""
    monkeypatch.setattr(watch_module, "COALESCE_S", MOMENT_S / 5)
    monkeypatch.setattr(ledger_module, "RETURNING_PER_TURN", 1)


async def subscribe_all(desk: Desk) -> None:
    for lock in WATCHED:
        scripthash = scripthash_of(lock)
        status = await desk.watch.subscribe(desk.listener, scripthash)
        desk.listener.told[scripthash[::-1].hex()] = status


class Play:
    """Random changes of a ledger, and the same chain here."""

    def __init__(self, desk: Desk, rng: random.Random) -> None:
        self.desk = desk
        self.rng = rng
        self.toy = ripe_chain(12)
        self.economy = Economy(self.toy, rng)
        self.sent: list[Tx] = []

    async def feed(self, above: int) -> None:
        for block in blocks_of(self.toy, above):
            await self.desk.ledger.accept_block(block.raw)

    async def mine(self) -> None:
        """A block of some that wait, parents first, and of some that nobody knew."""
        await self.desk.ledger.chain.settled()
        await self.desk.ledger.at_rest()
        height = self.toy.tip.height
        waiting = [entry.tx for entry in self.desk.ledger.mempool.entries()]
        some = waiting[: self.rng.randint(0, len(waiting))]
        if self.rng.random() < 0.5 or not some:
            self.economy.block(3)
        else:
            self.toy.mine(some, self.rng.choice(WATCHED))
        await self.feed(height)

    async def reorganise(self) -> None:
        await self.desk.ledger.chain.settled()
        depth = self.rng.randint(1, 4)
        rewind(self.toy, depth)
        fork = self.toy.tip.height
        self.economy.blocks(depth + 1, 2)
        await self.feed(fork)

    async def pay(self) -> None:
        """A payment, perhaps on top of one that waits, perhaps instead of one."""
        pool = self.desk.ledger.mempool
        coins = {o: c for o, c in self.toy.coins.items() if c.lock == ALICE.lock and not c.asset}
        for entry in pool.entries():
            coins |= coins_made(entry.tx, self.toy.tip.height + 1)
        mine = [
            o for o, c in coins.items()
            if c.lock == ALICE.lock and c.asset == NATIVE and c.amount > 200_000
        ]  # fmt: skip
        if not mine:
            return
        spent = self.rng.sample(mine, min(len(mine), self.rng.randint(1, 2)))
        fee = self.rng.choice([20_000, 60_000, 180_000])
        rest = sum(coins[o].amount for o in spent) - fee
        first = self.rng.randint(1, rest - 1)
        outputs = [TxOut(NATIVE, first, ALICE.lock)]
        outputs += [TxOut(NATIVE, rest - first, self.rng.choice(WATCHED))]
        tx = self.toy.spend(spent, outputs, (ALICE, BOB, CAROL), extra_coins=coins)
        with contextlib.suppress(Violation):
            self.desk.ledger.submit_tx(tx.raw)

    async def step(self) -> None:
        (act,) = self.rng.choices([self.mine, self.reorganise, self.pay], [2, 1, 6])
        await act()


async def begin(desk: Desk, rng: random.Random) -> Play:
    """A play whose chain the ledger has, with everything subscribed."""
    play = Play(desk, rng)
    await play.feed(0)
    await desk.ledger.chain.settled()
    await subscribe_all(desk)
    return play


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_every_status_that_is_told_is_that_of_its_history(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    rng = random.Random(seed)

    async def scenario(desk: Desk) -> None:
        play = await begin(desk, rng)
        for _ in range(6):
            for _ in range(rng.randint(1, 8)):
                await play.step()
                if rng.random() < 0.3:
                    await asyncio.sleep(rng.random() * MOMENT_S)
            await desk.expect()
        assert desk.listener.count

    with_desk(tmp_path_factory.mktemp("desk"), scenario)


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_statuses_are_true_though_events_pile_up(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    rng = random.Random(seed)

    async def scenario(desk: Desk) -> None:
        play = await begin(desk, rng)
        for _ in range(25):
            await play.step()
        await desk.expect()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watch_module, "EVENT_BYTES_MAX", 1_500)
        with_desk(tmp_path_factory.mktemp("desk"), scenario)


@pytest.mark.parametrize("event_bytes_max", [0, 16 << 20])
@pytest.mark.parametrize("returning_per_turn", [1, 50])
def test_child_of_a_payment_that_is_mined_gets_another_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, event_bytes_max: int, returning_per_turn: int
) -> None:
    monkeypatch.setattr(watch_module, "EVENT_BYTES_MAX", event_bytes_max)
    monkeypatch.setattr(ledger_module, "RETURNING_PER_TURN", returning_per_turn)

    async def scenario(desk: Desk) -> None:
        toy = ripe_chain()
        for block in blocks_of(toy):
            await desk.ledger.accept_block(block.raw)
        await desk.ledger.chain.settled()
        parent = toy.pay(ALICE, BOB, 400_000_000)
        coins = coins_made(parent, toy.tip.height + 1)
        child = toy.spend(
            [outpoint(parent.txid, 0)], [TxOut(NATIVE, 399_000_000, CAROL.lock)], (BOB,),
            extra_coins=coins,
        )  # fmt: skip
        desk.ledger.submit_tx(parent.raw)
        desk.ledger.submit_tx(child.raw)
        hashed = scripthash_of(CAROL.lock)
        name, txid = hashed[::-1].hex(), child.txid[::-1].hex()

        def status(height: int) -> str | None:
            return status_of([{"tx_hash": txid, "height": height}])

        assert await desk.watch.subscribe(desk.listener, hashed) == status(-1)
        toy.mine([parent])
        await desk.ledger.submit_block(blocks_of(toy)[-1].raw)
        await desk.settle()
        assert desk.listener.told[name] == status(0)
        # The parent comes back, and with it the −1.
        rewind(toy, 1)
        toy.mine_empty(2)
        for block in blocks_of(toy, toy.tip.height - 2):
            await desk.ledger.submit_block(block.raw)
        await desk.settle()
        assert desk.listener.told[name] == status(-1)

    with_desk(tmp_path, scenario)


@pytest.mark.parametrize("blocks_read_max", [0, 1_000])
def test_locks_that_came_while_the_server_was_off_are_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocks_read_max: int
) -> None:
    monkeypatch.setattr("node.electrum.scripts.BLOCKS_READ_MAX", blocks_read_max)

    async def scenario(desk: Desk) -> None:
        toy = ripe_chain()
        economy = Economy(toy, random.Random(5))
        economy.blocks(10)
        for block in blocks_of(toy):
            await desk.ledger.accept_block(block.raw)
        await desk.settle()
        desk.watch.close()
        await desk.index.close()
        fork = toy.tip.height - 3
        rewind(toy, 3)
        economy.blocks(9)
        for block in blocks_of(toy, fork):
            await desk.ledger.accept_block(block.raw)
        await desk.ledger.chain.settled()
        waiting = toy.pay(ALICE, STRANGERS[0], 1_000)
        desk.ledger.submit_tx(waiting.raw)
        later = desk.another_index()
        await later.start()
        paid = {o.lock for b in blocks_of(toy) for tx in b.txs for o in tx.body.outputs}
        for lock in (paid - {bytes(32)}) | {STRANGERS[0].lock}:
            assert later.lock_of(scripthash_of(lock)) == lock
        assert later.lock_of(scripthash_of(STRANGERS[1].lock)) is None
        await later.close()

    with_desk(tmp_path, scenario)


def test_who_leaves_is_forgotten(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        for number in range(50):
            await desk.watch.subscribe(desk.listener, ScriptHash(bytes([number]) * 32))
        desk.watch.subscribe_headers(desk.listener)
        assert desk.watch.watched_count == 50
        desk.watch.leave(desk.listener)
        assert desk.watch.watched_count == 0

    with_desk(tmp_path, scenario)
