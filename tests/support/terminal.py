"""A program on a terminal of its own, as a person would sit at it."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

LIMIT_S = 30
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x07|\r")


class Terminal:
    """Types, and waits for what is shown."""

    def __init__(self, command: Sequence[str], home: Path, **variables: str) -> None:
        leader, follower = pty.openpty()
        self._leader = leader
        environment: Mapping[str, str] = {
            "HOME": str(home), "PATH": os.environ["PATH"], "TERM": "xterm", "LANG": "C.UTF-8",
            **variables,
        }  # fmt: skip
        self._process = subprocess.Popen(
            command, cwd=home, env=environment, stdin=follower, stdout=follower, stderr=follower,
            start_new_session=True,
        )  # fmt: skip
        os.close(follower)

    def type(self, text: str) -> None:
        os.write(self._leader, text.encode())

    def until(self, wanted: str, since: str = "") -> str:
        """What is shown from now on, as soon as `wanted` is in it."""
        seen, end = since, time.monotonic() + LIMIT_S
        while wanted not in seen:
            assert time.monotonic() < end, f"waited for {wanted!r} in vain: {seen!r}"
            if select.select([self._leader], [], [], 0.2)[0]:
                seen = _CONTROL.sub("", seen + os.read(self._leader, 65_536).decode())
        return seen

    def send_signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """The exit code."""
        return self._process.wait(LIMIT_S)

    def close(self) -> None:
        self._process.kill()
        self._process.wait(LIMIT_S)
        os.close(self._leader)
