"""Difficulty against the runs of aserti3-2d, which nobody here wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from consensus.pow import asert_bits

RUNS = sorted((Path(__file__).parents[1] / "vectors" / "asert").glob("run*"))
INTERVAL_S = 600
HALF_LIFE_S = 172_800
LIMIT_BITS = 0x1D00FFFF
LINES = {"run01": 10, "run02": 10, "run03": 10, "run05": 225, "run07": 1_000, "run09": 10}


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.name)
def test_every_line_of_the_run_is_met_bit_for_bit(path: Path) -> None:
    head: dict[str, str] = {}
    lines = 0
    for line in path.read_text().splitlines():
        if line.startswith("##"):
            name, _, value = line.strip("# ").partition(": ")
            head[name] = value.strip()
        elif line and not line.startswith("#"):
            _, height, time, bits = line.split()
            parent_time = head.get("anchor ancestor time") or head["anchor parent time"]
            found = asert_bits(
                int(head["anchor nBits"], 16), int(time) - int(parent_time),
                int(height) - int(head["anchor height"]), INTERVAL_S, HALF_LIFE_S, LIMIT_BITS,
            )  # fmt: skip
            assert found == int(bits, 16), line
            lines += 1
    assert lines == LINES[path.name]


def test_all_runs_are_there() -> None:
    assert [path.name for path in RUNS] == sorted(LINES)
