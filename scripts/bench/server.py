"""A node in a process of its own: its log with arrival times, its RPC, its memory."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 120.0
STOP_S = 60.0
MIB = 1 << 20


class BenchError(Exception):
    """The measurement cannot go on; the text says why."""


class Line(NamedTuple):
    """A line of a log."""

    at: float
    """When it came, on the clock `time.perf_counter`."""
    text: str


def free_port() -> int:
    """A port that is free now, for programs that cannot choose one themselves."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(look: Callable[[], T | None], what: str, pause_s: float = 0.005) -> T:
    """Look until there is something. Raises: BenchError, after a long time."""
    deadline = time.perf_counter() + LIMIT_S
    while (found := look()) is None:
        if time.perf_counter() > deadline:
            raise BenchError(f"waited {LIMIT_S:.0f} s in vain until {what}")
        time.sleep(pause_s)
    return found


class Server:
    """A running node. The ports are filled in by whoever starts it."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None):
        self.lines: list[Line] = []
        self.rpc_port = 0
        self.p2p_port = 0
        self.credentials: Callable[[], bytes] = bytes
        self._connection: http.client.HTTPConnection | None = None
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, env={**os.environ, **(environment or {})},
            start_new_session=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(Line(time.perf_counter(), line.decode(errors="replace").rstrip()))

    # Log

    def find(self, pattern: str, start: int = 0) -> tuple[Line, re.Match[str]] | None:
        """The first line from number `start` on that holds `pattern`."""
        compiled = re.compile(pattern)
        for line in self.lines[start:]:
            if match := compiled.search(line.text):
                return line, match
        return None

    def wait_line(self, pattern: str, start: int = 0) -> tuple[Line, re.Match[str]]:
        """Wait until such a line is there. Raises: BenchError."""

        def look() -> tuple[Line, re.Match[str]] | None:
            # First whether it lives, then what it said: its last words are read then.
            ended = self.process.poll() is not None and not self._reader.is_alive()
            found = self.find(pattern, start)
            if found is None and ended:
                last = "\n".join(line.text for line in self.lines[-20:])
                raise BenchError(f"{self.process.args!r} ended:\n{last}")
            return found

        return wait_for(look, f"{pattern!r} is said by {self.process.args!r}", 0.002)

    # RPC

    @property
    def authorization(self) -> str:
        return "Basic " + base64.b64encode(self.credentials()).decode()

    def call(self, method: str, *params: Any) -> Any:
        """The result of a JSON-RPC call on a connection that is kept. Raises: BenchError."""
        return result_of(method, self.fetch(method, *params))

    def fetch(self, method: str, *params: Any) -> bytes:
        """The answer as it came, so that a clock can be read before it is taken apart."""
        body = json.dumps({"id": 1, "method": method, "params": params})
        headers = {"Content-Type": "application/json", "Authorization": self.authorization}
        if self._connection is None:
            self._connection = http.client.HTTPConnection(
                "127.0.0.1", self.rpc_port, timeout=LIMIT_S
            )
        try:
            self._connection.request("POST", "/", body, headers)
            return self._connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            self._connection = None
            raise

    def wait_ready(self, height: int) -> float:
        """Wait until it answers that it is at `height`; seconds since it was started."""

        def look() -> float | None:
            if self.process.poll() is not None:
                last = "\n".join(line.text for line in self.lines[-20:])
                raise BenchError(f"{self.process.args!r} ended:\n{last}")
            try:
                at = self.call("getblockcount")
            except (BenchError, OSError, http.client.HTTPException):
                return None
            return time.perf_counter() - self.began if at == height else None

        return wait_for(look, f"block {height}")

    # Memory

    def _tree(self) -> list[int]:
        """Its process and those that it started."""
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            for task in Path(f"/proc/{pid}/task").iterdir():
                todo += [int(child) for child in (task / "children").read_text().split()]
        return found

    def _sum(self, file: str, field: str) -> float:
        total = 0
        for pid in self._tree():
            text = Path(f"/proc/{pid}/{file}").read_text()
            found = re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)
            total += int(found[1]) * 1024 if found else 0
        return total / MIB

    def memory_mib(self) -> float:
        """What it and its processes hold now, pages that are shared divided among the holders."""
        return self._sum("smaps_rollup", "Pss")

    def peak_mib(self) -> float:
        """The most that it and its processes held, each at its own worst moment, added up."""
        return self._sum("status", "VmHWM")

    # End

    def stop(self) -> None:
        """End it in order; by force if it takes too long."""
        if self._connection is not None:
            self._connection.close()
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def result_of(method: str, answer: bytes) -> Any:
    """The result in an answer to `method`. Raises: BenchError."""
    shown = json.loads(answer)
    if shown.get("error"):
        raise BenchError(f"{method}: {shown['error']}")
    return shown["result"]
