"""Which waiting transactions touch a lock, against a set for each lock."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from consensus.hashes import LockHash
from node.mempool_entry import Entry
from node.mempool_locks import ByLock
from tests.node.mempool_kit import Pool
from tests.support.chain import ALICE, BOB, CAROL


def stock() -> list[Entry]:
    """Payments from Alice, some with change and some without, to three people."""
    pool = Pool(coins=8)
    payees = [ALICE, BOB, CAROL, BOB]
    return [
        pool.mempool.test(pool.tx([spent], 10_000, 1 + number % 2, payees[number % 4]).raw)
        for number, spent in enumerate(pool.coins)
    ]


STOCK = stock()


def locks_of(entry: Entry) -> set[LockHash]:
    paid = {output.lock for output in entry.tx.body.outputs}
    return paid | {coin.lock for coin in entry.coins}


@given(st.lists(st.integers(0, len(STOCK) - 1), max_size=60))
def test_it_is_what_sets_give(steps: list[int]) -> None:
    made = ByLock()
    expected: defaultdict[LockHash, set[Entry]] = defaultdict(set)
    present: set[int] = set()
    for index in steps:
        entry = STOCK[index]
        if index in present:
            made.remove(entry)
        else:
            made.add(entry)
        present ^= {index}
        for lock in locks_of(entry):
            expected[lock] ^= {entry}
        for person in (ALICE, BOB, CAROL):
            found = made.of(person.lock)
            assert set(found) == expected[person.lock]
            assert len(found) == len(set(found))
    for index in present:
        made.remove(STOCK[index])
    assert not any(made.of(person.lock) for person in (ALICE, BOB, CAROL))


@given(st.sets(st.integers(0, len(STOCK) - 1)), st.integers(0, len(STOCK)))
def test_nobody_sees_what_is_removed_later(gone: set[int], tidied: int) -> None:
    made = ByLock()
    for entry in STOCK:
        made.add(entry)
    for index in gone:
        made.remove_later(STOCK[index])
    assert made.tidy(tidied) == (len(gone) > tidied)
    kept = [entry for index, entry in enumerate(STOCK) if index not in gone]
    for person in (ALICE, BOB, CAROL):
        assert set(made.of(person.lock)) == {e for e in kept if person.lock in locks_of(e)}
    assert not made.tidy(0)
