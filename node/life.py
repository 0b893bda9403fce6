"""Parts that start one after the other and end in the opposite order, and the work beside them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from consensus.errors import StorageError

_log = logging.getLogger(__name__)
Close = Callable[[], Awaitable[None]]


class Life:
    """Of something that is put together from parts."""

    def __init__(self) -> None:
        self._closers: list[Close] = []
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, start: Callable[[], Awaitable[None]], before_closing: Close) -> None:
        """Start, work until `end` is called or something breaks, and close everything.

        Raises: what `start` and the tasks raise; StorageError, OSError of closing.
        """

        async def starting() -> None:
            await start()

        task = asyncio.create_task(starting())
        try:
            await asyncio.wait([task, self._ended], return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                await task
            await self._ended
        finally:
            # A long start, such as a reindex, does not hold up whoever wants to stop.
            await cancel(task)
            await before_closing()
            broken = await self._close()
        if broken is not None:
            raise broken

    def end(self) -> None:
        """Have `run` return soon."""
        if not self._ended.done():
            self._ended.set_result(None)

    def fail(self, error: BaseException) -> None:
        """Have `run` raise it soon."""
        if not self._ended.done():
            self._ended.set_exception(error)

    def at_end(self, close: Close) -> None:
        """Have `close` awaited at the end, before what was given earlier."""
        self._closers.append(close)

    def spawn(self, work: Awaitable[None]) -> asyncio.Task[None]:
        """Run `work` beside everything else; all ends if it breaks."""

        async def watched() -> None:
            try:
                await work
            except Exception as error:
                self.fail(error)

        task = asyncio.create_task(watched())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def keep(self, work: Awaitable[None]) -> None:
        """Run `work` until the end."""
        task = self.spawn(work)
        self.at_end(lambda: cancel(task))

    async def _close(self) -> StorageError | OSError | None:
        """Close everything; return what went wrong first."""
        broken: StorageError | OSError | None = None
        while self._closers:
            close = self._closers.pop()
            try:
                await close()
            except (StorageError, OSError) as error:
                # What is closed next must be closed all the same.
                _log.error("while stopping: %s", error)
                broken = broken or error
        return broken


async def cancel(task: asyncio.Task[None]) -> None:
    """End a task and wait until it has ended."""
    task.cancel()
    await asyncio.wait([task])


def later(call: Callable[[], None]) -> Close:
    """`call` as something to be awaited at the end."""

    async def closer() -> None:
        call()

    return closer
