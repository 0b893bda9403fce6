"""The wallet CLI as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.daemon import ROOT, Daemon


class CliWallet:
    """A wallet file, made at once, whose commands go to one node."""

    def __init__(self, file: Path, node: Daemon) -> None:
        self._options = [
            "--network", node.network, "--wallet", str(file),
            "--rpc", node.url, "--datadir", str(node.datadir),
        ]  # fmt: skip
        self.run("create")
        self.address = str(self.run("address")["address"])

    def try_run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command, whatever comes of it."""
        return subprocess.run(
            [sys.executable, "-m", "wallet", *self._options, *arguments],
            cwd=ROOT,
            env={**os.environ, "TAEL_PASSPHRASE": "functional test"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def run(self, *arguments: str) -> dict[str, Any]:
        """What a command prints as JSON; it must succeed."""
        done = self.try_run("--json", *arguments)
        assert done.returncode == 0, (arguments, done.stderr)
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer
