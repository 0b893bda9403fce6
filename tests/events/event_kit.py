"""A real ledger and its event log in one directory, which may end at any moment as a killed node does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from consensus.address import decode_address
from consensus.block import Block, genesis
from consensus.errors import StorageError
from consensus.hashes import LockHash
from consensus.params import REGTEST
from node.blockfiles import RecordFiles
from node.database import Database
from node.db import Database as LevelDb
from node.eventlog.desk import KEEPING, Keeping
from node.eventlog.journal import Journal
from node.eventlog.service import Events
from node.events import EventBus
from node.ledger import Ledger
from node.policy import Policy
from node.recovery import restore
from node.store import Store
from node.verify import Verifier
from tests.support.event_fold import Fold, Outpoint, Paid, paid_by, paid_in

NOW = 4_000_000_000.0
LIMIT_S = 20.0
TURNS_MAX, TURN_S = 10_000, 0.002
FOLDERS = ("blocks", "undo", "state")


class Posted:
    """A receiver of webhooks that takes everything."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        self.bodies.append(json.loads(body))
        return 204

    async def close(self) -> None:
        """There is nothing to close."""


class Life:
    """A ledger and its log, from a start to an end."""

    def __init__(
        self, ledger: Ledger, events: Events, clock: list[float], posted: Posted,
        tasks: list[asyncio.Task[None]],
    ) -> None:  # fmt: skip
        self.ledger = ledger
        self.events = events
        self.clock = clock
        self.posted = posted
        self._tasks = tasks

    async def give(self, blocks: Iterable[Block]) -> None:
        for block in blocks:
            await self.ledger.submit_block(block.raw)

    def watch(self, lock: LockHash, since: int | None = None) -> None:
        self.events.follower.watch(lock, None, since)

    async def ended(self) -> None:
        """Wait until something ends that should not; the end of the life raises it."""
        await asyncio.wait(self._tasks, timeout=LIMIT_S, return_when=asyncio.FIRST_EXCEPTION)

    def _is_at_rest(self) -> bool:
        log, ledger = self.events.log, self.ledger
        is_behind = log.scanning or log.tip.hash != ledger.tip.hash
        return not (is_behind or ledger.mempool.is_returning or not self.events.follower.is_beside)

    async def told(self) -> list[dict[str, Any]]:
        """Every event, when the log has come to where the ledger is."""
        log, desk = self.events.log, self.events.desk
        for _ in range(TURNS_MAX):
            if self._is_at_rest():
                break
            await asyncio.sleep(TURN_S)
        assert self._is_at_rest(), "the log comes to where the ledger is"
        await desk.settled()
        found: list[dict[str, Any]] = []
        after = log.first - 1
        while page := desk.read(after, 100).events:
            found += [json.loads(event) for event in page]
            after = found[-1]["number"]
        return found

    def check(self, fold: Fold, locks: Iterable[LockHash]) -> None:
        """What the events say must be what the ledger says of `locks`, all of which are watched."""
        ledger, locks = self.ledger, list(locks)
        assert fold.tip == (ledger.tip.height, ledger.tip.hash[::-1].hex())
        tip = ledger.tip
        blocks = [ledger.chain.archive.read(tip.ancestor(h)) for h in range(tip.height + 1)]
        assert fold.confirmed == paid_in(blocks, locks)
        waiting: dict[Outpoint, Paid] = {}
        for entry in ledger.mempool.entries():
            waiting |= paid_by(entry.tx, locks)
        assert fold.waiting == waiting
        for lock in locks:
            received: dict[str, int] = {}
            for _, paid in fold.confirmed.values():
                if decode_address(REGTEST.hrp.decode(), paid.address) == lock:
                    received[paid.asset] = received.get(paid.asset, 0) + paid.units
            known = {asset[::-1].hex(): b.received for asset, b in ledger.balances(lock).items()}
            assert received == {asset: units for asset, units in known.items() if units}


@contextlib.asynccontextmanager
async def open_life(
    directory: Path, *, is_killed: bool = False, indexed: bool = True,
    database_of: Callable[[Path], Database] = LevelDb, keeping: Keeping = KEEPING,
) -> AsyncIterator[Life]:  # fmt: skip
    """`is_killed`: at the end nothing is written that was not written before."""
    for name in (*FOLDERS, "events"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    tasks: list[asyncio.Task[None]] = []

    def spawn(work: Awaitable[None]) -> asyncio.Task[None]:
        async def watched() -> None:
            await work

        tasks.append(asyncio.create_task(watched()))
        return tasks[-1]

    writer, other = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
    files = RecordFiles(directory / "blocks", "blk"), RecordFiles(directory / "undo", "undo")
    first = genesis(REGTEST)
    store = Store(LevelDb(directory / "state"), *files, writer, first.header.hash, indexed)
    verifier = Verifier(0)
    policy = Policy(min_fee_rate=0)
    ledger = Ledger(first, REGTEST, store, verifier, policy, lambda: NOW, EventBus())
    await restore(ledger.chain)
    following = asyncio.create_task(ledger.chain.run())
    await ledger.chain.settled()
    journal = Journal(database_of(directory / "events"), other)
    rng = random.Random(1)
    clock, posted = [NOW], Posted()
    events = Events(
        journal, ledger, lambda: clock[0], rng.randbytes, posted, rng, keeping
    )  # fmt: skip
    try:
        await events.start(spawn)
        mempool = directory / "mempool"
        if mempool.exists():
            for _ in ledger.load_mempool(mempool.read_bytes()):
                await asyncio.sleep(0)
        events.follower.mempool_loaded()
        yield Life(ledger, events, clock, posted, tasks)
        if not is_killed:
            mempool.write_bytes(ledger.mempool.dump())
            await events.close()
            await ledger.chain.flush()
    finally:
        for task in (following, *tasks):
            task.cancel()
        await asyncio.gather(following, *tasks, return_exceptions=True)
        with contextlib.suppress(StorageError):
            await journal.finish()  # a write is whole, or it is not there
        other.shutdown()
        journal.close()
        writer.shutdown()
        store.close()
        await verifier.close()
    for task in tasks:
        if not task.cancelled():
            task.result()
