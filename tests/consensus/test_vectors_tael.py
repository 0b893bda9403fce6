"""The project's own vectors, read twice: by the rules, and by an implementation of the document.

`second` and `second_rules` share nothing with `consensus`, so a rule that the document leaves out or
tells otherwise shows here.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from scripts.make_vectors import FOLDER

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "protocol.md"
Case = dict[str, Any]


@cache
def load(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return loaded


def every(name: str, key: str) -> pytest.MarkDecorator:
    """One test for each case of a file, called by its name or its place."""
    cases = load(name)[key]
    ids = [str(case.get("name", number)) for number, case in enumerate(cases)]
    return pytest.mark.parametrize("case", cases, ids=ids)
