"""Signatures in bulk: every bad one is found, whatever becomes of the processes that look."""

from __future__ import annotations

import asyncio
import io
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from consensus.hashes import sha256d
from consensus.keys import SigCheck, sig_check
from node.verify import BATCH, INLINE_MAX, Remembered, Verifier
from node.verify_worker import serve
from tests.support.chain import ALICE, BOB
from tests.support.node_chain import within_limit

ROOT = Path(__file__).resolve().parents[2]


def signed(count: int) -> list[SigCheck]:
    digests = [sha256d(number.to_bytes(4, "big")) for number in range(count)]
    return [sig_check(ALICE.pubkey, digest, ALICE.sign(digest)) for digest in digests]


GOOD = signed(3_000)


def spoiled(check: SigCheck, how: int) -> SigCheck:
    """Another key, another digest or another signature."""
    pubkey, digest, signature = check[:33], check[33:65], check[65:]
    if how == 0:
        return sig_check(BOB.pubkey, digest, signature)
    if how == 1:
        return sig_check(pubkey, digest[:-1] + bytes((digest[-1] ^ 1,)), signature)
    return sig_check(pubkey, digest, signature[:-1] + bytes((signature[-1] ^ 1,)))


def with_verifier(scenario: Callable[[Verifier], Awaitable[None]], processes: int = 2) -> None:
    async def run() -> None:
        verifier = Verifier(processes)
        try:
            await scenario(verifier)
        finally:
            await verifier.close()

    within_limit(run())


async def verdict(verifier: Verifier, checks: list[SigCheck], at_once: int = 100) -> bool:
    batch = verifier.batch()
    for start in range(0, len(checks), at_once):
        await batch.add(checks[start : start + at_once])
    return await batch.verdict()


def children() -> set[int]:
    """Processes that this one started and that run."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            if int(parent) == os.getpid() and state != "Z":
                found.add(int(entry.name))
    return found


@pytest.mark.parametrize("processes", [0, 1, 2])
def test_one_bad_signature_among_thousands_is_found(processes: int) -> None:
    rng = random.Random(processes)

    async def scenario(verifier: Verifier) -> None:
        assert await verdict(verifier, GOOD)
        for how in range(3):
            for place in (0, len(GOOD) - 1, rng.randrange(len(GOOD))):
                checks = [*GOOD]
                checks[place] = spoiled(checks[place], how)
                assert not await verdict(verifier, checks)
        assert await verdict(verifier, GOOD)

    with_verifier(scenario, processes)


@pytest.mark.parametrize(
    "count", [0, 1, INLINE_MAX, INLINE_MAX + 1, BATCH - 1, BATCH, BATCH + 1, 2 * BATCH]
)
def test_the_edges_of_a_batch_are_checked_too(count: int) -> None:
    async def scenario(verifier: Verifier) -> None:
        assert await verdict(verifier, GOOD[:count], at_once=7)
        for place in {0, count - 1} if count else set():
            checks = GOOD[:count]
            checks[place] = spoiled(checks[place], 2)
            assert not await verdict(verifier, checks, at_once=7)

    with_verifier(scenario, 1)


def test_several_blocks_at_once_get_each_its_own_answer() -> None:
    async def scenario(verifier: Verifier) -> None:
        bad = [*GOOD[:-1], spoiled(GOOD[-1], 1)]
        asked = [verdict(verifier, checks) for checks in (GOOD, bad, GOOD[:50], bad, GOOD)]
        assert await asyncio.gather(*asked) == [True, False, True, False, True]

    with_verifier(scenario)


def test_who_waits_for_one_block_does_not_wait_for_those_that_came_after() -> None:
    async def scenario(verifier: Verifier) -> None:
        first, second = verifier.batch(), verifier.batch()
        await first.add(GOOD[:200])
        await first.finish()
        for start in range(0, len(GOOD), 300):
            await second.add(GOOD[start : start + 300])
        assert await first.verdict()
        assert verifier._waiting
        assert await second.verdict()
        assert not verifier._waiting

    with_verifier(scenario, 0)


def test_a_wait_that_is_given_up_leaves_its_work_to_others() -> None:
    async def scenario(verifier: Verifier) -> None:
        batch = verifier.batch()
        await batch.add([*GOOD[:-1], spoiled(GOOD[-1], 2)])
        given_up = asyncio.create_task(batch.verdict())
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.wait([given_up])
        assert not await batch.verdict()

    with_verifier(scenario, 0)


def test_processes_that_are_killed_on_the_way_change_no_answer() -> None:
    before = children()

    async def scenario(verifier: Verifier) -> None:
        for bad in (False, True, False):
            checks = [*GOOD[:-1], spoiled(GOOD[-1], 2)] if bad else GOOD
            batch = verifier.batch()
            await batch.add(checks)
            started = children() - before
            assert started
            for process in started:
                os.kill(process, signal.SIGKILL)
            await batch.add(checks)
            assert await batch.verdict() is not bad

    with_verifier(scenario)
    assert children() == before


def test_no_process_is_left_when_the_verifier_is_closed() -> None:
    before = children()

    async def scenario(verifier: Verifier) -> None:
        assert await verdict(verifier, GOOD)
        assert len(children() - before) == 2

    with_verifier(scenario)
    assert children() == before


def test_a_closed_verifier_still_answers_and_starts_nothing() -> None:
    before = children()

    async def scenario() -> None:
        verifier = Verifier(2)
        await verifier.close()
        assert await verdict(verifier, GOOD[:600])
        assert not await verdict(verifier, [spoiled(GOOD[0], 0), *GOOD[1:600]])
        assert children() == before

    within_limit(scenario())


PARENT = """
import asyncio, os, signal, sys
from node.verify import Verifier
from tests.node.test_verify import GOOD, verdict

