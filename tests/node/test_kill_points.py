"""Ended at one change of its disk after the other, with and without power, a node loses nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EVERY = int(os.environ.get("TAEL_KILL_EVERY", "9"))
"""1 tries every change."""
SEED = int(os.environ.get("TAEL_KILL_SEED", "4"))
LIMIT_S = 600


def test_ended_at_any_change_of_its_disk_and_again_in_recovery_a_node_loses_nothing(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.kill_points", str(tmp_path), str(EVERY), str(SEED)],
        cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    counts = json.loads(done.stdout)
    assert counts["changes"] > 150
    assert counts["ends"] >= counts["changes"] // EVERY
    # A recovery may have nothing to change, but seldom.
    assert counts["in recovery"] > counts["ends"] / 2
    assert 0 < counts["of power"] < counts["ends"] + counts["in recovery"]
