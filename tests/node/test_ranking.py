"""The order in which a miner wants the waiting transactions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node import ranking
from node.mempool_entry import Entry
from node.ranking import Ranking
from tests.node.mempool_kit import Pool


def stock(count: int) -> list[Entry]:
    """Entries to give a rank to; all of one payment."""
    pool = Pool(coins=1)
    raw = pool.tx(pool.coins, 10_000).raw
    return [pool.mempool.test(raw) for _ in range(count)]


STOCK = stock(60)


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "PIECE_MAX", 4)


@given(st.lists(st.tuples(st.integers(0, 59), st.integers(-3, 3)), max_size=200))
def test_it_is_what_sorting_gives(steps: list[tuple[int, int]]) -> None:
    made = Ranking()
    present: set[Entry] = set()
    for index, rank in steps:
        entry = STOCK[index]
        if entry in present:
            made.remove(entry)
            present.remove(entry)
        else:
            entry.rank = (rank, index)
            made.add(entry)
            present.add(entry)
        assert list(made) == sorted(present, key=lambda other: other.rank)
        assert len(made) == len(present)


@given(st.lists(st.integers(-3, 3), max_size=40), st.sets(st.integers(0, 39)), st.integers(-3, 3))
def test_many_leave_at_once_as_one_by_one(ranks: list[int], leaving: set[int], last: int) -> None:
    made = Ranking()
    entries = STOCK[: len(ranks)]
    for index, (entry, rank) in enumerate(zip(entries, ranks, strict=True)):
        entry.rank = (rank, index)
        made.add(entry)
    gone = {entries[index] for index in leaving if index < len(entries)}
    made.drop(lambda entry: entry in gone)
    kept = [entry for entry in entries if entry not in gone]
    assert list(made) == sorted(kept, key=lambda other: other.rank)
    another = STOCK[-1]
    another.rank = (last, len(ranks))
    made.add(another)
    for entry in kept:
        made.remove(entry)
    assert list(made) == [another]
