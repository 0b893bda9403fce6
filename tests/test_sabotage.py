"""The catalogue of `scripts/sabotage` stays true to the code, and docs/threats.md to both."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from scripts.sabotage.catalogue import Sabotage, load
from scripts.sabotage.tree import ROOT

THREATS = (ROOT / "docs" / "threats.md").read_text()
ROW = re.compile(r"^\| ([TF]?\d+[a-f]?) \|([^|]*\|[^|]*\|[^|]*\|)$", re.MULTILINE)
"""Of four columns: the table of figures has more."""
TEST_NAME = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


@cache
def text_of(path: Path) -> str:
    return path.read_text()


@pytest.mark.parametrize("entry", load(), ids=lambda entry: f"{entry.threat}: {entry.what}")
def test_every_defence_can_still_be_taken_away(entry: Sabotage) -> None:
    text = text_of(ROOT / entry.file)
    assert entry.apply(text) != text
    path, _, test = entry.test.partition("::")
    name = test.partition("[")[0].rpartition("::")[2] or test
    assert f"def {name}(" in text_of(ROOT / path)


def test_every_test_that_the_page_names_exists() -> None:
    named = TEST_NAME.findall(THREATS)
    missing = [
        f"{path}::{name}" for path, name in named if f"def {name}(" not in text_of(ROOT / path)
    ]
    assert named
    assert missing == []


def rows_of_the_page() -> dict[str, set[str]]:
    """The tests that the page names, by number."""
    rows: dict[str, set[str]] = {}
    for number, text in ROW.findall(THREATS):
        assert number not in rows, f"{number} stands there twice"
        rows[number] = {f"{path}::{name}" for path, name in TEST_NAME.findall(text)}
    return rows


def test_the_page_has_every_number_and_no_other_is_sabotaged() -> None:
    rows = rows_of_the_page()
    wanted = [str(number) for number in range(1, 48)] + [f"26{letter}" for letter in "abcdef"]
    assert set(wanted) <= rows.keys()
    assert {entry.threat for entry in load()} <= rows.keys()


def test_every_test_that_stands_under_a_number_was_seen_to_fail_without_its_defence() -> None:
    tried: dict[str, set[str]] = {number: set() for number in rows_of_the_page()}
    for entry in load():
        tried[entry.threat].add(entry.test.partition("[")[0])
    untried = {
        number: names
        for number, tests in rows_of_the_page().items()
        if (names := tests - tried[number])
    }
    assert untried == {}
    assert [number for number, tests in tried.items() if not tests] == []
