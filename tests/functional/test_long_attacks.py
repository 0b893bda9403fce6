"""The long forms of attacks in a short one, and that they notice a node that does not hold."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from scripts.attacks.catalogue import ATTACKS
from scripts.attacks.conduct import Attacked
from scripts.attacks.watch import Bounds, Seen

SHARES = {"easy headers": 0.006, "addresses": 0.01, "bad logins": 0.03}
"""Of those that have no short form elsewhere."""


@pytest.mark.parametrize("name", SHARES)
def test_a_node_holds_under_a_short_form_of_the_attack(name: str, tmp_path: Path) -> None:
    attack = next(attack for attack in ATTACKS if attack.name == name)
    with Attacked(tmp_path, attack, SHARES[name]) as attacked, ThreadPoolExecutor(1) as attacker:
        line = asyncio.run(attacked.run(attacker))
    assert not attacked.failures, line
    assert line.endswith("OK")


def test_each_attack_has_a_name_of_its_own_and_a_row_in_the_document() -> None:
    rows = (Path(__file__).resolve().parents[2] / "docs" / "threats.md").read_text()
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)
    missing = [attack.name for attack in ATTACKS if f"| {attack.name} |" not in rows]
    assert not missing, "run python -m scripts.attacks, and write down what it prints"


@pytest.mark.parametrize(
    ("worse", "what"),
    [
        ({"stall_s": 0.3}, "the event loop was stalled"),
        ({"stall_s": 1.1}, "an answer took too long"),
        ({"new_call_s": 1.1}, "an answer took too long"),
        ({"ping_s": 2.1}, "a ping took too long"),
        ({"greeting_s": 2.1}, "an honest peer got in too late"),
        ({"after_bytes": 65 << 20}, "memory grew"),
        ({"log_bytes": 11 << 20}, "the log grew"),
        ({"calls": 0}, "nothing was measured"),
        ({"pings": 0}, "no ping came back"),
    ],
)
def test_what_does_not_hold_is_told(worse: dict[str, float], what: str) -> None:
    seen = Seen(Bounds(stall_s=0.2))
    seen.calls = seen.new_calls = seen.pings = 1
    assert seen.judge() == []
    for name, value in worse.items():
        setattr(seen, name, value)
    assert what in seen.judge()
