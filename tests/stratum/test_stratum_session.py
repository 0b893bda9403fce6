"""What a miner is answered, told, and refused for which reason."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.stratum import session as session_module
from node.stratum.difficulty import EXPONENT_MIN
from node.stratum.session import (
    BETTER_AFTER_S,
    JOB_AGE_MAX_S,
    JOBS_MAX,
    METHODS,
    REFUSED_IN_A_ROW_MAX,
    WORKERS_PER_CONNECTION_MAX,
    Hopeless,
)
from tests.node.mempool_kit import out
from tests.stratum.office_kit import EASY, Desk, FakeOffice, desk, mine_elsewhere

OTHER, STALE, DUPLICATE, LOW, UNAUTHORIZED, UNSUBSCRIBED = -20, -21, -22, -23, -24, -25


def test_miner_that_has_not_subscribed_is_told_so() -> None:
    assert desk().ask("mining.submit", "alice", "1", "00000000", "0", "0") == UNSUBSCRIBED


def test_work_for_a_worker_that_is_not_authorized_is_refused() -> None:
    one = desk()
    share = one.search(one.begin())
    share[0] = "bob"
    assert one.submit(share) == UNAUTHORIZED


def test_subscribing_and_authorizing_may_come_in_any_order() -> None:
    one = desk()
    assert one.ask("mining.authorize", "alice", "x") is True
    assert not one.works
    kinds, extranonce1, size = one.ask("mining.subscribe")
    assert {kind for kind, _ in kinds} == {"mining.set_difficulty", "mining.notify"}
    assert (extranonce1, size) == (one.extranonce1, 4)
    assert len(one.works) == 1
    # The answer first: a miner must know its extranonce before its job.
    assert [line.get("method") for line in one.lines[-3:]] == [
        None, "mining.set_difficulty", "mining.notify",
    ]  # fmt: skip


def test_share_is_accepted_once() -> None:
    one = desk()
    share = one.search(one.begin())
    assert one.submit(share) is True
    assert one.submit(share) == DUPLICATE
    assert one.submit([text.upper() if text != "alice" else text for text in share]) == DUPLICATE
    assert one.submit([*share, "00000000"]) == DUPLICATE


def test_share_of_two_jobs_with_one_header_counts_once() -> None:
    one = desk()
    share = one.search(one.begin())
    assert one.submit(share) is True
    one.session.renew(is_clean=False)
    assert one.works[-1].job_id != share[1]
    share[1] = one.works[-1].job_id
    assert one.submit(share) == DUPLICATE


def test_hash_above_the_target_is_no_share() -> None:
    one = desk(EASY)
    assert one.submit(one.search(one.begin(), misses=True)) == LOW


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (2, "000000"), (2, "0000000000"), (2, "0000000g"), (2, " 0000000"), (2, 5), (2, None),
        (3, "00 0000 "), (4, "+0000000"), (4, []), (5, "20000000"), (5, "00000001"),
    ],
)  # fmt: skip
def test_share_with_a_field_that_cannot_be_is_refused(place: int, value: object) -> None:
    one = desk()
    share: list[Any] = [*one.search(one.begin()), "00000000"]
    share[place] = value
    assert one.submit(share) == OTHER
    assert not one.office.blocks


@pytest.mark.parametrize("late_s", [-1, 7_201])
def test_time_that_consensus_would_not_take_is_refused(late_s: int) -> None:
    one = desk()
    work = one.begin()
    earliest = one.office.pool.chain.tip.header.time + 1
    time = earliest - 1 if late_s < 0 else int(one.office.pool.now) + late_s
    assert one.submit(one.search(work, time=f"{time:08x}")) == OTHER
    time = earliest if late_s < 0 else time - 1
    assert one.submit(one.search(work, time=f"{time:08x}")) is True


def test_bits_of_the_version_may_be_rolled_within_the_mask_that_was_agreed() -> None:
    one = desk()
    agreed = one.ask(
        "mining.configure", ["version-rolling", "minimum-difficulty", "subscribe-extranonce"],
        {"version-rolling.mask": "0000ffff", "version-rolling.min-bit-count": 2},
    )  # fmt: skip
    assert agreed == {
        "version-rolling": True, "version-rolling.mask": "0000e000", "minimum-difficulty": False,
        "subscribe-extranonce": True,
    }  # fmt: skip
    work = one.begin()
    share = one.search(work, rolled=0x6000, target=work.block_target)
    assert one.submit(share) is True
    assert one.office.blocks[0].header.version == 0x20006000
    assert one.submit(one.search(work, rolled=0x10000)) == OTHER
    one.office.connect()


def test_block_that_is_found_is_handed_on_and_a_mere_share_is_not() -> None:
    one = desk(EASY)
    one.ask("mining.suggest_difficulty", 2.0**-25)
    work = one.begin()
    assert work.target > work.block_target
    share = one.search(work)
    while work.digest(work.head(one.extranonce1, share[2]), int(share[4], 16)) <= work.block_target:
        share = one.search(work, f"{int(share[2], 16) + 1:08x}")
    assert one.submit(share) is True
    assert not one.office.blocks
    assert one.submit(one.search(work, "ffffffff", target=work.block_target)) is True
    one.office.connect()


def test_shares_are_never_harder_than_a_block_that_is_worth_its_work() -> None:
    one = desk(EASY)
    work = one.begin()
    assert work.difficulty < 1
    assert work.target >= work.block_target


def test_new_tip_makes_every_earlier_job_stale() -> None:
    one = desk()
    share = one.search(one.begin())
    mine_elsewhere(one.office)
    assert one.submit(share) == STALE
    one.session.renew(is_clean=True)
    assert one.works[-1].is_clean
    assert one.submit(share) == STALE
    assert one.submit(one.search(one.works[-1])) is True


def test_job_that_nobody_gave_out_is_stale() -> None:
    one = desk()
    share = one.search(one.begin())
    share[1] = "no such job"
    assert one.submit(share) == STALE


def test_only_the_last_jobs_of_a_tip_are_kept() -> None:
    one = desk()
    one.begin()
    for _ in range(JOBS_MAX):
        one.session.renew(is_clean=False)
    assert one.submit(one.search(one.works[0])) == STALE
    assert one.submit(one.search(one.works[1])) is True


def test_job_gives_way_to_one_that_pays_more_but_not_at_once() -> None:
    one = desk(coins=1)
    one.begin()
    pool = one.office.pool
    entry = pool.enter(pool.coins, 20_000)
    one.office.pass_time(BETTER_AFTER_S - 1)
    one.session.refresh()
    assert len(one.works) == 1
    one.office.pass_time(1)
    one.session.refresh()
    assert len(one.works) == 2
    assert not one.works[-1].is_clean
    assert one.submit(one.search(one.works[-1], target=one.works[-1].block_target)) is True
    assert one.office.blocks[0].txs[0].tx.txid == entry.tx.txid
    assert one.submit(one.search(one.works[0])) is True, "the first is still good"
    pool.enter([out(entry)], 10_000)


def test_old_job_is_given_anew_with_the_time_of_the_day() -> None:
    one = desk()
    one.begin()
    one.office.pass_time(JOB_AGE_MAX_S - 1)
    one.session.refresh()
    assert len(one.works) == 1
    one.office.pass_time(1)
    one.session.refresh()
    assert int(one.works[1].time, 16) - int(one.works[0].time, 16) == JOB_AGE_MAX_S


def test_miner_without_a_job_gets_one_when_there_is_one() -> None:
    one = desk()
    one.office.is_open = False
    one.ask("mining.subscribe")
    assert one.ask("mining.authorize", "alice", "x") is True
    assert not one.works
    assert one.ask("mining.submit", "alice", "1", "00000000", "00000000", "00000000") == STALE
    one.office.is_open = True
    one.session.refresh()
    assert one.works[0].is_clean


def test_shares_that_come_too_fast_become_harder_and_old_jobs_keep_their_target() -> None:
    one = desk()
    work = one.begin()
    shares = [one.search(work, f"{number:08x}") for number in range(40)]
    assert all(one.submit(share) is True for share in shares)
    assert one.difficulty > 1_000 * work.difficulty
    assert one.works[-1].difficulty == one.difficulty
    (worker,) = one.office.workers
    assert (worker.accepted, worker.difficulty) == (40, one.difficulty)


def test_suggested_difficulty_is_taken_as_a_power_of_two() -> None:
    one = desk()
    assert one.ask("mining.suggest_difficulty", 1_500) is True
    assert one.begin().difficulty == 1_024
    assert one.ask("mining.suggest_difficulty", 0.3) is True
    assert one.works[-1].difficulty == 0.25
    assert one.ask("mining.suggest_difficulty", 0) is True
    assert one.works[-1].difficulty == 2.0**EXPONENT_MIN
    for wrong in ("1", None, True, [1]):
        assert one.ask("mining.suggest_difficulty", wrong) == OTHER


def test_one_connection_works_for_one_address() -> None:
    one = desk()
    one.begin("alice.rig1")
    assert one.ask("mining.authorize", "alice.rig2", "") is True
    assert {worker.difficulty for worker in one.office.workers} == {one.difficulty}
    assert one.ask("mining.authorize", "bob.rig1", "") == UNAUTHORIZED
    assert one.ask("mining.authorize", "nobody") == UNAUTHORIZED
    assert one.ask("mining.authorize", "alice" + "." * 200) == UNAUTHORIZED
    for number in range(WORKERS_PER_CONNECTION_MAX - 2):
        assert one.ask("mining.authorize", f"alice.more{number}") is True
    assert one.ask("mining.authorize", "alice.last") == UNAUTHORIZED
    one.session.close()
    assert all(worker.connections == 0 for worker in one.office.workers)


def test_two_connections_never_search_the_same_headers() -> None:
    office = FakeOffice(desk().office.pool)
    first, second = Desk(office, b"\0\0\0\1"), Desk(office, b"\0\0\0\2")
    work, other = first.begin(), second.begin()
    assert (work.part1, work.branches) == (other.part1, other.branches)
    assert work.head(first.extranonce1, "00000000") != other.head(second.extranonce1, "00000000")
    share = first.search(work, target=work.block_target)
    assert first.submit(share) is True
    # What the one has found is worth nothing to the other.
    share[1] = other.job_id
    head = other.head(second.extranonce1, share[2], share[3])
    is_found = other.digest(head, int(share[4], 16)) <= other.target
    assert second.submit(share) == (True if is_found else LOW)


def test_miner_of_which_everything_is_refused_is_sent_away() -> None:
    one = desk()
    one.begin()
    for _ in range(REFUSED_IN_A_ROW_MAX):
        assert one.ask("mining.no_such_method") == OTHER
    with pytest.raises(Hopeless, match="refused"):
        one.ask("mining.no_such_method")


def test_good_share_makes_up_for_those_that_were_refused() -> None:
    one = desk()
    work = one.begin()
    for number in range(3):
        for _ in range(REFUSED_IN_A_ROW_MAX):
            assert one.ask("mining.no_such_method") == OTHER
        assert one.submit(one.search(work, f"{number:08x}")) is True


def test_shares_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "SEEN_MAX", 3)
    one = desk()
    work = one.begin()
    shares = [one.search(work, f"{number:08x}") for number in range(4)]
    assert all(one.submit(share) is True for share in shares)
    assert one.submit(shares[-1]) == DUPLICATE
    assert one.submit(shares[0]) is True


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.1", b"{", b"[]", b"null", b"\xff\xfe", b'{"method": 5}', b'{"params": {}}',
        b'{"id": 1.5, "method": "mining.subscribe"}', b'{"id": "\\ud800", "method": "x"}',
        b'{"params": ' + b"[" * 3_000 + b"]" * 3_000 + b"}",
    ],
)  # fmt: skip
def test_line_that_is_no_request_ends_the_connection(line: bytes) -> None:
    with pytest.raises(Hopeless, match="not a request"):
        desk().session.take(line)


def test_null_for_no_parameters_is_understood() -> None:
    one = desk()
    one.session.take(b'{"id": 1, "method": "mining.subscribe", "params": null}')
    assert one.lines[0]["error"] is None


def test_answers_of_a_miner_are_not_answered() -> None:
    one = desk()
    one.session.take(b'{"id": 1, "result": "cgminer/4.12", "error": null}')
    assert not one.lines


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["alice", "1", "00000000", "version-rolling", "version-rolling.mask"]),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=20), inner),
    max_leaves=12,
)  # fmt: skip
ONE = desk()


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(METHODS)), st.lists(JSON, max_size=7))
def test_whatever_the_parameters_are_there_is_one_answer(method: str, params: list[object]) -> None:
    one = Desk(ONE.office)
    one.begin()
    before = len(one.lines)
    one.ask(method, *params)
    assert sum(1 for line in one.lines[before:] if "method" not in line) == 1


@given(st.binary(max_size=80))
def test_any_bytes_are_answered_or_end_the_connection(line: bytes) -> None:
    one = Desk(ONE.office)
    try:
        one.session.take(line)
    except Hopeless:
        assert not one.lines
