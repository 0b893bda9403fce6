"""Runs `tael` in processes that are ended at one numbered step: a change of the disk, a call to the node.

    python -m tests.support.tael_forks

Reads one JSON object a line, `{"args": […], "seed": 1, "at": 3}`, and answers each with the exit code, the
steps that were made, and what a loss of power would take. Every child is forked from this process, which
has everything loaded and no threads, and ends by `os._exit`: nothing is tidied up.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from tests.support.fragile import FragileDisk
from tests.support.wallet_cli import environment
from wallet.cli.app import App
from wallet.cli.main import tael
from wallet.client import Client

ENDED = 9
"""Exit code of a child that ended where it was told to."""
NUMBERED = frozenset({"testmempoolaccept", "sendrawtransaction"})
"""Questions that are steps. How often the others are asked depends on what the wallet has, and to end at one
of them is to end before the first step."""
_ROOT = Path(__file__).resolve().parents[2]


class Ended(NamedTuple):
    """What became of one process."""

    code: int
    steps: list[str]
    journal: dict[str, Any]
    """For `lose_power`."""


class Forks:
    """The process that forks the others."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.tael_forks"], cwd=_ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "TAEL_PASSPHRASE": "correct horse"},
        )  # fmt: skip

    def run(self, args: Sequence[str], folder: Path, seed: int, at: int = -1) -> Ended:
        """Run `tael` with `args` and end it at step `at`; files of the wallet lie in `folder`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        question = {"args": list(args), "folder": str(folder), "seed": seed, "at": at}
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return Ended(**json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(30)


def _child(question: dict[str, Any], answer: int) -> None:
    """Run the command; tell through `answer` how far it came. Never returns."""
    disk = FragileDisk(question["at"])

    def tell() -> None:
        told = {"steps": disk.changes, "journal": disk.journal()}
        with open(answer, "w", encoding="utf-8") as pipe:
            json.dump(told, pipe)

    def end(what: str) -> None:
        tell()
        os._exit(ENDED)

    disk.on_turn(end)
    disk.existing(Path(question["folder"]))
    door = {**vars(os), "open": disk.open, "fsync": disk.fsync, "replace": disk.replace}
    patch = pytest.MonkeyPatch()
    patch.setattr("wallet.files.os", SimpleNamespace(**door))
    post = Client._post

    async def numbered(self: Client, method: str, data: bytes) -> Any:
        if method not in NUMBERED:
            return await post(self, method, data)
        disk.number(f"ask {method}")
        found = await post(self, method, data)
        disk.number(f"{method} was answered")
        return found

    patch.setattr("wallet.client.Client._post", numbered)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    code = 0
    try:
        tael.main(question["args"], prog_name="tael", obj=App(environment(question["seed"])))
    except SystemExit as ended:
        code = int(ended.code or 0)
    tell()
    os._exit(code)


def main() -> None:
    for line in sys.stdin:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            _child(json.loads(line), writer)
        os.close(writer)
        with open(reader, encoding="utf-8") as pipe:
            told = json.loads(pipe.read())
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        sys.stdout.write(json.dumps({"code": code, **told}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
