"""Real nodes: `taeld` in processes of its own, spoken to over its sockets."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from consensus.block import Block

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
_RPC_AT = re.compile(r"JSON-RPC at http://127\.0\.0\.1:(\d+)")
_DOOR_AT = re.compile(r"\b(web|electrum|stratum|zmq) at (?:tcp://)?127\.0\.0\.1:(\d+)")
_P2P_AT = re.compile(r"peers at (127\.0\.0\.\d+):(\d+)")


class RpcFailure(Exception):
    """An error that the node answered with."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


def wait_for(
    condition: Callable[[], T], what: str, limit_s: float = 30, pause_s: float = 0.02
) -> T:
    """Ask until the answer is true; fail after `limit_s`. Returns the answer."""
    deadline = time.monotonic() + limit_s
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited {limit_s} s in vain until {what}"
        time.sleep(pause_s)


class Daemon:
    """One `taeld` on regtest, or on another network by `options`."""

    def __init__(self, datadir: Path, *options: str, network: str = "regtest") -> None:
        self.datadir = datadir
        self.options = options
        self.network = network
        self.rpc_port = 0
        self.p2p_host = "127.0.0.1"
        self.p2p_port = 0
        self.doors: dict[str, int] = {}
        """Ports of the servers beside the JSON-RPC, by the option that asked for each."""
        self.log: list[str] = []
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    @property
    def p2p(self) -> str:
        return f"{self.p2p_host}:{self.p2p_port}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.rpc_port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, *more: str, ready: bool = True) -> Daemon:
        """Start it, on the ports that it had before if it ran already."""
        command = [
            sys.executable, "-m", "node", "--network", self.network,
            "--datadir", str(self.datadir), "--rpc", f"127.0.0.1:{self.rpc_port}",
            "--p2p", self.p2p, *self.options, *more,
        ]  # fmt: skip
        self.log = []
        self._process = subprocess.Popen(
            command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        if ready:
            wait_for(self._is_ready, "the node answers")
        return self

    def _read_log(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.log.append(line.rstrip("\n"))
            if found := _RPC_AT.search(line):
                self.rpc_port = int(found[1])
            if found := _DOOR_AT.search(line):
                self.doors[found[1]] = int(found[2])
            if found := _P2P_AT.search(line):
                self.p2p_host, self.p2p_port = found[1], int(found[2])

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "the node ended:\n" + "\n".join(self.log)
        if not any(_RPC_AT.search(line) for line in self.log):
            return False
        try:
            self.call("getblockcount")
        except (RpcFailure, OSError, http.client.HTTPException):
            return False
        return True

    def stop(self) -> int:
        """End it by SIGTERM; return its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self.wait()

    def kill(self) -> None:
        """End it as a power cut of the process would."""
        os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def wait(self, limit_s: float = 30) -> int:
        """The exit code, when it has ended."""
        assert self._process is not None
        assert self._reader is not None
        code = self._process.wait(limit_s)
        self._reader.join(limit_s)
        return code

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def call(self, method: str, *params: Any) -> Any:
        """The result of a JSON-RPC call. Raises: RpcFailure, OSError."""
        credentials = (self.datadir / ".cookie").read_bytes()
        connection = http.client.HTTPConnection("127.0.0.1", self.rpc_port, timeout=60)
        try:
            connection.request(
                "POST",
                "/",
                json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}),
                {
                    "Content-Type": "application/json",
                    "Authorization": "Basic " + base64.b64encode(credentials).decode(),
                },
            )
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        assert response.status == 200, (response.status, body[:200])
        answer = json.loads(body)
        if "error" in answer:
            raise RpcFailure(answer["error"]["code"], answer["error"]["message"])
        return answer["result"]

    @property
    def tip(self) -> str:
        return str(self.call("getbestblockhash"))


def wait_for_one_tip(daemons: Sequence[Daemon], limit_s: float = 60) -> str:
    """Wait until all nodes are on one tip and know no better header; return its hash."""

    def one_tip() -> str | None:
        tips = {daemon.tip for daemon in daemons}
        heads = [daemon.call("getblockchaininfo") for daemon in daemons]
        settled = all(head["blocks"] == head["headers"] for head in heads)
        return tips.pop() if len(tips) == 1 and settled else None

    found = wait_for(one_tip, "all nodes are on one tip", limit_s)
    assert found is not None
    return found


@contextmanager
def running(*daemons: Daemon) -> Iterator[None]:
    """Start nodes, and end every one of them whatever happens."""
    try:
        for daemon in daemons:
            daemon.start()
        yield
    finally:
        for daemon in daemons:
            if daemon.is_running:
                daemon.kill()


def feed(daemon: Daemon, blocks: Sequence[Block]) -> None:
    """Submit blocks, each of which must be connected."""
    for block in blocks:
        assert daemon.call("submitblock", block.raw.hex()) is None
