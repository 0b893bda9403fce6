"""Signatures, checked in bulk by processes and remembered.

What was verified is remembered by its whole triple (key, digest, signature), never by txid: a block
may carry a known txid with another witness.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections import deque
from collections.abc import Sequence

from consensus.keys import SigCheck, are_signed
from node.verify_worker import COUNT_BYTES

log = logging.getLogger(__name__)

REMEMBERED_MAX = 100_000
"""Triples remembered at most: twice what a full block can ask for."""
BATCH = 256
"""Signatures sent to a process at once: long enough to pay for the way, short enough to share."""
INLINE_MAX = 16
"""With so few the way to another process takes longer than the work."""


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


class _Worker:
    """One process and what it was asked."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._asked: deque[tuple[Sequence[SigCheck], asyncio.Future[bool]]] = deque()
        self._reader = asyncio.create_task(self._read())
        self.is_alive = True

    @property
    def load(self) -> int:
        return len(self._asked)

    def ask(self, checks: Sequence[SigCheck], answer: asyncio.Future[bool]) -> None:
        self._asked.append((checks, answer))
        assert self._process.stdin is not None
        self._process.stdin.write(len(checks).to_bytes(COUNT_BYTES, "big") + b"".join(checks))

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while answers := await self._process.stdout.read(4096):
            for answer in answers:
                self._answer(answer == 1)
        self.is_alive = False
        if self._asked:
            log.warning("a signature process ended; its work is done here")
        while self._asked:
            self._answer(are_signed(self._asked[0][0]))
            # There may be thousands, and others wait for their turn.
            await asyncio.sleep(0)

    def _answer(self, verdict: bool) -> None:
        _, future = self._asked.popleft()
        if not future.done():
            future.set_result(verdict)

    async def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        await self._reader


class Verifier:
    """Checks signatures: a few at once here, many in processes that start when they are needed."""

    def __init__(self, process_count: int) -> None:
        """With no processes everything is checked inline."""
        self._process_count = process_count
        self._workers: list[_Worker] = []
        self._starting = asyncio.Lock()
        self._remembered = Remembered()
        self._is_closed = False
        self._cannot_start = False

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

    async def send(self, checks: Sequence[SigCheck]) -> asyncio.Future[bool]:
        """Have a process check `checks`; the result tells."""
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        workers = await self._running()
        if workers:
            min(workers, key=lambda worker: worker.load).ask(checks, answer)
        else:
            answer.set_result(are_signed(checks))
        return answer

    async def _running(self) -> Sequence[_Worker]:
        """Processes to ask, started if need be. None once this is closed."""
        async with self._starting:
            self._workers = [worker for worker in self._workers if worker.is_alive]
            while len(self._workers) < self._process_count and not self._is_closed:
                try:
                    self._workers.append(_Worker(await _start_process()))
                except OSError as error:
                    if not self._cannot_start:
                        log.warning("cannot start a signature process: %s", error.strerror)
                    self._cannot_start = True
                    break
            return () if self._is_closed else self._workers

    async def close(self) -> None:
        self._is_closed = True
        async with self._starting:  # one may be about to start
            for worker in self._workers:
                await worker.close()


def _module_path() -> str:
    """Where this process looks for modules: a signature process must not look elsewhere first."""
    return os.pathsep.join(os.path.abspath(place) for place in sys.path)


async def _start_process() -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "node.verify_worker",
        env={**os.environ, "PYTHONPATH": _module_path()},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        # Ctrl-C in a terminal reaches the whole group; the node ends its processes itself.
        start_new_session=True,
    )


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
            self._answers.append(await self._verifier.send(self._waiting))
            self._waiting = []

    async def verdict(self) -> bool:
        """Whether every signature holds."""
        if len(self._waiting) > INLINE_MAX:
            self._answers.append(await self._verifier.send(self._waiting))
        elif not are_signed(self._waiting):
            return False
        return all([await answer for answer in self._answers])
