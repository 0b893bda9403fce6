"""The tour of the README, run as it stands there."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

from tests.support.daemon import ROOT

LIMIT_S = 120


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def blocks() -> list[str]:
    """The commands of the tour, as they are pasted into a terminal."""
    text = (ROOT / "README.md").read_text()
    section = text.split("\n## A tour\n")[1].split("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


def tour() -> str:
    """All of it; its ports are others, so that a node of the user may run beside."""
    script = "\n".join(blocks())
    rpc, p2p, web = free_port(), free_port(), free_port()
    script = script.replace("29931", str(rpc)).replace("29933", str(web))
    options = f"--rpc 127.0.0.1:{rpc} --p2p 127.0.0.1:{p2p} --web 127.0.0.1:{web}"
    return script.replace(
        "taeld --network regtest --web 127.0.0.1", f"taeld --network regtest {options}"
    )


def test_tour_of_the_readme_works_as_it_stands(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, module in (("taeld", "node"), ("tael", "wallet")):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m {module} "$@"\n')
        program.chmod(0o755)
    script = tour().replace(". .venv/bin/activate\n", "")
    rpc = re.search(r"--rpc (127\.0\.0\.1:\d+)", script)
    assert rpc is not None
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script + "\nwait\n"],
        cwd=tmp_path,
        env={
            "HOME": str(tmp_path),
            "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "TAEL_RPC": f"http://{rpc[1]}",
            "COLUMNS": "200",
        },
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    log = (tmp_path / "node.log").read_text()
    assert done.returncode == 0, done.stderr + log
    assert re.search(r"TAEL +10\.00000000 +0\.00000000 +495\.00000000", done.stdout)
    assert '"balance":150000000' in done.stdout
    assert re.search(r"SHARE +25 +0 +0 ", done.stdout)
    assert "Traceback" not in done.stderr + log
    assert re.search(r"1 +paid +2\.00000000 TAEL", done.stdout)
    assert "Paid · 1 confirmation" in done.stdout
    assert "state written at block 105" in log


def test_node_of_the_tour_runs_until_its_pages_were_looked_at() -> None:
    *before, last = blocks()
    assert last == "rpc stop\n"
    assert not [block for block in before if "rpc stop" in block]


def test_wait_for_the_node_of_the_tour_ends_when_it_cannot_start(tmp_path: Path) -> None:
    (wait,) = re.findall(r"^until .*$", blocks()[0], re.MULTILINE)
    complaint = (
        "taeld: cannot listen at 127.0.0.1:29931: Address already in use; give another --rpc"
    )
    (tmp_path / "node.log").write_text(f"app: tael 0.1.0, network regtest\n{complaint}\n")
    done = subprocess.run(
        ["bash", "-euc", wait], cwd=tmp_path, capture_output=True, text=True, timeout=10, check=True
    )
    assert done.stdout == f"{complaint}\n"
