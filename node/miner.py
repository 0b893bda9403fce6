"""The built-in miner.

Where the difficulty follows the hash rate, processes of low priority search for nonces, each in a
header of its own. Where it does not (regtest), a block is one try away, and the miner keeps a pace
instead.

    idle → template → jobs to the workers → found → submit_known → tip changed → template → …
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec

from consensus.block import Header
from consensus.errors import Rule, Violation
from consensus.hashes import BlockHash, LockHash
from consensus.params import Params
from consensus.tx import EXTRANONCE_BYTES, Tx
from consensus.tx_rules import CheckedTx
from node.events import EventBus, TipChanged
from node.miner_worker import JOB, NONCES, RESULT, search
from node.template import Mined, Template

log = logging.getLogger(__name__)

REFRESH_S = 5.0
"""How old the time and the transactions of a job may become."""
JOBS_PER_WORKER_MAX = 4
"""A nonce for one of the last jobs is still good while the tip is the same."""
RATE_SPAN_S = 60.0
"""The hash rate is that of the last minute."""
RETRY_S = 1.0
"""Pause after something went wrong that may pass."""
GENERATE_TRIES_MAX = 10_000_000
"""Hashes that `generate` spends on one block before it gives up."""
GENERATE_SLICE = 1_000
"""Hashes that `generate` does before others get a turn: about a millisecond."""
_WORKER = Path(__file__).with_name("miner_worker.py")

BuildTemplate = Callable[[LockHash], Template]
"""A template on the present tip. Raises: Refused."""
SubmitBlock = Callable[[Header, Tx, Sequence[CheckedTx]], Awaitable[object]]
"""Has the node connect a block: header, coinbase, and the rest as it waited. Raises: Violation."""


class MiningError(Exception):
    """No block could be made; the text says why."""


class _Job(msgspec.Struct, frozen=True):
    """What one worker searches through."""

    template: Template
    extranonce: bytes
    time: int


class Extranonces:
    """Never gives the same extranonce twice: so no two jobs search the same headers.

    The first half tells miners apart that pay to the same lock, the second counts.
    """

    def __init__(self, prefix: bytes) -> None:
        """`prefix`: 4 random bytes."""
        assert len(prefix) == EXTRANONCE_BYTES - 4
        self._prefix = prefix
        self._count = 0
        self._leased = 0

    def lease(self) -> bytes:
        """4 bytes to begin extranonces with, for somebody who counts through the other half."""
        own = int.from_bytes(self._prefix, "big")
        while True:
            self._leased = (self._leased + 1) % NONCES
            leased = (own + self._leased) % NONCES
            # From zero count those who were given a coinbase by getblocktemplate.
            if leased not in (0, own):
                return leased.to_bytes(4, "big")

    def next(self) -> bytes:
        self._count = (self._count + 1) % NONCES
        return self._prefix + self._count.to_bytes(4, "big")


class HashRate:
    """Hashes a second over the last minute."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock`: seconds that never go back."""
        self._clock = clock
        self._done: deque[tuple[float, int]] = deque()
        self._sum = 0

    def add(self, hashes: int) -> None:
        self._done.append((self._clock(), hashes))
        self._sum += hashes
        self._forget()

    def _forget(self) -> None:
        while self._done and self._done[0][0] < self._clock() - RATE_SPAN_S:
            self._sum -= self._done.popleft()[1]

    def per_second(self) -> float:
        self._forget()
        if not self._done:
            return 0.0
        return self._sum / max(1.0, self._clock() - self._done[0][0])


async def generate(
    count: int, lock: LockHash, build: BuildTemplate, submit: SubmitBlock, extranonces: Extranonces
) -> list[BlockHash]:
    """Mine `count` blocks in this very process, giving others a turn in between.

    Raises: MiningError, when a block takes too many tries; whatever `submit` raises.
    """
    made: list[BlockHash] = []
    for _ in range(count):
        mined = await _find(build(lock), extranonces)
        await submit(*mined)
        made.append(mined.header.hash)
        await asyncio.sleep(0)
    return made


async def _find(template: Template, extranonces: Extranonces) -> Mined:
    extranonce = extranonces.next()
    head = template.header(template.coinbase(extranonce)).raw[:-4]
    target = template.target.to_bytes(32, "big")
    for start in range(0, GENERATE_TRIES_MAX, GENERATE_SLICE):
        nonce = search(head, target, start, GENERATE_SLICE)
        if nonce is not None:
            return template.mined(extranonce, template.time, nonce)
        await asyncio.sleep(0)
    raise MiningError(f"no block in {GENERATE_TRIES_MAX} tries; use the miner's own processes")


