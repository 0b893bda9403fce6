"""The parts of the simulated machine do what real ones do."""

from __future__ import annotations

import asyncio
import random
import time
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.errors import StorageError
from node.disk import APPEND, read_file, replace_file, sync, write_all
from p2p.ports import Endpoint, Wire
from scripts.simulate.disk import VirtualDisk
from scripts.simulate.loop import Crashed, Domain, Stuck, VirtualLoop, run
from scripts.simulate.network import VirtualNetwork

BUSY_S = 0.05
FILE = Path("/n0/blocks/blk00000.dat")


def fail() -> None:
    raise Crashed


def at(part: float, what: str) -> float:
    return part


def disk(seed: int = 0) -> VirtualDisk:
    return VirtualDisk(random.Random(seed), lambda what: None, fail)


@given(st.binary(), st.binary(), st.integers())
def test_power_loss_keeps_what_was_synced_and_a_part_of_the_rest(
    synced: bytes, rest: bytes, seed: int
) -> None:
    files = disk(seed)
    descriptor = files.open(FILE, APPEND)
    write_all(files, descriptor, synced)
    files.fsync(descriptor)
    sync(files, FILE.parent)
    write_all(files, descriptor, rest)
    files.lose_power()
    found = read_file(files, FILE)
    assert found[: len(synced)] == synced
    assert len(found) <= len(synced + rest)


@given(st.integers())
def test_a_file_that_was_replaced_is_the_old_or_the_new_one_after_power_loss(seed: int) -> None:
    files = disk(seed)
    place, temporary = Path("/n0/peers.dat"), Path("/n0/peers.dat.new")
    replace_file(files, place, b"old", temporary)
    descriptor = files.open(temporary, APPEND)
    write_all(files, descriptor, b"new")
    files.fsync(descriptor)
    files.replace(temporary, place)
    files.lose_power()
    assert read_file(files, place) in (b"old", b"new")


def test_a_batch_that_a_crash_comes_into_is_there_whole_or_not_at_all() -> None:
    for part, rows in ((0.2, 0), (0.8, 2)):
        files = VirtualDisk(random.Random(0), partial(at, part), fail)
        with pytest.raises(Crashed):
            files.database.write([(b"a", b"1"), (b"b", b"2")])
        assert len(files.database.rows) == rows


def test_a_damaged_row_is_refused_when_it_is_read_and_no_other() -> None:
    files = disk()
    files.database.write([(b"a", b"1")])
    files.database.flip()
    files.database.write([(b"b", b"2")])
    view = files.database.view()
    assert view.get(b"b") == b"2"
    with pytest.raises(StorageError):
        view.get(b"a")
    with pytest.raises(StorageError):
        list(view.scan(b"a"))


def test_nothing_of_a_killed_process_runs_any_more() -> None:
    loop, done = VirtualLoop(), []
    domain = Domain("node")

    async def process() -> None:
        try:
            await asyncio.sleep(2)
            done.append("late")
        finally:
            done.append("finally")

    async def world() -> None:
        loop.create_task(process(), context=domain.context.copy())
        await asyncio.sleep(1)
        loop.kill(domain)
        await asyncio.sleep(5)

    run(loop, world())
    assert done == []
    assert loop.time() == 6


def test_the_longest_callback_is_known_by_the_processor_time_that_it_took() -> None:
    loop = VirtualLoop()

    def work() -> None:
        until = time.thread_time() + BUSY_S
        while time.thread_time() < until:
            pass

    async def world() -> None:
        for number in range(1_000):
            loop.call_later(number, time.sleep, BUSY_S / 2_000)
        loop.call_later(500, work)
        loop.call_later(700, time.sleep, 3 * BUSY_S)
        await asyncio.sleep(1_001)

    run(loop, world())
    took, what = loop.slowest
    assert "work" in what
    assert BUSY_S / 2 < took < 2 * BUSY_S


def test_a_world_in_which_nothing_can_happen_is_told() -> None:
    loop = VirtualLoop()

    async def wait_for_ever() -> None:
        await loop.create_future()

    with pytest.raises(Stuck):
        run(loop, wait_for_ever())


def test_a_line_keeps_the_order_and_waits_behind_a_partition() -> None:
    loop = VirtualLoop()
    network = VirtualNetwork(loop, random.Random(1), lambda source, target, frame: None)
    here, there = "10.1.0.1", Endpoint("10.2.0.1", 9)
    got: list[tuple[float, bytes]] = []

    async def accept(wire: Wire) -> None:
        while (frame := await wire.receive()) is not None:
            got.append((loop.time(), frame))

    async def world() -> None:
        network.listen(there, accept, Domain("node"))
        line = await network.dial(here, there)
        for number in range(10):
            await line.send(bytes((number,)) * (1 + number * 7_000 % 9_001))
        network.block(here, there.host)
        await asyncio.sleep(100)
        assert got == []
        network.heal()
        await asyncio.sleep(10)

    run(loop, world())
    assert [frame[0] for _, frame in got] == list(range(10))
    assert all(at > 100 for at, _ in got)
