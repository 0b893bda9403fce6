"""Signatures, checked in bulk by processes and by whoever waits for them, and remembered.

What was verified is remembered by its whole triple (key, digest, signature), never by txid: a block
may carry a known txid with another witness.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from consensus.keys import SigCheck, are_signed
from node.verify_worker import COUNT_BYTES

log = logging.getLogger(__name__)

REMEMBERED_MAX = 100_000
"""Triples remembered at most: twice what a full block can ask for."""
BATCH = 256
"""Signatures sent to a process at once: long enough to pay for the way, short enough to share."""
INLINE_MAX = 16
"""With so few the way to another process takes longer than the work, which is half a millisecond."""
ASKED_MAX = 2
"""Batches that a process has at once, so that it need not wait for the next one."""


class Remembered:
    """A set of the last triples that were verified; the older half is dropped when it is full."""

    def __init__(self, limit: int = REMEMBERED_MAX) -> None:
        self._half = limit // 2
        self._new: set[bytes] = set()
        self._old: set[bytes] = set()

    def unknown(self, checks: Sequence[SigCheck]) -> list[SigCheck]:
        new, old = self._new, self._old
        return [check for check in checks if check not in new and check not in old]

    def add(self, checks: Sequence[SigCheck]) -> None:
        self._new.update(checks)
        if len(self._new) >= self._half:
            self._old, self._new = self._new, set()


class _Batch(NamedTuple):
    """Signatures, and who is told whether all of them hold."""

    checks: Sequence[SigCheck]
    settle: Callable[[bool], None]


class _Worker:
    """One process and what it was asked, over two pipes.

    The pipes are used as they are. What is written to one of the loop's streams leaves at the end of
    a turn, and an answer read from one wakes a task: with few signatures in a batch, the process
    would rest while this one works, and the other way round.
    """

    def __init__(
        self, process: asyncio.subprocess.Process, requests: int, answers: int,
        on_answer: Callable[[], None],
    ) -> None:  # fmt: skip
        """`requests` and `answers` are the ends of its pipes; they are closed with it."""
        self._process = process
        self._requests, self._answers = requests, answers
        self._on_answer = on_answer
        self._asked: deque[_Batch] = deque()
        self._unsent = b""
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        self.waiting = 0
        """Signatures that it has not answered for."""
        self.is_alive = True
        self._is_closed = False
        os.set_blocking(requests, False)
        os.set_blocking(answers, False)
        self._loop.add_reader(answers, self._read)

    @property
    def load(self) -> int:
        """Batches that it has not answered for."""
        return len(self._asked)

    def ask(self, batch: _Batch) -> None:
        self._asked.append(batch)
        self.waiting += len(batch.checks)
        count = len(batch.checks).to_bytes(COUNT_BYTES, "big")
        is_writing = bool(self._unsent)
        self._unsent += count + b"".join(batch.checks)
        if not is_writing:
            self._write()
            if self._unsent:
                self._loop.add_writer(self._requests, self._write)

    def _write(self) -> None:
        try:
            self._unsent = self._unsent[os.write(self._requests, self._unsent) :]
        except BlockingIOError:
            return
        except BrokenPipeError:  # it ended; `_read` is told of it
            self._unsent = b""
        if not self._unsent:
            self._loop.remove_writer(self._requests)

    def _read(self) -> None:
        answers = os.read(self._answers, 4096)
        for answer in answers:
            batch = self._asked.popleft()
            self.waiting -= len(batch.checks)
            try:
                batch.settle(answer == 1)
            except Exception:
                # Without the answers behind it, each batch would get that of another one.
                log.exception("telling what became of signatures failed")
        if answers:
            self._on_answer()
            return
        self.is_alive = False
        self._loop.remove_reader(self._answers)
        os.close(self._answers)
        self._finishing = self._loop.create_task(self._finish())

    async def _finish(self) -> None:
        """Do what an ended process left undone."""
        if self._asked:
            log.warning("a signature process ended; its work is done here")
        while self._asked:
            await _check_here(self._asked[0])
            self._asked.popleft()
        self.end_requests()
        self._ended.set_result(None)

    def end_requests(self) -> None:
        """Send nothing more; the process ends when it has answered."""
        if not self._is_closed:
            self._is_closed = True
            self._loop.remove_writer(self._requests)
            os.close(self._requests)

    async def close(self) -> None:
        self.end_requests()
        await self._process.wait()
        await self._ended


async def _check_here(batch: _Batch) -> None:
    """Check a batch in this process, so much at a time that others get their turn."""
    for start in range(0, len(batch.checks), INLINE_MAX):
        if not are_signed(batch.checks[start : start + INLINE_MAX]):
            batch.settle(False)
            return
        await asyncio.sleep(0)
    batch.settle(True)


class Verifier:
    """Checks signatures: a few at once here, many in processes that start when they are needed.

    Whoever waits for a verdict checks batches itself meanwhile: with a process less than cores, none
    of them takes a core from this one, and none is idle.
    """

    def __init__(self, process_count: int) -> None:
        """With no processes everything is checked here."""
        self._process_count = process_count
        self._workers: list[_Worker] = []
        self._waiting: deque[_Batch] = deque()
        self._starting = asyncio.Lock()
        self._remembered = Remembered()
        self._is_closed = False
        self._cannot_start = False
        self._background: asyncio.Task[None] | None = None

    def verify_now(self, checks: Sequence[SigCheck]) -> bool:
        """Check here, and remember if all hold. For the few signatures of one transaction."""
        unknown = self._remembered.unknown(checks)
        if unknown and not are_signed(unknown):
            return False
        self._remembered.add(unknown)
        return True

    def batch(self) -> VerifyBatch:
        """A collection of signatures to be checked while they are being collected."""
        return VerifyBatch(self, self._remembered)

    def send_few(self, checks: Sequence[SigCheck], on_done: Callable[[], None]) -> bool:
        """Have a few signatures checked by a process that has little to do; False if none has.

        If all hold they are remembered, so that `verify_now` need not check them again.
        """

        def settle(verdict: bool) -> None:
            if verdict:
                self._remembered.add(checks)
            on_done()

        if self._waiting:
            return False
        for worker in self._workers:
            if worker.is_alive and worker.waiting + len(checks) <= INLINE_MAX:
                worker.ask(_Batch(checks, settle))
                return True
        return False

    def start_soon(self) -> None:
        """Start the processes that are missing, in the background."""
        if self._background is None or self._background.done():
            self._background = asyncio.create_task(self._start_processes())

    async def send(self, checks: Sequence[SigCheck]) -> asyncio.Future[bool]:
        """Have `checks` checked, by a process or by whoever waits for it; the result tells."""
        told = asyncio.get_running_loop().create_future()

        def settle(verdict: bool) -> None:
            if not told.done():  # whoever waited may have given up
                told.set_result(verdict)

        self._waiting.append(_Batch(checks, settle))
        await self._start_processes()
        self._feed()
        return told

    def _feed(self) -> None:
        """Give each process something to do."""
        alive = [worker for worker in self._workers if worker.is_alive]
        while alive and self._waiting:
            worker = min(alive, key=lambda worker: worker.load)
            if worker.load >= ASKED_MAX:
                break
            worker.ask(self._waiting.popleft())

    async def wait(self, verdict: asyncio.Future[bool]) -> bool:
        """The verdict; until it is known, this checks what no process has begun with."""
        while not verdict.done():
            if self._waiting:
                batch = self._waiting.popleft()
                try:
                    await _check_here(batch)
                except asyncio.CancelledError:
                    self._waiting.appendleft(batch)  # others may wait for it too
                    raise
            else:
                await asyncio.wait([verdict])
        return verdict.result()

    async def _start_processes(self) -> None:
        """Start those that are missing. None once this is closed."""
        async with self._starting:
            self._workers = [worker for worker in self._workers if worker.is_alive]
            while len(self._workers) < self._process_count and not self._is_closed:
                try:
                    self._workers.append(await _start_worker(self._feed))
                except OSError as error:
                    if not self._cannot_start:
                        log.warning("cannot start a signature process: %s", error.strerror)
                    self._cannot_start = True
                    break

    async def close(self) -> None:
        self._is_closed = True
        async with self._starting:  # one may be about to start
            for worker in self._workers:
                await worker.close()


def _module_path() -> str:
    """Where this process looks for modules: a signature process must not look elsewhere first."""
    return os.pathsep.join(os.path.abspath(place) for place in sys.path)


async def _start_worker(on_answer: Callable[[], None]) -> _Worker:
    """Raises: OSError."""
    request_end, requests = os.pipe()
    answers, answer_end = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "node.verify_worker",
            env={**os.environ, "PYTHONPATH": _module_path()},
            stdin=request_end,
            stdout=answer_end,
            # Ctrl-C in a terminal reaches the whole group; the node ends its processes itself.
            start_new_session=True,
        )
    except BaseException:
        os.close(requests)
        os.close(answers)
        raise
    finally:
        os.close(request_end)
        os.close(answer_end)
    return _Worker(process, requests, answers, on_answer)


class VerifyBatch:
    """Signatures of one block. `add` them as they come, then ask for the `verdict`."""

    def __init__(self, verifier: Verifier, remembered: Remembered) -> None:
        self._verifier = verifier
        self._remembered = remembered
        self._waiting: list[SigCheck] = []
        self._answers: list[asyncio.Future[bool]] = []

    async def add(self, checks: Sequence[SigCheck]) -> None:
        self._waiting += self._remembered.unknown(checks)
        if len(self._waiting) >= BATCH:
            await self._send()

    async def finish(self) -> None:
        """No more will be added. Sent only when the verdict is asked for, the last signatures would
        stand behind those of the blocks that were added meanwhile."""
        if len(self._waiting) > INLINE_MAX:
            await self._send()

    async def _send(self) -> None:
        self._answers.append(await self._verifier.send(self._waiting))
        self._waiting = []

    async def verdict(self) -> bool:
        """Whether every signature holds."""
        await self.finish()
        if not are_signed(self._waiting):
            return False
        # All of them: what nobody waits for would be checked all the same, and later.
        return all([await self._verifier.wait(answer) for answer in self._answers])
