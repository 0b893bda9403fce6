"""The example of docs/clients.md, run as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.daemon import ROOT, Daemon, running

EXAMPLE = re.compile(r"```python\n(import asyncio\n.*?)```", re.DOTALL)


def test_example_of_the_typed_client_runs_as_it_stands(tmp_path: Path) -> None:
    found = EXAMPLE.search((ROOT / "docs" / "clients.md").read_text())
    assert found is not None
    daemon = Daemon(tmp_path / ".tael" / "regtest")
    with running(daemon):
        code = found[1].replace("127.0.0.1:29931", f"127.0.0.1:{daemon.rpc_port}")
        program = tmp_path / "example.py"
        program.write_text(code)
        environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
        ran = subprocess.run(
            [sys.executable, str(program)],
            capture_output=True, text=True, check=False, env=environment, timeout=60,
        )  # fmt: skip
    assert ran.stderr == ""
    first, second = ran.stdout.splitlines()
    assert first.startswith("block 0: 1 transactions, ")
    assert second.startswith("refused with code -22: ")
