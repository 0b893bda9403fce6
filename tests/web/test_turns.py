"""One page at a time, in the order in which they were asked for, whoever gives up meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from node.web.pages import WAITING_MAX, Busy, Turns


def play(scenario: Callable[[Turns], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(20):
            await scenario(Turns())

    asyncio.run(run())


class Reader:
    """Takes a turn, and keeps it until it is let go."""

    def __init__(self, turns: Turns) -> None:
        self.begun = asyncio.Event()
        self._may_end = asyncio.Event()
        self.task = asyncio.create_task(self._read(turns))

    async def _read(self, turns: Turns) -> None:
        async with turns.turn():
            self.begun.set()
            await self._may_end.wait()

    async def end(self) -> None:
        """When its turn has come."""
        await self.begun.wait()
        self._may_end.set()
        await self.task

    async def give_up(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])


def test_turns_go_round_in_the_order_of_arrival() -> None:
    async def scenario(turns: Turns) -> None:
        readers = [Reader(turns) for _ in range(4)]
        for number, reader in enumerate(readers):
            await reader.begun.wait()
            await asyncio.sleep(0.02)
            assert [each.begun.is_set() for each in readers[number + 1 :]] == [False] * (3 - number)
            await reader.end()

    play(scenario)


def test_who_gives_up_while_waiting_is_passed_over() -> None:
    async def scenario(turns: Turns) -> None:
        first, second, third = (Reader(turns) for _ in range(3))
        await first.begun.wait()
        await second.give_up()
        await first.end()
        await third.end()
        assert not second.begun.is_set()

    play(scenario)


def test_turn_is_passed_on_by_who_leaves_at_any_moment() -> None:
    async def scenario(turns: Turns) -> None:
        for ticks in range(40):
            first, second = Reader(turns), Reader(turns)
            if ticks % 2:
                await first.begun.wait()
                await first.give_up()
            else:
                await first.end()
            # The pause may end, or the reader leave, in any order; the turn must not be lost.
            for _ in range(ticks):
                await asyncio.sleep(0.0003)
            await second.give_up()
            await Reader(turns).end()

    play(scenario)


def test_no_more_wait_than_may() -> None:
    async def scenario(turns: Turns) -> None:
        readers = [Reader(turns) for _ in range(1 + WAITING_MAX)]
        await readers[0].begun.wait()
        with pytest.raises(Busy):
            await Reader(turns).task
        for reader in readers:
            await reader.give_up()

    play(scenario)
