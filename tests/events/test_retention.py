"""How long events are kept, for whom, and what those are told who come too late."""

from __future__ import annotations

import asyncio
import json
import resource
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from consensus.errors import StorageError
from consensus.params import REGTEST
from node.db import Database
from node.eventlog import desk, layout
from node.eventlog.desk import KEEPING, Keeping, Lost, Refused
from node.eventlog.layout import Kind
from node.rpc.dispatch import Dispatcher
from node.rpc.method import Method, Role, table
from node.rpc.methods_events import getevents
from tests.events.event_kit import Life, open_life
from tests.support.chain import ALICE, BOB, ToyChain
from tests.support.daemon import Daemon, RpcFailure, feed, running
from tests.support.economy import blocks_of, ripe_chain
from tests.support.event_fold import Fold
from tests.support.node_chain import within_limit

FEW = Keeping(acknowledged=10, most=50, age_s=1_000)
EVENTS = 106
"""Blocks of a ripe chain, each of which is an event."""


def with_life(
    path: Path, scenario: Callable[[Life], Awaitable[None]], keeping: Keeping = KEEPING
) -> None:  # fmt: skip
    async def run() -> None:
        async with open_life(path, keeping=keeping) as life:
            await scenario(life)

    within_limit(run())


async def tidy(life: Life) -> None:
    """Have batches written until nothing changes any more."""
    for _ in range(3):
        life.events.log.changed.set()
        await life.events.desk.settled()


def test_what_everybody_has_acknowledged_is_kept_for_a_while_only(tmp_path: Path) -> None:
    async def scenario(life: Life) -> None:
        await life.give(blocks_of(ripe_chain()))
        await life.events.desk.settled()
        await life.events.desk.acknowledge("till", EVENTS - 3)
        await tidy(life)
        assert life.events.log.first == EVENTS - 9
        assert len(life.events.desk.read(EVENTS - 10).events) == 10

    with_life(tmp_path, scenario, Keeping(10, 1_000, 1_000))


def test_second_to_acknowledge_a_number_is_answered_no_sooner_than_it_lies_on_the_disk(
    tmp_path: Path,
) -> None:
    async def scenario(life: Life) -> None:
        desk = life.events.desk
        await life.give(blocks_of(ripe_chain()))
        await desk.settled()
        first, second = (asyncio.create_task(desk.acknowledge("till", 5)) for _ in range(2))
        await asyncio.wait((first, second), return_when=asyncio.FIRST_COMPLETED)
        assert list(life.events.log.journal.scan(layout.CONSUMER))
        assert {await first, await second} == {5}

    with_life(tmp_path, scenario)


def test_consumer_that_is_removed_while_it_acknowledges_gets_its_answer(tmp_path: Path) -> None:
    async def scenario(life: Life) -> None:
        desk = life.events.desk
        await life.give(blocks_of(ripe_chain()))
        await desk.settled()
        acknowledging = asyncio.create_task(desk.acknowledge("till", 5))
        await asyncio.sleep(0)
        assert await desk.remove("till")
        assert await acknowledging == 5

    with_life(tmp_path, scenario)


def test_what_a_consumer_has_not_acknowledged_is_kept_for_it(tmp_path: Path) -> None:
    async def scenario(life: Life) -> None:
        await life.events.desk.acknowledge("slow", 0)
        await life.give(blocks_of(ripe_chain()))
        await life.events.desk.settled()
        await life.events.desk.acknowledge("fast", EVENTS)
        await tidy(life)
        assert len(life.events.desk.read(0).events) == EVENTS

    with_life(tmp_path, scenario, Keeping(10, 1_000, 1_000))


def test_a_consumer_that_came_too_late_is_told_what_it_has_missed(tmp_path: Path) -> None:
    async def scenario(life: Life) -> None:
        await life.events.desk.acknowledge("slow", 0)
        await life.give(blocks_of(ripe_chain()))
        await tidy(life)
        first = life.events.log.first
        assert first == EVENTS - FEW.most + 1
        with pytest.raises(Lost) as lost:
            life.events.desk.read(life.events.desk.position("slow"))
        assert (lost.value.first, lost.value.last) == (1, first - 1)
        await life.events.desk.acknowledge("slow", first - 1)
        assert len(life.events.desk.read(first - 1).events) == FEW.most

    with_life(tmp_path, scenario, FEW)


