"""Sessions on a toy chain: what a server would do, without sockets and with a clock that is set."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from consensus.hashes import LockHash
from consensus.params import Params
from consensus.pow import target_of
from node.stratum.difficulty import EXPONENT_MAX, exponent_within
from node.stratum.messages import Refusal, Refused
from node.stratum.session import Session
from node.stratum.workers import Worker, Workers
from node.template import Mined, Template, TemplateBuilder
from tests.node.mempool_kit import PARAMS, Pool
from tests.support.chain import ALICE, BOB, solve
from tests.support.stratum_miner import Work

EXTRANONCE1 = b"\x01\x02\x03\x04"
EASY = msgspec.structs.replace(PARAMS, retarget=True, pow_limit_bits=0x1F7FFFFF)
"""A network where blocks are worth their work: some 500 tries."""


class FakeOffice:
    """Answers from a pool, and keeps the blocks that are found."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.retargets = pool.chain.params.retarget
        self.workers = Workers()
        self.blocks: list[Mined] = []
        self.is_open = True
        self.numbers = 0
        self.monotonic = 1_000.0
        chain = pool.chain
        self.templates = TemplateBuilder(
            chain.tree, pool.mempool, chain.supply, lambda: pool.now, allow_stale_genesis=True
        )

    def pass_time(self, seconds: float) -> None:
        self.pool.now += seconds
        self.monotonic += seconds

    def now(self) -> float:
        return self.monotonic

    def time(self) -> float:
        return self.pool.now

    def time_max(self) -> int:
        return int(self.pool.now) + self.pool.chain.params.future_s

    def payee(self, name: str) -> tuple[LockHash, str]:
        people = {"alice": ALICE, "bob": BOB}
        person = people.get(name.partition(".")[0])
        if person is None:
            raise Refused(Refusal.UNAUTHORIZED, "nobody of that name")
        return person.lock, person.address()

    def arrive(self, name: str, address: str) -> Worker:
        return self.workers.arrive(name, address, self.pool.now)

    def exponents(self, template: Template) -> tuple[int, int]:
        easiest = exponent_within(target_of(self.pool.chain.params.pow_limit_bits))
        return easiest, exponent_within(template.target) if self.retargets else EXPONENT_MAX

    def template(self, payout: LockHash) -> Template | None:
        return self.templates.build(self.pool.chain.tip, payout) if self.is_open else None

    def next_number(self) -> str:
        self.numbers += 1
        return f"{self.numbers:x}"

    def is_current(self, template: Template) -> bool:
        return template.parent is self.pool.chain.tip

    def found(self, mined: Mined, worker: Worker) -> None:
        self.blocks.append(mined)

    def connect(self) -> None:
        """Connect the last block that was found, by every rule."""
        block = self.pool.chain.connect(self.blocks[-1].block.raw)
        self.pool.mempool.block_connected(block)
        self.pool.mempool.tip_changed()


class Desk:
    """One session, and a miner in front of it that reads what it is sent."""

    def __init__(self, office: FakeOffice, extranonce1: bytes = EXTRANONCE1) -> None:
        self.office = office
        self.lines: list[dict[str, Any]] = []
        self.works: list[Work] = []
        self.difficulty = 1.0
        self.extranonce1 = extranonce1.hex()
        self.session = Session(office, extranonce1, self._read)

    def _read(self, line: bytes) -> None:
        assert line.endswith(b"\n")
        assert b"\n" not in line[:-1]
        message = json.loads(line)
        self.lines.append(message)
        if message.get("method") == "mining.set_difficulty":
            (self.difficulty,) = message["params"]
        elif message.get("method") == "mining.notify":
            self.works.append(Work(self.difficulty, *message["params"]))

    def ask(self, method: str, *params: Any) -> Any:
        """The result, or the code of the refusal below zero."""
        before = len(self.lines)
        self.session.take(json.dumps({"id": 7, "method": method, "params": params}).encode())
        reply = self.lines[before]
        assert reply["id"] == 7
        return -reply["error"][0] if reply["error"] else reply["result"]

    def begin(self, name: str = "alice") -> Work:
        """Subscribe and authorize; the first job."""
        assert self.ask("mining.subscribe", "miner/1") is not None
        assert self.ask("mining.authorize", name, "x") is True
        return self.works[-1]

    def search(
        self, work: Work, extranonce2: str = "00000000", time: str | None = None, rolled: int = 0,
        target: int | None = None, misses: bool = False, name: str = "alice",
    ) -> list[str]:  # fmt: skip
        """A share of `work`; with `misses` what is no share."""
        head = work.head(self.extranonce1, extranonce2, time, rolled)
        nonce = next(
            nonce for nonce in range(1 << 24)
            if (work.digest(head, nonce) <= (target or work.target)) is not misses
        )  # fmt: skip
        share = [name, work.job_id, extranonce2, time or work.time, f"{nonce:08x}"]
        return [*share, f"{rolled:08x}"] if rolled else share

    def submit(self, share: list[str]) -> Any:
        return self.ask("mining.submit", *share)


def desk(params: Params = PARAMS, coins: int = 0) -> Desk:
    """A session on a chain of its own."""
    return Desk(FakeOffice(Pool(params=params, coins=coins)))


def mine_elsewhere(office: FakeOffice) -> None:
    """Somebody else finds the next block."""
    made = office.templates.build(office.pool.chain.tip, BOB.lock)
    block = office.pool.chain.connect(solve(made.mined(bytes(8), made.time, 0).block).raw)
    office.pool.mempool.block_connected(block)
    office.pool.mempool.tip_changed()