async def run():
    verifier = Verifier(2)
    assert await verdict(verifier, GOOD)
    pids = [w._process.pid for w in verifier._workers]
    print(*pids, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(run())
"""


def test_no_process_outlives_a_node_that_is_killed() -> None:
    outcome = subprocess.run(
        [sys.executable, "-c", PARENT], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert outcome.returncode == -signal.SIGKILL, outcome.stderr
    workers = [int(text) for text in outcome.stdout.split()]
    assert len(workers) == 2
    deadline = time.monotonic() + 10
    while any(is_running(process) for process in workers):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_running(process: int) -> bool:
    try:
        return (Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()[
            0
        ] != "Z"
    except OSError:
        return False


def test_processes_find_the_program_wherever_the_node_was_started(tmp_path: Path) -> None:
    # A directory with modules of the same names must not get in between.
    (tmp_path / "node").mkdir()
    (tmp_path / "node" / "__init__.py").write_text("raise SystemExit('another node')")
    (tmp_path / "consensus.py").write_text("raise SystemExit('other rules')")
    before = children()

    async def scenario(verifier: Verifier) -> None:
        assert await verdict(verifier, GOOD[:1_000])
        await asyncio.sleep(0.2)
        assert len(children() - before) == 2

    home = Path.cwd()
    os.chdir(tmp_path)
    try:
        with_verifier(scenario)
    finally:
        os.chdir(home)


def test_where_no_process_can_be_started_signatures_are_checked_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")

    async def scenario(verifier: Verifier) -> None:
        assert await verdict(verifier, GOOD)
        assert not await verdict(verifier, [*GOOD[:-1], spoiled(GOOD[-1], 1)])

    with_verifier(scenario)


def test_what_was_verified_is_remembered_by_key_digest_and_signature_together() -> None:
    remembered = Remembered(100)
    remembered.add(GOOD[:10])
    assert remembered.unknown(GOOD[:12]) == GOOD[10:12]
    assert remembered.unknown([spoiled(GOOD[0], how) for how in range(3)]) == [
        spoiled(GOOD[0], how) for how in range(3)
    ]


def test_what_is_remembered_has_a_limit_and_the_newest_stays() -> None:
    remembered = Remembered(100)
    for number in range(0, 1_000, 10):
        remembered.add(GOOD[number : number + 10])
        assert remembered.unknown(GOOD[max(0, number - 30) : number + 10]) == []
    known = [check for check in GOOD if not remembered.unknown([check])]
    assert 40 <= len(known) <= 100


def test_a_signature_checked_for_the_mempool_is_not_checked_in_the_block_and_a_bad_one_is() -> None:
    before = children()

    async def scenario(verifier: Verifier) -> None:
        for start in range(0, len(GOOD), 100):
            assert verifier.verify_now(GOOD[start : start + 100])
        assert not verifier.verify_now([spoiled(GOOD[0], 2)])
        assert not verifier.verify_now([spoiled(GOOD[0], 2)])
        assert await verdict(verifier, GOOD)
        assert children() == before, "nothing was left to check"
        assert not await verdict(verifier, [*GOOD, spoiled(GOOD[0], 2)])

    with_verifier(scenario)


def test_the_process_answers_whole_requests_and_ends_with_its_input() -> None:
    def request(checks: list[SigCheck]) -> bytes:
        return len(checks).to_bytes(4, "big") + b"".join(checks)

    asked = request(GOOD[:3]) + request([]) + request([GOOD[0], spoiled(GOOD[1], 0)])
    for cut, answers in ((None, b"\x01\x01\x00"), (-1, b"\x01\x01"), (-2 * 129 - 2, b"\x01\x01")):
        told = io.BytesIO()
        serve(io.BytesIO(asked[:cut]), told)
        assert told.getvalue() == answers


def let_processes_work() -> None:
    time.sleep(0.2)


def test_answers_stay_with_their_questions_when_whoever_is_told_fails() -> None:
    bad = [spoiled(GOOD[1], 0)]

    async def scenario(verifier: Verifier) -> None:
        assert await verdict(verifier, GOOD[400:1_000])
        told = asyncio.Event()

        def fail() -> None:
            raise RuntimeError("of whoever is told")

        assert verifier.send_few(GOOD[2:3], fail)
        assert verifier.send_few(bad, told.set)
        let_processes_work()  # both answers are there before one is read
        await asyncio.sleep(0)
        assert verifier.send_few(GOOD[3:4], told.set)
        await told.wait()
        assert not verifier.verify_now(bad)
        assert await verdict(verifier, GOOD[4:400])

    with_verifier(scenario, 1)
