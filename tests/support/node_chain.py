"""A real chain in a directory: LevelDB, block files and rules, without network and mempool.

It follows the most work, as a node does. `tests.support.economy` makes blocks for it, and
`tests.support.recount` says what it must know.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from consensus.block import Block, genesis
from consensus.errors import StorageError, Violation
from consensus.header_tree import HeaderNode
from consensus.params import REGTEST, Params
from consensus.tx import (
    Coin,
    OutPoint,
)
from node.blockfiles import FILE_BYTES_MAX, RecordFiles
from node.chain import Chain, ChainListener, Change
from node.db import Database
from node.recovery import restore
from node.store import Store
from node.verify import Verifier

T = TypeVar("T")
FAR_FUTURE = 4_000_000_000.0
"""A clock at which no block of a test lies in the future."""
LIMIT_S = 60.0


def within_limit(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` on a loop of its own; what hangs fails."""

    async def limited() -> T:
        return await asyncio.wait_for(work, LIMIT_S)

    return asyncio.run(limited())


class NodeChain:
    """A chain that runs, and what it told its listener."""

    def __init__(
        self, params: Params, store: Store, verifier: Verifier, clock: Callable[[], float]
    ) -> None:
        self.changes: list[Change] = []
        self.condemned: list[tuple[HeaderNode, Violation]] = []
        self.headers: list[HeaderNode] = []
        self.stored: list[Block] = []
        self.store = store
        self.verifier = verifier
        listener = ChainListener(
            self.changes.append,
            lambda *what: self.condemned.append(what),
            self.headers.append,
            lambda _, block: self.stored.append(block),
        )
        self.chain = Chain(
            genesis(params), params, store, verifier, clock, listener
        )  # fmt: skip
        self.following: asyncio.Task[None] | None = None

    def follow(self) -> None:
        self.following = asyncio.create_task(self.chain.run())

    async def settled(self) -> None:
        """Wait until the tip is where it belongs; raise what broke the chain."""
        assert self.following is not None
        settled = asyncio.create_task(self.chain.settled())
        await asyncio.wait([settled, self.following], return_when=asyncio.FIRST_COMPLETED)
        if self.following.done():
            settled.cancel()
            self.following.result()
        await settled

    async def give(self, blocks: Iterable[Block]) -> None:
        """Hand blocks in, in this order, and wait until the tip is where it belongs."""
        for block in blocks:
            await self.chain.accept_block(block.raw)
        await self.settled()

    def best_blocks(self) -> list[Block]:
        """The best chain as it is stored, genesis first."""
        tip = self.chain.tip
        return [self.chain.archive.read(tip.ancestor(h)) for h in range(tip.height + 1)]

    async def coins_on_disk(self) -> dict[OutPoint, Coin]:
        await self.chain.flush()
        return dict(self.store.scan_coins()[1])


async def _end(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.wait([task])


@contextlib.asynccontextmanager
async def open_chain(
    directory: Path, params: Params = REGTEST, *, indexed: bool = True, processes: int = 0,
    file_bytes_max: int = FILE_BYTES_MAX, database_of: Callable[[Path], Database] = Database,
    follows: bool = True, files_of: Callable[..., RecordFiles] = RecordFiles,
    clock: Callable[[], float] = lambda: FAR_FUTURE,
) -> AsyncIterator[NodeChain]:  # fmt: skip
    """A chain over `directory`. On leaving nothing is flushed, as when the process is killed.

    With `follows` false it stays where it was when it was written.
    """
    for name in ("state", "blocks", "undo"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    writer = ThreadPoolExecutor(1)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(writer.shutdown)
        database = database_of(directory / "state")
        stack.callback(database.close)
        store = Store(
            database,
            files_of(directory / "blocks", "blk", file_bytes_max),
            files_of(directory / "undo", "undo", file_bytes_max),
            writer,
            genesis(params).header.hash,
            indexed,
        )
        stack.callback(store.close)
        verifier = Verifier(processes)
        stack.push_async_callback(verifier.close)
        node = NodeChain(params, store, verifier, clock)
        await restore(node.chain)
        if not follows:
            yield node
            return
        node.follow()

        async def stop() -> None:
            await _end(node.following)

        stack.push_async_callback(stop)
        await node.settled()
        yield node


def with_chain(
    directory: Path, scenario: Callable[[NodeChain], Awaitable[T]], params: Params = REGTEST,
    **options: Any,
) -> T:  # fmt: skip
    """Run `scenario` with a chain in `directory`."""

    async def run() -> T:
        async with open_chain(directory, params, **options) as node:
            return await scenario(node)

    return within_limit(run())


class FragileFiles(RecordFiles):
    """Files that know how much of them would outlast a loss of power."""

    def __init__(self, directory: Path, name: str, file_bytes_max: int) -> None:
        super().__init__(directory, name, file_bytes_max)
        self._where = directory
        self.durable: dict[Path, int] = {}

    def sync(self) -> None:
        sizes = {path: path.stat().st_size for path in self._where.iterdir()}
        super().sync()
        self.durable = sizes

    def lose_power(self, rng: random.Random) -> None:
        """Keep what was synced, and of the rest whatever chance has written."""
        for path in sorted(self._where.iterdir()):
            data = bytearray(path.read_bytes())
            sure = self.durable.get(path, 0)
            for start in range(sure, len(data), 512):
                if rng.random() < 0.5:
                    end = min(start + 512, len(data))
                    data[start:end] = bytes(end - start)
            path.write_bytes(data[: rng.randint(sure, len(data))])


class HeldDatabase(Database):
    """A database whose writes wait, and may fail, as a test says."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.may_write = threading.Event()
        self.may_write.set()
        self.writes = 0
        self.fails = False

    def write(self, rows: Iterable[tuple[bytes, bytes | None]]) -> None:
        self.may_write.wait(LIMIT_S)
        if self.fails:
            raise StorageError("no room on the disk of this test", "make some")
        super().write(rows)
        self.writes += 1
