"""The simulation finds bugs that are planted for it; all of them: `python -m scripts.simulate.bugs`."""

from __future__ import annotations

import ast

import pytest

from scripts.sabotage.tree import ROOT
from scripts.simulate.bugs import Bug, load, search

BUGS_MIN = 10
QUICK = {
    "the difficulty is floored where it should be truncated": "header-bits-wrong",
    "block files are not synced before the database points into them": "its disk did nothing wrong",
    "the chain of a peer is kept when the peer has gone": "kept of peers that have gone",
    "a client is told of one confirmation too few": "a client is told that a coin",
    "a coin that comes back has forgotten its height": "undone leave other coins",
}
"""What is found within the first few seeds, and what finds it."""
QUICK_SEEDS = 3


@pytest.mark.parametrize("bug", load(), ids=lambda bug: bug.name)
def test_every_bug_can_still_be_planted(bug: Bug) -> None:
    text = (ROOT / bug.file).read_text()
    assert ast.dump(ast.parse(bug.apply(text))) != ast.dump(ast.parse(text))


def test_there_are_bugs_in_every_part() -> None:
    bugs = load()
    assert len(bugs) >= BUGS_MIN
    assert len({bug.name for bug in bugs}) == len(bugs)
    assert {bug.file.partition("/")[0] for bug in bugs} == {"consensus", "node", "p2p"}


@pytest.mark.parametrize("name", QUICK)
def test_a_bug_is_found_within_a_few_seeds(name: str) -> None:
    (bug,) = (bug for bug in load() if bug.name == name)
    found = search(bug, QUICK_SEEDS)
    assert 1 <= found.seed <= QUICK_SEEDS
    assert QUICK[name] in found.failure
