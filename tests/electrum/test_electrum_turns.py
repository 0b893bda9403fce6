"""Calls of the Electrum server take turns with everything else that the node does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from consensus.params import REGTEST
from node.db import Database
from node.electrum import calls
from node.electrum.limits import CALLS_MAX, REQUESTS_BURST, REQUESTS_PER_S
from node.electrum.merkle import HeaderProofs, TxProofs
from node.electrum.methods import Client, Service
from node.electrum.scripts import LockIndex
from node.electrum.session import Budget
from node.electrum.watch import Watch
from tests.node.rpc_kit import open_node
from tests.support.chain import ToyChain

PING = b'{"id":1,"method":"server.ping"}'
CALLS = 100


class Stub(Client):
    """A client without a connection."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.protocol = ""

    def tell(self, notice: bytes) -> None:
        raise AssertionError("nothing was subscribed to")


def with_client(directory: Path, scenario: Callable[[Client], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        async with open_node(directory, REGTEST, ToyChain(), True) as bench:
            node = bench.node
            index = LockIndex(node.ledger, lambda: Database(directory / "electrum"))
            watch = Watch(node.ledger, index, node.ledger.bus)
            service = Service(
                node, watch, HeaderProofs(), TxProofs(node.ledger), asyncio.Semaphore(CALLS_MAX)
            )
            await scenario(Stub(service))

    asyncio.run(run())


async def turns_during(work: Coroutine[Any, Any, Any]) -> int:
    """How many turns of the loop others had meanwhile."""
    task = asyncio.create_task(work)
    turns = 0
    while not task.done():
        turns += 1
        await asyncio.sleep(0)
    await task
    return turns


def ask(client: Client) -> Coroutine[Any, Any, calls.Answer]:
    return calls.answer(PING, client, lambda: 0)


def test_who_sends_many_calls_without_waiting_lets_others_in_between(tmp_path: Path) -> None:
    async def scenario(client: Client) -> None:
        async def ask_all() -> None:
            for _ in range(CALLS):
                await ask(client)

        assert await turns_during(ask_all()) >= CALLS

    with_client(tmp_path, scenario)


def test_few_calls_are_worked_on_in_one_turn_however_many_clients_ask(tmp_path: Path) -> None:
    async def scenario(client: Client) -> None:
        async def ask_all() -> None:
            await asyncio.gather(*[ask(client) for _ in range(CALLS)])

        assert await turns_during(ask_all()) >= CALLS // CALLS_MAX

    with_client(tmp_path, scenario)


def test_budget_is_spent_and_grows_again_whatever_the_clock_does() -> None:
    now = 1_000.0
    budget = Budget(lambda: now)
    assert budget.spend(REQUESTS_BURST) == 0
    assert budget.spend(REQUESTS_PER_S) == 1
    now += 1
    assert budget.spend(0) == 0
    now -= 500  # an operator sets the clock back
    assert budget.spend(REQUESTS_PER_S) == 1
    now += 10**9
    assert budget.spend(REQUESTS_BURST) == 0
    assert budget.spend(REQUESTS_PER_S // 2) == 0.5