def test_what_is_too_old_is_not_kept_for_anybody(tmp_path: Path) -> None:
    toy = ripe_chain()

    async def scenario(life: Life) -> None:
        await life.events.desk.acknowledge("slow", 0)
        await life.give(blocks_of(toy)[:-1])
        await life.events.desk.settled()
        life.clock[0] += 1_001
        await life.give(blocks_of(toy)[-1:])
        await tidy(life)
        assert life.events.log.first == EVENTS
        assert len(life.events.desk.read(EVENTS - 1).events) == 1

    with_life(tmp_path, scenario, Keeping(10, 1_000, 1_000))


def test_numbers_go_on_after_a_restart_though_nothing_is_kept(tmp_path: Path) -> None:
    toy = ripe_chain()

    async def first(life: Life) -> None:
        await life.give(blocks_of(toy))
        await life.events.desk.settled()
        life.clock[0] += 1_001
        await tidy(life)
        assert life.events.log.first == EVENTS + 1

    async def second(life: Life) -> None:
        await life.give([toy.mine()])
        await life.events.desk.settled()
        (event,) = life.events.desk.read(EVENTS).events
        assert json.loads(event)["number"] == EVENTS + 1

    with_life(tmp_path, first, FEW)
    with_life(tmp_path, second, FEW)


def test_a_webhook_that_came_too_late_is_sent_what_it_has_missed(tmp_path: Path) -> None:
    async def scenario(life: Life) -> None:
        webhooks = life.events.webhooks
        name, _ = await webhooks.add("http://127.0.0.1/", frozenset({Kind.BLOCK_CONNECTED}))
        webhooks._tasks[name].cancel()
        await life.give(blocks_of(ripe_chain()))
        await tidy(life)
        webhooks._serve(name)
        while webhooks.rows[name].acknowledged < EVENTS:
            await life.events.desk.news()
        lost, *others = life.posted.bodies
        assert (lost["lost"], lost["events"]) == (
            {"first": 1, "last": EVENTS - FEW.most}, [],
        )  # fmt: skip
        numbers = [event["number"] for body in others for event in body["events"]]
        assert numbers == list(range(EVENTS - FEW.most + 1, EVENTS + 1))

    with_life(tmp_path, scenario, FEW)


def test_a_webhook_may_be_added_while_events_are_still_to_be_written(tmp_path: Path) -> None:
    toy = ripe_chain()

    async def scenario(life: Life) -> None:
        await life.give(blocks_of(toy)[:3])
        await life.told()
        tip = toy.tip.ancestor(4)
        life.events.log.connect(tip, toy.blocks[tip.hash])
        assert life.events.log.last > life.events.desk.written
        name, row = await life.events.webhooks.add("http://127.0.0.1/", frozenset())
        assert row.acknowledged == 4
        tip = toy.tip.ancestor(5)
        life.events.log.connect(tip, toy.blocks[tip.hash])
        while life.events.webhooks.rows[name].acknowledged < 5:
            await life.events.desk.news()
        assert [event["number"] for event in life.posted.bodies[0]["events"]] == [5]

    with_life(tmp_path, scenario)


def test_the_rpc_says_from_where_to_where_events_are_lost(tmp_path: Path) -> None:
    class Fake:
        events: Any = None

    async def scenario(life: Life) -> None:
        await life.give(blocks_of(ripe_chain()))
        await tidy(life)
        methods = table([Method("getevents", getevents, Role.READ, "events")])
        dispatcher: Dispatcher[Fake] = Dispatcher(methods, REGTEST)
        dispatcher.node = Fake()
        dispatcher.node.events = life.events
        body = b'{"jsonrpc": "2.0", "id": 1, "method": "getevents", "params": [3]}'
        answer = json.loads((await dispatcher.answer(body, Role.READ)).body)
        assert answer["error"]["code"] == -32003
        assert f"lost from 4 to {life.events.log.first - 1}:" in answer["error"]["message"]

    with_life(tmp_path, scenario, FEW)


def test_there_are_so_many_consumers_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "CONSUMERS_MAX", 2)

    async def scenario(life: Life) -> None:
        for name in ("a", "b", "a"):
            await life.events.desk.acknowledge(name, 0)
        with pytest.raises(Refused):
            await life.events.desk.acknowledge("c", 0)
        assert await life.events.desk.remove("a")
        await life.events.desk.acknowledge("c", 0)

    with_life(tmp_path, scenario)


