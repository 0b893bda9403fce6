"""Payments handed in at the same time are answered as if they had come one after the other."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from consensus.errors import Rule, Violation
from consensus.hashes import to_text
from consensus.keys import SigCheck
from consensus.params import COIN
from consensus.tx import Tx, Witness, make_tx
from node.later import Later
from node.mempool import Mempool
from node.mempool_entry import Entry
from node.submissions import GATHERED_MAX, Submissions
from node.verify import Verifier
from tests.node.mempool_kit import Pool, check_consistent, out
from tests.node.rpc_kit import Bench, with_node
from tests.node.test_rpc_chain import funded
from tests.node.test_verify import GOOD, children, spoiled
from tests.support.chain import ALICE, BOB
from tests.support.node_chain import within_limit

Outcome = tuple[str, str]


class Elsewhere:
    """Has signatures checked when the test says so, or not at all."""

    def __init__(self, is_taking: Callable[[], bool] = lambda: True) -> None:
        self.asked: list[tuple[Sequence[SigCheck], Callable[[], None]]] = []
        self.ready = 0
        self._is_taking = is_taking

    def send(self, checks: Sequence[SigCheck], on_done: Callable[[], None]) -> bool:
        if not self._is_taking():
            return False
        self.asked.append((checks, on_done))
        return True

    def get_ready(self) -> None:
        self.ready += 1

    def answer(self, place: int = 0) -> None:
        self.asked.pop(place)[1]()


def outcome_of(result: object) -> Outcome:
    if isinstance(result, Violation):
        return str(result.rule), str(result)
    assert isinstance(result, Entry)
    return "entered", to_text(result.tx.txid)


def hand_in(submissions: Submissions, raw: bytes) -> Entry | Later | Violation:
    try:
        return submissions.submit(raw, None)
    except Violation as violation:
        return violation


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    within_limit(scenario())


def test_a_payment_that_comes_alone_is_answered_at_once() -> None:
    pool = Pool(coins=3)

    async def scenario() -> None:
        elsewhere = Elsewhere()
        submissions = Submissions(pool.mempool, elsewhere.send, elsewhere.get_ready)
        for coin in pool.coins:
            assert isinstance(submissions.submit(pool.tx([coin], 10_000).raw, None), Entry)
            await asyncio.sleep(0)
        assert not elsewhere.asked
        assert elsewhere.ready == 1

    run(scenario)


def test_those_that_come_together_wait_for_signatures_and_enter_in_their_order() -> None:
    pool = Pool(coins=GATHERED_MAX + 3)

    async def scenario() -> None:
        elsewhere = Elsewhere()
        submissions = Submissions(pool.mempool, elsewhere.send, elsewhere.get_ready)
        txs = [pool.tx([coin], 10_000) for coin in pool.coins]
        results = [submissions.submit(tx.raw, None) for tx in txs]
        assert isinstance(results[0], Entry)
        assert all(isinstance(result, Later) for result in results[1:])
        assert [len(checks) for checks, _ in elsewhere.asked] == [GATHERED_MAX]
        await asyncio.sleep(0)
        assert [len(checks) for checks, _ in elsewhere.asked] == [GATHERED_MAX, 2]
        assert len(pool.mempool) == 1
        elsewhere.answer(1)
        assert len(pool.mempool) == 1, "those before them have no answer yet"
        elsewhere.answer()
        assert pool.additions() == [tx.txid for tx in txs]

    run(scenario)


def bad_signature(tx: Tx) -> Tx:
    witness = tx.witnesses[0]
    item = witness.items[0]
    spoilt = Witness(witness.lock, (item[:-1] + bytes((item[-1] ^ 1,)),))
    return make_tx(tx.body, (spoilt, *tx.witnesses[1:]))


def test_what_was_not_verified_elsewhere_is_verified_when_it_enters() -> None:
    pool = Pool(coins=2)

    async def scenario() -> None:
        elsewhere = Elsewhere()
        submissions = Submissions(pool.mempool, elsewhere.send, elsewhere.get_ready)
        first, second = (pool.tx([coin], 10_000) for coin in pool.coins)
        hand_in(submissions, first.raw)
        result = hand_in(submissions, bad_signature(second).raw)
        assert isinstance(result, Later)
        found: list[object] = []
        result.then(found.append)
        await asyncio.sleep(0)
        elsewhere.answer()
        assert outcome_of(found[0])[0] == Rule.BAD_SIGNATURE
        assert pool.mempool.is_recently_refused(bad_signature(second).wtxid)
        assert len(pool.mempool) == 1

    run(scenario)


def test_a_block_that_comes_meanwhile_is_asked_too() -> None:
    pool = Pool(coins=3)

    async def scenario() -> None:
        elsewhere = Elsewhere()
        submissions = Submissions(pool.mempool, elsewhere.send, elsewhere.get_ready)
        first, mined, rival = (pool.tx([coin], 10_000) for coin in pool.coins)
        other = pool.tx([pool.coins[2]], 20_000)
        results = [hand_in(submissions, tx.raw) for tx in (first, mined, rival)]
        found: list[object] = []
        for result in results[1:]:
            assert isinstance(result, Later)
            result.then(found.append)
        await asyncio.sleep(0)
        pool.mine([first, mined, other])
        elsewhere.answer()
        rules = [outcome_of(result)[0] for result in found]
        assert rules == [Rule.ALREADY_CONFIRMED, Rule.COIN_MISSING]
        assert not len(pool.mempool)

    run(scenario)


def a_crowd(rng: random.Random, pool: Pool) -> list[Tx]:
    """Payments, children of payments, rivals, repetitions and bad signatures in some order."""
    crowd: list[Tx] = []
    build = pool.another(pool.mempool.policy)  # where parents are looked up
    for coin in pool.coins:
        tx = pool.tx([coin], rng.randrange(5_000, 50_000))
        crowd.append(tx)
        if rng.random() < 0.3:
            crowd.append(pool.tx([coin], rng.randrange(5_000, 100_000)))
        if rng.random() < 0.2:
            crowd.append(bad_signature(tx))
        if rng.random() < 0.4:
            build.submit(tx.raw)
            pool.mempool, kept = build, pool.mempool
            child = pool.tx([out(tx)], rng.randrange(5_000, 50_000))
            pool.mempool = kept
            crowd.insert(len(crowd) - (rng.random() < 0.3), child)
        if rng.random() < 0.2:
            crowd.append(rng.choice(crowd))
    return crowd


def one_by_one(mempool: Mempool, crowd: Sequence[Tx]) -> list[Outcome]:
    found = []
    for tx in crowd:
        try:
            found.append(outcome_of(mempool.submit(tx.raw, retry=True)))
        except Violation as violation:
            found.append(outcome_of(violation))
    return found


@pytest.mark.parametrize("seed", range(20))
def test_a_crowd_is_answered_as_if_one_came_after_the_other(seed: int) -> None:
    rng = random.Random(seed)
    pool = Pool(coins=30)
    crowd = a_crowd(rng, pool)
    alone = pool.another(pool.mempool.policy)
    expected = one_by_one(alone, crowd)
    assert len({rule for rule, _ in expected}) > 3

    async def scenario() -> None:
        elsewhere = Elsewhere(lambda: rng.random() < 0.8)
        submissions = Submissions(pool.mempool, elsewhere.send, elsewhere.get_ready)
        found: dict[int, object] = {}
        for number, tx in enumerate(crowd):
            result = hand_in(submissions, tx.raw)
            if isinstance(result, Later):
                result.then(partial(found.setdefault, number))
            else:
                found[number] = result
            if rng.random() < 0.3:
                await asyncio.sleep(0)
            while elsewhere.asked and rng.random() < 0.5:
                elsewhere.answer(rng.randrange(len(elsewhere.asked)))
        for _ in range(3):  # the turn ends, what is left is sent, or let in if it is refused
            await asyncio.sleep(0)
            while elsewhere.asked:
                elsewhere.answer()
        assert [outcome_of(found[number]) for number in range(len(crowd))] == expected
        waiting = [entry.tx.wtxid for entry in pool.mempool.entries()]
        assert waiting == [entry.tx.wtxid for entry in alone.entries()]
        check_consistent(pool.mempool)

    run(scenario)


def test_few_signatures_checked_by_a_process_are_remembered_if_they_hold() -> None:
    before = children()

    async def scenario() -> None:
        verifier = Verifier(1)
        assert not verifier.send_few(GOOD[:2], lambda: None), "no process was started"
        verifier.start_soon()
        assert verifier._background is not None
        await verifier._background
        bad = [GOOD[2], spoiled(GOOD[3], 2)]
        for checks in (GOOD[:2], bad):
            done = asyncio.Event()
            assert verifier.send_few(checks, done.set)
            await done.wait()
        assert verifier._remembered.unknown(GOOD[:3]) == [GOOD[2]]
        assert not verifier.verify_now(bad)
        assert not verifier.send_few(GOOD[:100], lambda: None), "these would take too long"
        process = verifier._workers[0]._process
        done = asyncio.Event()
        process.kill()
        assert verifier.send_few(GOOD[4:6], done.set)
        await done.wait()
        assert not verifier.send_few(GOOD[6:8], lambda: None)
        await verifier.close()

    run(scenario)
    assert children() == before


def test_calls_at_the_same_time_answer_what_calls_one_after_the_other_do(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        first, second = (bench.chain.pay(ALICE, BOB, amount) for amount in (COIN, 2 * COIN))
        assert first.body.inputs == second.body.inputs
        calls = [bench.answer("sendrawtransaction", tx.raw.hex()) for tx in (first, second, first)]
        answers = await asyncio.gather(*calls)
        assert answers[0]["result"] == answers[2]["result"] == to_text(first.txid)
        assert answers[1]["error"]["message"].startswith("replacement-fee: ")

    with_node(tmp_path, scenario, chain=funded())
