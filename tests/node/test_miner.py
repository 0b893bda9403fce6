"""The built-in miner, with its real processes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from consensus.block import Header
from consensus.errors import Invalid, Refused, Rule
from consensus.hashes import LockHash
from consensus.params import TEST, Params
from consensus.pow import hash_as_number, target_of
from consensus.tx import Tx
from consensus.tx_rules import CheckedTx
from node import miner as miner_module
from node.events import EventBus, TipChanged
from node.miner import Extranonces, HashRate, Miner, MiningError, generate
from node.miner_worker import JOB, NONCES, RESULT, search
from node.template import Mined, Template, TemplateBuilder
from tests.node.mempool_kit import PARAMS, Pool
from tests.support.chain import ALICE, BOB

EASY = msgspec.structs.replace(TEST, pow_limit_bits=0x1F7FFFFF)
"""A network that retargets, with some 500 tries for a block."""
WORKER = Path(miner_module.__file__).with_name("miner_worker.py")
DEADLINE_S = 20


class Mine:
    """A toy chain with what a miner needs of it."""

    def __init__(self, params: Params) -> None:
        self.pool = Pool(params=params)
        self.pool.now = params.genesis_time + 60.0
        self.bus = EventBus()
        self.refuse = False
        self.connected = 0
        chain = self.pool.chain
        self.templates = TemplateBuilder(
            chain.tree, self.pool.mempool, chain.supply, lambda: self.pool.now
        )

    def build(self, lock: LockHash) -> Template:
        return self.templates.build(self.pool.chain.tip, lock)

    async def submit(self, header: Header, coinbase: Tx, txs: Sequence[CheckedTx]) -> None:
        if self.refuse:
            raise Invalid(Rule.BLOCK_ROOT)
        chain = self.pool.chain
        previous = chain.tip
        block = chain.connect(Mined(header, coinbase, txs).block.raw)
        self.connected += 1
        self.pool.now = max(self.pool.now, float(block.header.time)) + 1
        self.pool.mempool.block_connected(block)
        self.pool.mempool.tip_changed()
        self.bus.emit(TipChanged(chain.tip, previous))

    def miner(self, processes: int = 1, pace_s: float = 0.0) -> Miner:
        return Miner(
            self.pool.chain.params, ALICE.lock, self.build, self.submit, self.bus,
            lambda: self.pool.now, Extranonces(b"test"), processes, pace_s,
        )  # fmt: skip


def mine_until(miner: Miner, is_enough: Callable[[], bool]) -> None:
    """Run `miner` until it is enough, then cancel it as the node does."""

    async def run() -> None:
        task = asyncio.create_task(miner.run())
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not is_enough():
                    assert not task.done()
                    await asyncio.sleep(0.01)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def test_a_nonce_that_was_found_meets_the_target() -> None:
    mine = Mine(EASY)
    made = mine.build(ALICE.lock)
    head = made.header(made.coinbase(bytes(8))).raw[:-4]
    nonce = search(head, made.target.to_bytes(32, "big"), 0, 100_000)
    assert nonce is not None
    header = made.mined(bytes(8), made.time, nonce).header
    assert hash_as_number(header.hash) <= target_of(header.bits)
    assert search(head, made.target.to_bytes(32, "big"), 0, nonce) is None


def test_the_search_ends_with_the_last_nonce() -> None:
    assert search(bytes(76), bytes(32), NONCES - 5, 100) is None


def test_generated_blocks_are_connected() -> None:
    mine = Mine(PARAMS)
    made = run(generate(30, BOB.lock, mine.build, mine.submit, Extranonces(b"test")))
    assert mine.pool.chain.tip.height == 30
    assert made[-1] == mine.pool.chain.tip.hash
    assert mine.pool.chain.blocks[made[0]].txs[0].body.outputs[0].lock == BOB.lock


def test_others_get_a_turn_while_blocks_are_generated() -> None:
    mine = Mine(PARAMS)
    seen: list[int] = []

    async def watch() -> None:
        while len(seen) < 5:
            seen.append(mine.connected)
            await asyncio.sleep(0)

    async def both() -> None:
        extranonces = Extranonces(b"test")
        await asyncio.gather(generate(10, BOB.lock, mine.build, mine.submit, extranonces), watch())

    run(both())
    assert seen == sorted(seen)
    assert 0 < seen[-1] < 10


def test_generating_gives_up_on_a_real_difficulty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(miner_module, "GENERATE_TRIES_MAX", 2_000)
    mine = Mine(TEST)
    with pytest.raises(MiningError):
        run(generate(1, BOB.lock, mine.build, mine.submit, Extranonces(b"test")))


def test_a_process_mines_block_after_block() -> None:
    mine = Mine(EASY)
    miner = mine.miner(processes=2)
    mine_until(miner, lambda: miner.blocks_found >= 5)
    assert mine.pool.chain.tip.height >= 5
    assert miner.hash_rate > 0


def test_processes_end_with_the_miner() -> None:
    mine = Mine(EASY)
    miner = mine.miner(processes=2)
    before = children()
    mine_until(miner, lambda: miner.blocks_found >= 1)
    assert children() <= before


def test_a_miner_goes_on_after_its_process_was_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(miner_module, "RETRY_S", 0.01)
    mine = Mine(EASY)
    miner = mine.miner()
    before = children()
    killed: list[int] = []

    def is_enough() -> bool:
        if not killed and miner.blocks_found:
            killed.extend(children() - before)
            for pid in killed:
                os.kill(pid, 9)
            mine.connected = 0
        return bool(killed) and mine.connected >= 30

    mine_until(miner, is_enough)
    assert len(killed) == 1


def test_a_refused_block_does_not_stop_the_miner(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(miner_module, "RETRY_S", 0.01)
    mine = Mine(EASY)
    mine.refuse = True
    miner = mine.miner()

    def is_enough() -> bool:
        mine.refuse = mine.refuse and "block-root" not in caplog.text
        return miner.blocks_found >= 1

    mine_until(miner, is_enough)
    assert not mine.refuse


def test_a_miner_waits_while_the_chain_is_ahead_of_the_clock() -> None:
    mine = Mine(EASY)
    mine.pool.now = EASY.genesis_time + 1.0
    for _ in range(40):  # each at least 5 s after the one before
        mine.pool.chain.mine()
    miner = mine.miner()
    waited = []

    def is_enough() -> bool:
        waited.append(miner.blocks_found)
        if len(waited) == 30:
            mine.pool.now += 200
        return miner.blocks_found > 0

    mine_until(miner, is_enough)
    assert waited[29] == 0


def test_constant_difficulty_is_mined_at_a_pace() -> None:
    mine = Mine(PARAMS)
    miner = mine.miner(pace_s=0.05)

    async def for_a_while() -> None:
        task = asyncio.create_task(miner.run())
        await asyncio.sleep(0.6)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(for_a_while())
    assert 1 <= miner.blocks_found <= 12
    assert miner.hash_rate == 0


def test_a_stale_genesis_is_waited_out_without_a_block(caplog: pytest.LogCaptureFixture) -> None:
    mine = Mine(EASY)
    mine.pool.now = EASY.genesis_time + 4_000.0
    with pytest.raises(Refused):
        mine.build(ALICE.lock)
    miner = mine.miner()
    mine_until(miner, lambda: "genesis-stale" in caplog.text)
    assert miner.blocks_found == 0


def test_what_keeps_a_miner_waiting_is_told_once_with_a_remedy(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(miner_module, "RETRY_S", 0.01)
    mine = Mine(EASY)
    mine.pool.now = EASY.genesis_time + 4_000.0
    miner = mine.miner()
    looks: list[int] = []

    def is_enough() -> bool:
        looks.append(caplog.text.count("genesis-stale"))
        return looks.count(1) >= 20 or max(looks) > 1

    mine_until(miner, is_enough)
    assert max(looks) == 1
    assert "--mine-stale-genesis" in caplog.text


def test_extranonces_never_repeat() -> None:
    extranonces = Extranonces(b"test")
    made = [extranonces.next() for _ in range(100)]
    assert len(set(made)) == 100
    assert all(len(extranonce) == 8 and extranonce[:4] == b"test" for extranonce in made)


def test_hash_rate_is_that_of_the_last_minute() -> None:
    now = [0.0]
    rate = HashRate(lambda: now[0])
    assert rate.per_second() == 0
    rate.add(1_000)
    now[0] = 10.0
    rate.add(1_000)
    assert rate.per_second() == 200
    now[0] = 65.0
    assert rate.per_second() == 1_000 / 55
    now[0] = 200.0
    assert rate.per_second() == 0


def worker() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def test_a_worker_takes_the_newest_of_several_jobs_even_in_pieces() -> None:
    with worker() as process:
        assert process.stdin is not None
        assert process.stdout is not None
        impossible = JOB.pack(1, bytes(76), bytes(32))
        easy = JOB.pack(2, bytes(76), b"\xff" * 32)
        process.stdin.write(impossible + easy[:50])
        process.stdin.flush()
        assert RESULT.unpack(process.stdout.read(RESULT.size))[0] == 1
        process.stdin.write(easy[50:])
        process.stdin.flush()
        result = RESULT.unpack(process.stdout.read(RESULT.size))
        while result[0] == 1:
            result = RESULT.unpack(process.stdout.read(RESULT.size))
        assert result == (2, 1, 1, 0)
        process.stdin.close()
        assert process.wait(DEADLINE_S) == 0


def test_a_busy_worker_ends_when_its_parent_does() -> None:
    with worker() as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(JOB.pack(1, bytes(76), bytes(32)))
        process.stdin.flush()
        process.stdout.read(RESULT.size)
        process.stdin.close()
        assert process.wait(DEADLINE_S) == 0


def children() -> set[int]:
    """Ids of the worker processes that this process started and that have not ended."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        # A thread or a process may end between being listed and being looked at.
        with suppress(FileNotFoundError, ProcessLookupError):
            for pid in (task / "children").read_text().split():
                with suppress(FileNotFoundError, ProcessLookupError):
                    if b"miner_worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        found.add(int(pid))
    return found