def test_an_acknowledgement_never_goes_back(tmp_path: Path) -> None:
    async def scenario(life: Life) -> None:
        await life.give(blocks_of(ripe_chain()))
        await life.events.desk.settled()
        assert await life.events.desk.acknowledge("till", 50) == 50
        assert await life.events.desk.acknowledge("till", 20) == 50

    with_life(tmp_path, scenario)


# Disks


class Full(Database):
    """Has no room after so many batches."""

    left = 10

    def write(self, rows: Iterable[tuple[bytes, bytes | None]]) -> None:
        self.left -= 1
        if self.left < 0:
            raise StorageError("writing: no space left", "make room")
        super().write(rows)


def test_events_that_found_no_room_are_told_after_the_next_start(tmp_path: Path) -> None:
    toy = ripe_chain()

    async def until_it_is_full() -> None:
        async with open_life(tmp_path, is_killed=True, database_of=Full) as life:
            life.watch(BOB.lock, 0)
            for block in blocks_of(toy):
                await life.give([block])
                with suppress(desk.Stopping):
                    await life.events.desk.settled()
            with pytest.raises(desk.Stopping):
                await life.events.desk.settled()
            tx = toy.pay(ALICE, BOB, 5)
            await life.give([toy.mine([tx])])
            # Nobody is told what does not lie on the disk.
            lying = [key for key, _ in life.events.log.journal.scan(layout.EVENT)]
            assert layout.event_key(life.events.desk.written) == lying[-1]
            assert life.events.desk.written < life.events.log.last

    with pytest.raises(StorageError, match="no space left"):
        within_limit(until_it_is_full())

    async def with_room(life: Life) -> None:
        await life.give(blocks_of(toy))
        fold = Fold().take_all(await life.told())
        life.check(fold, [BOB.lock])
        assert len(fold.confirmed) == 1

    with_life(tmp_path, with_room)


def test_a_full_disk_ends_the_node_in_one_line_and_no_event_is_lost(tmp_path: Path) -> None:
    toy = ripe_chain()
    daemon = Daemon(tmp_path, "--events", "--outbound", "0")
    with running(daemon):
        feed(daemon, blocks_of(toy))
        daemon.call("watchaddress", BOB.address())
        sizes = [path.stat().st_size for path in (tmp_path / "events").glob("*.log")]
        # The log of its database grows with every batch; block files have as much room, and need less.
        limit = max(*sizes, (tmp_path / "blocks" / "blk00000.dat").stat().st_size) + 3_000
        resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (limit, limit))
        fill(daemon)
        assert daemon.wait() == 1
        assert not any("Traceback" in line for line in daemon.log), "\n".join(daemon.log)
        (line,) = [line for line in daemon.log if line.startswith("taeld: ")]
        assert "event log" in line
        assert "make room" in line
        daemon.start()
        feed_all(daemon, toy)
        events = daemon.call("getevents", 0, 1_000)["events"]
        fold = Fold().take_all(events)
        assert fold.tip == (toy.tip.height, toy.tip.hash[::-1].hex())
        assert daemon.stop() == 0


def fill(daemon: Daemon) -> None:
    """Have it acknowledge until it has no room."""
    with suppress(RpcFailure, OSError):
        for number in range(1, EVENTS):
            daemon.call("ackevents", "x" * 64, number)
        pytest.fail("there was room")


def feed_all(daemon: Daemon, toy: ToyChain) -> None:
    feed(daemon, [toy.mine()])
    daemon.call("geteventsinfo")


def test_a_damaged_log_is_told_with_what_to_do_about_it(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, "--events", "--outbound", "0")
    with running(daemon):
        feed(daemon, blocks_of(ripe_chain()))
        assert daemon.stop() == 0
        for table_file in (tmp_path / "events").glob("*.ldb"):
            data = bytearray(table_file.read_bytes())
            for place in range(0, len(data), 100):
                data[place] ^= 1
            table_file.write_bytes(data)
        daemon.start(ready=False)
        code = daemon.wait()
        (line,) = [line for line in daemon.log if line.startswith("taeld: ")]
        assert (code, "event log" in line, "--reindex" in line) == (1, True, False), line
        assert "move the folder `events`" in line
