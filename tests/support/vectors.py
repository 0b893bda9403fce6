"""Reading the project's own vectors; the README beside them says what the fields mean."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest

from scripts.make_vectors import FOLDER

Case = dict[str, Any]


@cache
def load(name: str) -> Case:
    """One file."""
    loaded: Case = json.loads((FOLDER / f"{name}.json").read_text())
    return loaded


def every(name: str, key: str) -> pytest.MarkDecorator:
    """One test for each case of a file, called by its name or else by its place."""
    cases = load(name)[key]
    ids = [str(case.get("name", number)) for number, case in enumerate(cases)]
    return pytest.mark.parametrize("case", cases, ids=ids)


def raw_of(case: Case, key: str = "raw") -> bytes:
    """Bytes given as hex, or as pieces of `[hex, times]`."""
    raw = case[key]
    if isinstance(raw, str):
        return bytes.fromhex(raw)
    return b"".join(bytes.fromhex(piece) * times for piece, times in raw)


def coin_of(coin: list[Any] | None) -> list[Any] | None:
    """`[asset, amount, lock, height, delayed]` with bytes for hex."""
    if coin is None:
        return None
    asset, amount, lock, height, delayed = coin
    return [bytes.fromhex(asset), amount, bytes.fromhex(lock), height, delayed]


def supplies_of(case: Case) -> dict[bytes, int]:
    return {bytes.fromhex(asset): supply for asset, supply in case["supplies"].items()}
