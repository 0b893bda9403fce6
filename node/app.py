"""The node, put together: the one place that creates clock, randomness, store and network.

Parts are opened in order and closed in the opposite order.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from consensus.block import genesis
from consensus.errors import DecodeError, StorageError
from node import db
from node.blockfiles import RecordFiles
from node.config import Settings
from node.datadir import DataDirectory
from node.events import EventBus, TipChanged
from node.ledger import Ledger
from node.policy import Policy
from node.recovery import restore
from node.store import Store
from node.verify import Verifier

log = logging.getLogger(__name__)

VERSION = "0.1.0"
FLUSH_EVERY_S = 60.0
"""Longest time that a connected block waits in memory before it is written to the database."""
MEMPOOL_FILE = "mempool.dat"
MEMPOOL_LOAD_PER_TURN = 10


def tune_garbage_collection() -> None:
    """Collect rarely: blocks are many objects without cycles, and the collector looks at each."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)


class Node:
    """A node with everything that belongs to it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.started_at = time.time()
        self.bus = EventBus()
        self._closers: list[Callable[[], Awaitable[None]]] = []
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks: set[asyncio.Task[None]] = set()

    # Life

    async def run(self) -> None:
        """Start, work until `stop` is called or something breaks, and close everything.

        Raises: StorageError, OSError (a port is taken).
        """
        try:
            await self._start()
            await self._ended
        finally:
            await self._close()

    def stop(self) -> None:
        """Have `run` return soon."""
        if not self._ended.done():
            self._ended.set_result(None)

    def _fail(self, error: BaseException) -> None:
        if not self._ended.done():
            self._ended.set_exception(error)

    def _spawn(self, work: Awaitable[None]) -> asyncio.Task[None]:
        """Run `work` beside everything else; the node ends if it breaks."""

        async def watched() -> None:
            try:
                await work
            except Exception as error:
                self._fail(error)

        task = asyncio.create_task(watched())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _close(self) -> None:
        while self._closers:
            close = self._closers.pop()
            try:
                await close()
            except (StorageError, OSError) as error:
                # What is closed next must be closed all the same.
                log.error("while stopping: %s", error)

    async def _cancel(self, task: asyncio.Task[None]) -> None:
        task.cancel()
        await asyncio.wait([task])

    # Parts

    async def _start(self) -> None:
        settings = self.settings
        params = settings.params
        tune_garbage_collection()
        log.info("tael %s, network %s", VERSION, params.name.decode())
        self.directory = DataDirectory(settings.datadir)
        self._closers.append(self._close_directory)
        self.store = self._open_store()
        self._closers.append(self._close_store)
        processes = settings.config.verify_processes
        self.verifier = Verifier((os.cpu_count() or 1) if processes < 0 else processes)
        self._closers.append(self.verifier.close)
        policy = Policy(
            min_fee_rate=settings.config.min_fee_rate,
            size_bytes_max=settings.config.mempool_mb * 1_000_000,
        )
        self.ledger = Ledger(
            genesis(params), params, self.store, self.verifier, policy, time.time, self.bus
        )
        await self._start_chain()

    def _open_store(self) -> Store:
        settings, directory = self.settings, self.directory
        if settings.config.reindex:
            log.info("rebuilding the database from the block files")
            db.destroy(directory.state)
        directory.state.mkdir(mode=0o700, exist_ok=True)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="writer")
        return Store(
            db.Database(directory.state),
            RecordFiles(directory.blocks, "blk"),
            RecordFiles(directory.undo, "undo"),
            self._writer,
            genesis(settings.params).header.hash,
            settings.config.index,
        )

    async def _close_directory(self) -> None:
        self.directory.close()

    async def _close_store(self) -> None:
        self._writer.shutdown()
        self.store.close()

    async def _start_chain(self) -> None:
        chain = self.ledger.chain
        began = time.monotonic()
        await restore(chain)
        following = self._spawn(chain.run())
        flushing = self._spawn(self._flush_regularly())
        self._closers.append(self._flush_last)
        self._closers.append(lambda: self._cancel(flushing))
        self._closers.append(lambda: self._cancel(following))
        progress = self._spawn(self._tell_progress())
        await asyncio.wait(
            [asyncio.ensure_future(chain.settled()), self._ended],
            return_when=asyncio.FIRST_COMPLETED,
        )
        await self._cancel(progress)
        if self._ended.done():
            return
        log.info(
            "at block %d, %s, after %.1f s",
            self.ledger.tip.height, self.ledger.tip.hash[::-1].hex(), time.monotonic() - began,
        )  # fmt: skip
        await self._load_mempool()
        self._closers.append(self._save_mempool)
        self.bus.subscribe(TipChanged, self._tell_tip)

    async def _flush_regularly(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            await self.ledger.chain.flush()

    async def _flush_last(self) -> None:
        await self.ledger.chain.flush()
        log.info("state written at block %d", self.ledger.tip.height)

    async def _tell_progress(self) -> None:
        tree = self.ledger.tree
        while True:
            await asyncio.sleep(2)
            log.info("connecting blocks: %d of %d", self.ledger.tip.height, tree.best_header.height)

    def _tell_tip(self, event: TipChanged) -> None:
        log.info("block %d, %s", event.tip.height, event.tip.hash[::-1].hex())

    # Mempool over a restart

    async def _load_mempool(self) -> None:
        data = self.directory.load(MEMPOOL_FILE)
        if data is None:
            return
        kept = lost = 0
        try:
            for number, is_in in enumerate(self.ledger.load_mempool(data), 1):
                kept, lost = kept + is_in, lost + (not is_in)
                if number % MEMPOOL_LOAD_PER_TURN == 0:
                    await asyncio.sleep(0)
        except DecodeError as error:
            log.warning("starting with an empty mempool: %s", error.detail)
            return
        log.info("%d transactions back in the mempool, %d not valid any more", kept, lost)

    async def _save_mempool(self) -> None:
        self.directory.save(MEMPOOL_FILE, self.ledger.mempool.dump())
