"""The demonstration, where its nodes hear of a payment one after the other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

from scripts.demo_network import Node, mine
from tests.support.daemon import ROOT

PAYMENT = "aa" * 32


class LateNode:
    """Answers like a node that hears of a payment only when it was asked for its pool `late` times."""

    name = "late"

    def __init__(self, late: int) -> None:
        self.late = late
        self.mined: list[str] = []

    def call(self, method: str, *params: Any) -> Any:
        match method:
            case "getrawmempool":
                self.late -= 1
                return [] if self.late >= 0 else [PAYMENT]
            case "generatetoaddress":
                self.mined = [] if self.late >= 0 else [PAYMENT]
                return []
            case _:
                return "tip"


def test_demo_mines_no_block_before_the_miner_has_heard_of_the_payment() -> None:
    miner, other = LateNode(2), LateNode(0)
    mine(cast(Node, miner), 1, "address", cast(list[Node], [other, miner]))
    assert miner.mined == [PAYMENT]


def test_demo_whose_reader_goes_away_ends_without_a_traceback(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "scripts.demo_network"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        assert demo.stderr is not None
        demo.stdout.close()
        said = demo.stderr.read()
    assert said == "demo: interrupted; the nodes were ended\n"
    assert list(tmp_path.iterdir()) == []
