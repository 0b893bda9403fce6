"""An event loop whose time is virtual: when nothing is ready, it jumps to what comes next.

It knows no sockets, threads or signals. What a node does carries the node's `Domain` in its context;
once a domain is dead, nothing of it runs any more, as if its process had been killed.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import heapq
import itertools
import sys
import time
import warnings
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

STEPS_MAX = 20_000_000
"""Callbacks of one run at most."""
PRUNED_EVERY = 128
MARKED_EVERY = 256
STEPS_AT_ONCE_MAX = 200_000
"""Callbacks without any time passing: more of them are a loop that spins."""


class Crashed(BaseException):
    """The process of a node was killed at this point. Not an `Exception`: nothing may handle it."""


class Stuck(AssertionError):
    """The simulated world does not go on."""


class Domain:
    """What one process of a node has started."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_dead = False
        self._tasks: list[asyncio.Task[Any]] = []
        self.context = contextvars.copy_context()
        self.context.run(_DOMAIN.set, self)

    def add(self, task: asyncio.Task[Any]) -> None:
        """A task began."""
        self._tasks.append(task)
        if len(self._tasks) % PRUNED_EVERY == 0:
            self.forget_ended()

    def forget_ended(self) -> None:
        """Let go of tasks that have ended: what nobody asked of them is told to the loop then."""
        self._tasks = self.running()

    def running(self) -> list[asyncio.Task[Any]]:
        """Its tasks that have not ended."""
        return [task for task in self._tasks if not task.done()]


_DOMAIN: contextvars.ContextVar[Domain | None] = contextvars.ContextVar("domain", default=None)


class Slow(Executor):
    """Does one thing after the other, each after a delay in virtual time."""

    def __init__(self, delay_s: Callable[[], float]) -> None:
        self._delay_s = delay_s
        self._free_at = 0.0

    def run(self, loop: VirtualLoop, work: Callable[[], T]) -> asyncio.Future[T]:
        result: asyncio.Future[T] = loop.create_future()

        def do() -> None:
            try:
                done = work()
            except Exception as error:
                result.set_exception(error)
            else:
                result.set_result(done)

        self._free_at = max(self._free_at, loop.time()) + self._delay_s()
        loop.call_at(self._free_at, do)
        return result


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs callbacks in the order of their virtual time, and of their coming."""

    def __init__(self) -> None:
        self._now = 0.0
        self._soon: deque[tuple[asyncio.Handle, Domain | None]] = deque()
        self._later: list[tuple[float, int, asyncio.TimerHandle, Domain | None]] = []
        self._count = itertools.count()
        self._runs = False
        self._is_over = False
        self._kept: list[Domain] = []
        """Dead ones: what they left half done must not be thrown away, and run, in the middle."""
        self.failures: list[str] = []
        """What went wrong in callbacks and tasks that nobody looked after."""
        self.slowest = (0.0, "")
        """Seconds of processor time of the longest callback, and which it was."""
        self.steps = 0
        self._mark, self._marked_s = time.thread_time(), 0.0
        """Processor time when it was last asked for, and how long callbacks took since then."""
        super().__init__()

    # Time

    def time(self) -> float:
        return self._now

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:  # fmt: skip
        if context is None:  # an empty one is false, too
            context = contextvars.copy_context()
        handle = asyncio.Handle(callback, args, self, context)
        self._soon.append((handle, context.get(_DOMAIN)))
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:  # fmt: skip
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:  # fmt: skip
        return self.call_at(self._now + max(0.0, delay), callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:  # fmt: skip
        if context is None:  # an empty one is false, too
            context = contextvars.copy_context()
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._later, (when, next(self._count), handle, context.get(_DOMAIN)))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """What asyncio tells a loop. It is skipped when its time comes."""

    # Futures and tasks

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Any, *, name: object = None, context: contextvars.Context | None = None,
    ) -> asyncio.Task[Any]:  # fmt: skip
        if context is None:  # an empty one is false, too
            context = contextvars.copy_context()
        task: asyncio.Task[Any] = asyncio.Task(
            coro, loop=self, name=None if name is None else str(name), context=context
        )
        domain = context.get(_DOMAIN)
        if domain is not None:
            domain.add(task)
        return task

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """`executor` is a `Slow` one, which takes virtual time."""
        assert isinstance(executor, Slow)
        return executor.run(self, lambda: func(*args))

    # Running

    def run_until_complete(self, future: Any) -> Any:
        """Run until the coroutine has ended; return what it did. Raises: Stuck, what it raises."""
        before = events._get_running_loop()
        events._set_running_loop(self)
        self._runs = True
        try:
            task = self.create_task(future)
            quiet = 0
            while not task.done():
                quiet = self._step(quiet)
            return task.result()
        finally:
            self._runs = False
            events._set_running_loop(before)

    def _step(self, quiet: int) -> int:
        """Run what comes next; `quiet` counts steps in which no time passed."""
        while self._later and (self._later[0][2].cancelled() or _is_dead(self._later[0][3])):
            heapq.heappop(self._later)
        if not self._soon:
            if not self._later:
                raise Stuck("nothing will ever happen again")
            self._now = max(self._now, self._later[0][0])
            quiet = 0
        while self._later and self._later[0][0] <= self._now:
            _, _, timer, domain = heapq.heappop(self._later)
            if not timer.cancelled():
                self._soon.append((timer, domain))
        handle, domain = self._soon.popleft()
        if not handle.cancelled() and not _is_dead(domain):
            began = time.perf_counter()
            handle._run()
            self._note_time(time.perf_counter() - began, handle)
        self.steps += 1
        if quiet > STEPS_AT_ONCE_MAX or self.steps > STEPS_MAX:
            raise Stuck(f"it spins: {handle!r}")
        return quiet + 1

    def _note_time(self, took_s: float, handle: asyncio.Handle) -> None:
        """A callback took so long by the clock. Processor time costs a system call, each as much as many
        callbacks, so it is asked for when that can matter, and now and then."""
        self._marked_s += took_s
        is_long = took_s > self.slowest[0]
        if not is_long and self.steps % MARKED_EVERY:
            return
        now = time.thread_time()
        # All callbacks since the mark used that; the others no more of it than they took.
        spent = min(took_s, now - self._mark - (self._marked_s - took_s))
        if spent > self.slowest[0]:
            self.slowest = (spent, repr(handle))
        self._mark, self._marked_s = now, 0.0

    def kill(self, domain: Domain) -> None:
        """Nothing of it runs any more."""
        domain.is_dead = True
        domain.forget_ended()
        self._kept.append(domain)

    def close(self) -> None:
        """Let go of everything, also of what killed processes left half done."""
        self._is_over = True
        before = sys.unraisablehook
        # What is left half done runs its `finally` when it is thrown away, in a world that has ended.
        sys.unraisablehook = lambda unraisable: None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                self._soon.clear()
                self._later.clear()
                self._kept.clear()
                gc.collect()
        finally:
            sys.unraisablehook = before

    def is_running(self) -> bool:
        return self._runs

    def is_closed(self) -> bool:
        return self._is_over

    def get_debug(self) -> bool:
        return False

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.call_exception_handler(context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        message = str(context.get("message"))
        # Killed processes leave tasks and errors behind that nobody will ask for.
        if not isinstance(error, Crashed) and "was destroyed" not in message:
            self.failures.append(f"{message}: {error!r}")


def _is_dead(domain: Domain | None) -> bool:
    return domain is not None and domain.is_dead


def run(loop: VirtualLoop, work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a virtual loop."""
    result: T = loop.run_until_complete(work)
    return result
