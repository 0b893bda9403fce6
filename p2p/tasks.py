"""Tasks that belong together: none is lost, none fails unseen, all can be ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

log = logging.getLogger(__name__)


class TaskSet:
    """The tasks of one owner."""

    def __init__(self, on_failure: Callable[[BaseException], None]) -> None:
        """`on_failure` is told of what a task raises."""
        self._on_failure = on_failure
        self._tasks: set[asyncio.Task[None]] = set()
        self._endless: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None], endless: bool = False) -> asyncio.Task[None]:
        """Start a task. An `endless` one is cancelled at once by `close`, others may finish."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        if endless:
            self._endless.add(task)
        task.add_done_callback(self._on_done)
        return task

    def let_finish(self) -> None:
        """The task that calls has become one that may finish."""
        task = asyncio.current_task()
        assert task is not None
        self._endless.discard(task)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._endless.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task of the network failed", exc_info=error)
            self._on_failure(error)

    async def close(self, timeout_s: float) -> None:
        """End every task; those that may finish have `timeout_s` for it."""
        for task in tuple(self._endless):
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=timeout_s)
        late = tuple(self._tasks)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
