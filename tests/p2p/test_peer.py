"""Blame and budgets."""

from __future__ import annotations

import pytest

from consensus.errors import DecodeError, Invalid, Missing, Premature, Refused, Rule, Violation
from consensus.hashes import BlockHash
from p2p.bounded import PAUSE_S_MAX, RecentSet, WorkBudget
from p2p.messages import IDS, MESSAGES, Compact, GetAddr, GetHeaders, Ping, encode_message
from p2p.peer import SCORE_MAX, SCORES, ConnectionType, Fault, Peer, is_to_blame, score_of
from p2p.ports import Endpoint


def peer(kind: ConnectionType = ConnectionType.INBOUND) -> Peer:
    return Peer(1, Endpoint("8.8.8.8", 5), kind, 1_000, 0.0)


def test_every_fault_has_a_score() -> None:
    assert set(SCORES) == set(Fault)


@pytest.mark.parametrize("fault", [Fault.INVALID_HEADER, Fault.INVALID_BLOCK, Fault.INVALID_TX])
@pytest.mark.parametrize(
    ("violation", "is_blamed"),
    [
        (DecodeError(Rule.NON_CANONICAL), True),
        (Invalid(Rule.OVERSPEND), True),
        (Invalid(Rule.BLOCK_ROOT), True),
        (Missing(Rule.COIN_MISSING), False),
        (Premature(Rule.COIN_IMMATURE), False),
        (Refused(Rule.MEMPOOL_FULL), False),
    ],
)
def test_the_kind_of_answer_decides_over_blame(
    fault: Fault, violation: Violation, is_blamed: bool
) -> None:
    assert is_to_blame(fault, violation) == is_blamed


def test_a_block_with_an_expired_transaction_is_to_blame_though_the_transaction_is_not() -> None:
    assert not is_to_blame(Fault.INVALID_TX, Invalid(Rule.TX_EXPIRED))
    assert is_to_blame(Fault.INVALID_BLOCK, Invalid(Rule.TX_EXPIRED))


def test_a_reissue_that_a_block_has_made_too_much_is_nobodys_fault() -> None:
    assert not is_to_blame(Fault.INVALID_TX, Invalid(Rule.ASSET_SUPPLY))
    assert is_to_blame(Fault.INVALID_BLOCK, Invalid(Rule.ASSET_SUPPLY))


def test_one_bad_transaction_costs_an_incoming_peer_its_place_and_others_not() -> None:
    assert score_of(Fault.INVALID_TX, ConnectionType.INBOUND) >= SCORE_MAX
    assert score_of(Fault.INVALID_TX, ConnectionType.OUTBOUND) < SCORE_MAX
    assert score_of(Fault.INVALID_BLOCK, ConnectionType.OUTBOUND) >= SCORE_MAX


def test_scores_add_up_and_fall_with_time() -> None:
    made = peer()
    assert made.blame(Fault.UNREQUESTED, 0.0) == 10
    assert made.blame(Fault.UNCONNECTING, 60.0) == 29
    assert made.score(60.0 * 10) == 20
    assert made.score(10_000.0) == 0


def test_many_small_faults_in_a_short_time_reach_the_limit() -> None:
    made = peer()
    for number in range(20):
        score = made.blame(Fault.FLOOD, number / 1_000)
    assert score >= SCORE_MAX


def test_a_budget_runs_out_and_fills_again() -> None:
    made = peer()
    assert [made.within_budget(GetAddr(), 2, 0.0) for _ in range(3)] == [True, True, False]
    assert not made.within_budget(GetAddr(), 2, 29.0)
    assert made.within_budget(GetAddr(), 2, 31.0)


def test_every_kind_of_message_has_its_own_budget() -> None:
    made = peer()
    assert [made.within_budget(Ping(1), 3, 0.0) for _ in range(61)].count(True) == 60
    assert made.within_budget(GetAddr(), 2, 0.0)


def test_bytes_of_a_kind_have_a_budget_of_their_own() -> None:
    made = peer()
    kind = MESSAGES[IDS[Compact]]
    message = Compact(bytes(80), bytes(8), b"x", b"")
    count = kind.bytes_per_minute // kind.bytes_max
    # Its number alone would allow for more.
    assert count < kind.per_minute
    answers = [made.within_budget(message, kind.bytes_max, 0.0) for _ in range(kind.burst)]
    assert answers.count(True) == min(count, kind.burst)


def test_who_reads_the_longest_chain_as_fast_as_it_can_be_checked_keeps_the_budget() -> None:
    """Twice, over a line without delay: some 80 questions a second were measured, of which each
    names one more hash whenever the chain doubles."""
    made = peer()
    question = GetHeaders((BlockHash(bytes(32)),) * 36)
    size = len(encode_message(question))
    answers = [made.within_budget(question, size, number / 95) for number in range(10_000)]
    assert all(answers)


def test_who_takes_up_time_for_nothing_waits_and_is_free_again_later() -> None:
    budget = WorkBudget(0.25, 2.0, 0.0)
    assert [budget.spend(0.5, 0.0) for _ in range(4)] == [0.0] * 4
    assert budget.spend(0.5, 0.0) == 2.0
    assert budget.spend(0.0, 2.0) == 0.0
    assert budget.spend(100.0, 2.0) == PAUSE_S_MAX


def test_where_a_peer_listens_is_told_by_its_hello_or_by_whom_we_dialled() -> None:
    assert peer().listens_at() is None
    assert peer(ConnectionType.MANUAL).listens_at() == Endpoint("8.8.8.8", 5)


def test_a_recent_set_forgets_the_oldest() -> None:
    made: RecentSet[int] = RecentSet(3)
    for number in (1, 2, 3, 2, 4):
        made.add(number)
    assert list(made) == [2, 3, 4]
    assert made.take(2) == [2, 3]
    assert len(made) == 1
    made.discard(4)
    made.discard(9)
    assert 4 not in made