class _Worker:
    """One process, from its start to its end."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._stdin = process.stdin
        self._stdout = process.stdout

    @classmethod
    async def start(cls) -> _Worker:
        # Isolated, so that neither the working directory nor the environment can change what it is.
        # A session of its own, so that signals from the terminal reach the node alone.
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-S", str(_WORKER), start_new_session=True,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            )
        )  # fmt: skip

    async def give(self, number: int, job: _Job) -> None:
        """Make it drop what it does and search `job`."""
        template = job.template
        head = template.header(template.coinbase(job.extranonce), job.time).raw[:-4]
        # If it has ended, whoever reads from it finds out.
        with contextlib.suppress(ConnectionError):
            self._stdin.write(JOB.pack(number, head, template.target.to_bytes(32, "big")))
            await self._stdin.drain()

    async def result(self) -> tuple[int, int, bool, int]:
        """Job, hashes done since the last result, whether it found, nonce. Raises: EOFError."""
        number, done, found, nonce = RESULT.unpack(await self._stdout.readexactly(RESULT.size))
        return number, done, bool(found), nonce

    async def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


class Miner:
    """Mines to one lock until it is cancelled. `run` is its whole life."""

    def __init__(
        self, params: Params, payout: LockHash, build: BuildTemplate, submit: SubmitBlock,
        bus: EventBus, clock: Callable[[], float], extranonces: Extranonces, processes: int = 1,
        pace_s: float = 1.0,
    ) -> None:  # fmt: skip
        """`clock`: seconds that never go back. `pace_s`: least time between two own blocks on a
        network of constant difficulty, where nothing else holds them back."""
        self._params = params
        self._payout = payout
        self._build = build
        self._submit = submit
        self._bus = bus
        self._extranonces = extranonces
        self._processes = processes
        self._pace_s = pace_s
        self._rate = HashRate(clock)
        self._workers: set[_Worker] = set()
        self._jobs: dict[int, _Job] = {}
        self._last_job = 0
        self._wake = asyncio.Event()
        self.blocks_found = 0
        self._obstacle: Rule | None = None
        """The rule that stands in the way, and was told."""

    def _complain(self, error: Violation | MiningError) -> None:
        rule = error.rule if isinstance(error, Violation) else None
        if rule is None or rule is not self._obstacle:
            log.warning("mining: %s", error)
        self._obstacle = rule

    @property
    def hash_rate(self) -> float:
        """Hashes a second; 0 where blocks are mined at a pace."""
        return self._rate.per_second()

    async def run(self) -> None:
        """Mine until cancelled."""
        if self._params.retarget:
            await self._search()
        else:
            await self._keep_pace()

    async def _keep_pace(self) -> None:
        while True:
            await asyncio.sleep(self._pace_s)
            try:
                await generate(1, self._payout, self._build, self._submit, self._extranonces)
                self.blocks_found += 1
                self._obstacle = None
            except (Violation, MiningError) as error:
                self._complain(error)
                await asyncio.sleep(RETRY_S)

    async def _search(self) -> None:
        unsubscribe = self._bus.subscribe(TipChanged, self._on_tip_changed)
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(self._processes):
                    tasks.create_task(self._keep_working())
                tasks.create_task(self._feed())
        finally:
            unsubscribe()

    def _on_tip_changed(self, event: TipChanged) -> None:
        self._jobs.clear()
        self._wake.set()

    async def _keep_working(self) -> None:
        """Have one worker at work, and another whenever one ends."""
        while True:
            worker = await _Worker.start()
            self._workers.add(worker)
            self._wake.set()
            try:
                while True:
                    await self._on_result(*await worker.result())
            except EOFError:
                log.warning("mining: a worker process ended; starting another")
            finally:
                self._workers.discard(worker)
                await worker.stop()
            await asyncio.sleep(RETRY_S)

    async def _on_result(self, number: int, done: int, found: bool, nonce: int) -> None:
        self._rate.add(done)
        job = self._jobs.get(number)
        if not found or job is None:
            return
        mined = job.template.mined(job.extranonce, job.time, nonce)
        try:
            await self._submit(*mined)
            self.blocks_found += 1
            log.info(
                "mining: found block %d %s", job.template.height, mined.header.hash[::-1].hex()
            )
        except Violation as violation:
            log.warning("mining: block refused: %s", violation)
            await asyncio.sleep(RETRY_S)
        self._wake.set()  # the worker waits for a job, even if the tip stayed as it was

    async def _feed(self) -> None:
        """Give out new jobs when the tip changes, and every now and then."""
        while True:
            self._wake.clear()
            try:
                template = self._build(self._payout)
            except Violation as violation:
                self._complain(violation)
                await asyncio.sleep(RETRY_S)
                continue
            self._obstacle = None
            # Blocks may not follow each other too closely. Where they were found faster than that,
            # their times run ahead of the clock, and others would not take the next one yet.
            if template.time > template.now + self._params.future_s:
                await asyncio.sleep(RETRY_S)
                continue
            for worker in tuple(self._workers):
                await worker.give(*self._new_job(template))
            # Not wait_for: in Python 3.11 it loses a cancellation that comes with the event.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REFRESH_S):
                    await self._wake.wait()

    def _new_job(self, template: Template) -> tuple[int, _Job]:
        while len(self._jobs) >= JOBS_PER_WORKER_MAX * self._processes:
            del self._jobs[min(self._jobs)]
        self._last_job += 1
        job = _Job(template, self._extranonces.next(), template.time)
        self._jobs[self._last_job] = job
        return self._last_job, job
