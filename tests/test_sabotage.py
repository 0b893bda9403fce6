"""The catalogue of `scripts/sabotage` stays true to the code, and docs/threats.md to both."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from scripts.sabotage.catalogue import Sabotage, load
from scripts.sabotage.tree import ROOT

THREATS = (ROOT / "docs" / "threats.md").read_text()
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
