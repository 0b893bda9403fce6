"""What one miner is told and asks, without sockets: a line in, lines out.

subscribe, authorize (in any order) → job → submit … → better job, or a new one on a new block
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from consensus.block import VERSION
from consensus.hashes import BlockHash, LockHash
from node.stratum.difficulty import Pace, exponent_below
from node.stratum.jobs import (
    EXTRANONCE1_BYTES,
    EXTRANONCE2_BYTES,
    VERSION_MASK,
    Job,
    Solution,
    is_block,
    is_share,
    make_job,
)
from node.stratum.messages import (
    LineError,
    Refusal,
    Refused,
    Request,
    answer,
    bytes_at,
    decode_request,
    notify,
    refuse,
    text_at,
)
from node.stratum.workers import Worker
from node.template import Mined, Template

JOBS_MAX = 8
"""Jobs of a connection that shares are taken for."""
SEEN_MAX = 4_000
"""Shares that are remembered, lest one is handed in twice: those of hours."""
BETTER_AFTER_S = 15.0
"""Age of a job from which on it gives way to one that pays more."""
JOB_AGE_MAX_S = 60.0
"""Age at which it gives way to any, for the time in its header."""
FIRST_EXPONENT = 0
"""Difficulty 1 is right for hardly anybody, and soon left."""
REFUSED_IN_A_ROW_MAX = 100
"""Requests that are refused without a good share between them, until the miner is sent away."""
WORKERS_PER_CONNECTION_MAX = 16
NAME_CHARS_MAX = 128
AGENT_CHARS_MAX = 64
EXTENSIONS_MAX = 16


class Hopeless(Exception):
    """The connection is to be ended; the text says why."""


class Office(Protocol):
    """What sessions ask of the node."""

    retargets: bool
    """Whether a block is worth its work; otherwise any share may be one."""

    def now(self) -> float:
        """Seconds that never go back."""

    def time(self) -> float:
        """Seconds since 1970."""

    def time_max(self) -> int:
        """The latest time that a header may have, in seconds since 1970."""

    def payee(self, name: str) -> tuple[LockHash, str]:
        """Lock and address that a worker of this name works for. Raises: Refused."""

    def arrive(self, name: str, address: str) -> Worker:
        """A worker is there, on one more connection."""

    def exponents(self, template: Template) -> tuple[int, int]:
        """The easiest and the hardest difficulty that shares of a template may have."""

    def template(self, payout: LockHash) -> Template | None:
        """What to mine now; None while there is nothing."""

    def next_number(self) -> str:
        """A name for a job that no other has."""

    def is_current(self, template: Template) -> bool:
        """Whether a block of it would still be the next one."""

    def found(self, mined: Mined, worker: Worker) -> None:
        """A block is found; the node is to connect it."""


class Session:
    """The state of one connection."""

    def __init__(self, office: Office, extranonce1: bytes, send: Callable[[bytes], None]) -> None:
        assert len(extranonce1) == EXTRANONCE1_BYTES
        self._office = office
        self._extranonce1 = extranonce1
        self._send = send
        self._agent = ""
        self._is_subscribed = False
        self._version_mask = 0
        self._workers: dict[str, Worker] = {}
        self._payout: tuple[LockHash, str] | None = None
        self._pace: Pace | None = None
        self._suggested: int | None = None
        self._told: int | None = None
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._seen: dict[BlockHash, None] = {}
        self._refused_in_a_row = 0
        self.shares = 0
        """Those that were accepted."""

    @property
    def is_at_work(self) -> bool:
        """Whether it can have jobs."""
        return self._is_subscribed and self._payout is not None

    def close(self) -> None:
        """The connection has ended."""
        for worker in self._workers.values():
            worker.connections -= 1
        self._workers.clear()

    # Lines in

    def take(self, line: bytes) -> None:
        """Answer one line. Raises: Hopeless."""
        try:
            request = decode_request(line)
        except LineError as error:
            raise Hopeless(f"not a request: {error}") from None
        if request.method is None:
            return  # an answer, and nothing was asked that matters
        method = METHODS.get(request.method)
        try:
            if method is None:
                raise Refused(Refusal.OTHER, "no such method")
            self._send(answer(request.id, method(self, request.params or [])))
        except Refused as refused:
            self._send(refuse(request.id, refused))
            self._refused_in_a_row += 1
            if self._refused_in_a_row > REFUSED_IN_A_ROW_MAX:
                raise Hopeless("too much of what it sends is refused") from None
        self._after(request)

    def _after(self, request: Request) -> None:
        """What follows the answer, not to come before it."""
        if not self.is_at_work:
            return
        if self._pace is None or request.method == "mining.suggest_difficulty":
            self.renew(is_clean=not self._jobs)
        elif request.method == "mining.submit":
            self.adjust()

    def subscribe(self, params: list[Any]) -> object:
        self._agent = str(params[0])[:AGENT_CHARS_MAX] if params else ""
        self._is_subscribed = True
        mark = self._extranonce1.hex()
        kinds = [["mining.set_difficulty", mark], ["mining.notify", mark]]
        return [kinds, mark, EXTRANONCE2_BYTES]

    def authorize(self, params: list[Any]) -> object:
        name = text_at(params, 0)
        if len(name) > NAME_CHARS_MAX:
            raise Refused(Refusal.UNAUTHORIZED, "the user name is too long")
        if name in self._workers:
            return True
        if len(self._workers) >= WORKERS_PER_CONNECTION_MAX:
            raise Refused(Refusal.UNAUTHORIZED, "too many workers on one connection")
        payee = self._office.payee(name)
        if self._payout not in (None, payee):
            raise Refused(Refusal.UNAUTHORIZED, "one connection works for one address")
        self._payout = payee
        worker = self._workers[name] = self._office.arrive(name, payee[1])
        worker.agent = self._agent or worker.agent
        if self._told is not None:
            worker.difficulty = 2.0**self._told
        return True

    def configure(self, params: list[Any]) -> object:
        wanted = params[0] if params else None
        options = params[1] if len(params) > 1 else {}
        if not isinstance(wanted, list) or not isinstance(options, dict):
            raise Refused(Refusal.OTHER, "a list of extensions and their options are expected")
        result: dict[str, object] = {}
        for extension in wanted[:EXTENSIONS_MAX]:
            if extension == "version-rolling":
                mask = options.get("version-rolling.mask", "ffffffff")
                self._version_mask = VERSION_MASK & int.from_bytes(bytes_at([mask], 0, 4), "big")
                result["version-rolling"] = self._version_mask != 0
                result["version-rolling.mask"] = f"{self._version_mask:08x}"
            elif extension == "subscribe-extranonce":
                result[extension] = True
            elif isinstance(extension, str):
                result[extension[:AGENT_CHARS_MAX]] = False
        return result

    def subscribe_extranonce(self, params: list[Any]) -> object:
        return True  # it never changes

    def suggest_difficulty(self, params: list[Any]) -> object:
        wanted = params[0] if params else None
        if isinstance(wanted, bool) or not isinstance(wanted, int | float):
            raise Refused(Refusal.OTHER, "a difficulty is a number")
        self._suggested = exponent_below(wanted)
        if self._pace is not None:
            self._pace.set(self._suggested, self._office.now())
        return True

    def submit(self, params: list[Any]) -> object:
        if not self._is_subscribed:
            raise Refused(Refusal.NOT_SUBSCRIBED, "not subscribed")
        worker = self._workers.get(text_at(params, 0))
        if worker is None:
            raise Refused(Refusal.UNAUTHORIZED, "no such worker here: authorize first")
        try:
            self._take_share(worker, params)
        except Refused as refused:
            worker.refused[refused.reason] += 1
            raise
        self._refused_in_a_row = 0
        return True

    def _take_share(self, worker: Worker, params: list[Any]) -> None:
        office = self._office
        job = self._jobs.get(text_at(params, 1))
        solution = self._solution(params)
        if job is None or not office.is_current(job.template):
            raise Refused(Refusal.STALE, "job not found, or out of date")
        if not job.template.time_min <= solution.time <= office.time_max():
            raise Refused(Refusal.OTHER, "ntime out of range")
        header = job.header(self._extranonce1, solution)
        if header.hash in self._seen:  # two jobs can have one header, so not by job
            raise Refused(Refusal.DUPLICATE, "duplicate share")
        assert self._pace is not None
        # Some miners take a new difficulty for jobs that they have, as others do for the next only.
        exponent = min(job.exponent, self._pace.exponent)
        wins = is_block(header, job.template)
        if not is_share(header, exponent) and not (wins and office.retargets):
            raise Refused(Refusal.LOW_DIFFICULTY, "low difficulty share")
        self._seen[header.hash] = None
        while len(self._seen) > SEEN_MAX:
            del self._seen[next(iter(self._seen))]
        self.shares += 1
        self._pace.add_share()
        worker.add_share(2.0**exponent, office.time())
        if wins:
            office.found(job.mined(self._extranonce1, solution, header), worker)

    def _solution(self, params: list[Any]) -> Solution:
        version = VERSION
        if len(params) > 5:
            bits = int.from_bytes(bytes_at(params, 5, 4), "big")
            if bits & ~self._version_mask:
                raise Refused(Refusal.OTHER, "version bits outside the mask")
            version |= bits
        return Solution(
            extranonce2=bytes_at(params, 2, EXTRANONCE2_BYTES),
            time=int.from_bytes(bytes_at(params, 3, 4), "big"),
            nonce=int.from_bytes(bytes_at(params, 4, 4), "big"),
            version=version,
        )

    # Jobs out

    def renew(self, is_clean: bool) -> None:
        """Give a new job, if there is one. `is_clean`: all earlier ones are worth nothing now."""
        assert self._payout is not None
        template = self._office.template(self._payout[0])
        if template is None:
            return
        now = self._office.now()
        low, high = self._office.exponents(template)
        if self._pace is None:
            first = FIRST_EXPONENT if self._office.retargets else low
            self._pace = Pace(first if self._suggested is None else self._suggested, now)
        held = max(low, min(high, self._pace.exponent))
        if held != self._pace.exponent:
            self._pace.set(held, now)
        if held != self._told:
            self._told = held
            self._send(notify("mining.set_difficulty", [_number(2.0**held)]))
            for worker in self._workers.values():
                worker.difficulty = 2.0**held
        if is_clean:
            self._jobs.clear()
            self._seen.clear()
        job = make_job(self._office.next_number(), template, held, now)
        self._jobs[job.number] = job
        while len(self._jobs) > JOBS_MAX:
            self._jobs.popitem(last=False)
        self._send(notify("mining.notify", job.notification(is_clean)))

    def refresh(self) -> None:
        """Give a job, if the last one is worth nothing any more, pays less than another, or is old."""
        assert self._payout is not None
        last = next(reversed(self._jobs.values()), None)
        if last is None or not self._office.is_current(last.template):
            self.renew(is_clean=True)
            return
        age_s = self._office.now() - last.at
        if age_s < BETTER_AFTER_S:
            return
        template = self._office.template(self._payout[0])
        is_better = template is not None and template.value > last.template.value
        if is_better or age_s >= JOB_AGE_MAX_S:
            self.renew(is_clean=False)

    def adjust(self) -> None:
        """Make shares harder or easier, if they come too often or too seldom."""
        last = next(reversed(self._jobs.values()), None)
        if self._pace is None or last is None:
            return
        low, high = self._office.exponents(last.template)
        if self._pace.adjust(self._office.now(), low, high):
            self.renew(is_clean=False)


def _number(difficulty: float) -> int | float:
    """Some miners read whole numbers only as such."""
    return int(difficulty) if difficulty >= 1 else difficulty


METHODS: Mapping[str, Callable[[Session, list[Any]], object]] = {
    "mining.subscribe": Session.subscribe,
    "mining.authorize": Session.authorize,
    "mining.configure": Session.configure,
    "mining.extranonce.subscribe": Session.subscribe_extranonce,
    "mining.suggest_difficulty": Session.suggest_difficulty,
    "mining.submit": Session.submit,
}
"""What a miner may ask."""
