"""`taeld` run to its end, and what it says when it will not."""

from __future__ import annotations

import subprocess
import sys

from tests.support.daemon import ROOT

NO_PORTS = ("--rpc", "127.0.0.1:0", "--p2p", "127.0.0.1:0")


def taeld(*arguments: str, limit_s: float = 30) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(
        [sys.executable, "-m", "node", *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=limit_s, check=False,
    )  # fmt: skip


def complaint(outcome: subprocess.CompletedProcess[str]) -> str:
    """The one line in which it says what is wrong."""
    assert outcome.returncode == 1, outcome.stderr
    assert "Traceback" not in outcome.stderr
    lines = [line for line in outcome.stderr.splitlines() if line.startswith("taeld: ")]
    assert len(lines) == 1, outcome.stderr
    return lines[0]
