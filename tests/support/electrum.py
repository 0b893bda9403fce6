"""A client that speaks the Electrum protocol on the wire, as its specification says, and checks proofs."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from consensus.hashes import to_text
from tests.support.daemon import Daemon, wait_for


class ElectrumFailure(Exception):
    """An error that the server answered with."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


def scripthash(script_hex: str) -> str:
    """By which clients name a script."""
    return hashlib.sha256(bytes.fromhex(script_hex)).digest()[::-1].hex()


def scripthash_of_lock(lock: bytes) -> str:
    return scripthash("5120" + lock.hex())


def status_of(history: list[dict[str, Any]]) -> str | None:
    """What the protocol calls the status of an address with this history."""
    text = "".join(f"{row['tx_hash']}:{row['height']}:" for row in history)
    return hashlib.sha256(text.encode()).hexdigest() if history else None


def sha256d(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def fold(leaf: bytes, branch: list[str], index: int) -> str:
    """The root of a Bitcoin tree that a branch leads to, in text form."""
    for each in branch:
        other = bytes.fromhex(each)[::-1]
        leaf = sha256d(other + leaf if index & 1 else leaf + other)
        index >>= 1
    return to_text(leaf)


class Wire:
    """A connection. Answers are waited for one by one; news is kept."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.notices: list[tuple[str, list[Any]]] = []
        self._file = self.socket.makefile("rb")
        self._number = 0

    def close(self) -> None:
        self._file.close()
        self.socket.close()

    def send(self, line: bytes) -> None:
        self.socket.sendall(line)

    def read(self) -> Any:
        """The next line that is not news, as JSON; None at the end."""
        while True:
            line = self._file.readline()
            if not line:
                return None
            found = json.loads(line)
            if not isinstance(found, dict) or "method" not in found:
                return found
            self.notices.append((found["method"], found["params"]))

    def call(self, method: str, *params: Any) -> Any:
        """The result. Raises: ElectrumFailure."""
        self._number += 1
        request = {"jsonrpc": "2.0", "id": self._number, "method": method, "params": params}
        self.send(json.dumps(request).encode() + b"\n")
        found = self.read()
        assert found is not None, "the server closed the connection"
        assert found["id"] == self._number
        if "error" in found:
            raise ElectrumFailure(found["error"]["code"], found["error"]["message"])
        return found["result"]

    def news_of(self, method: str, *first: Any) -> list[Any]:
        """What was told by `method` of `first`, oldest first; asks once to hear what has come."""
        self.call("server.ping")
        return [
            params[-1]
            for name, params in self.notices
            if name == method and tuple(params[:-1]) == first
        ]

    def wait_for_news(self, method: str, value: Any, *first: Any) -> None:
        """Wait until `value` was told by `method`."""
        wait_for(lambda: value in self.news_of(method, *first), f"{method} tells {value}")

    def wait_for_status(self, hashed: str, status: str | None) -> None:
        """Wait until that status was told."""
        self.wait_for_news("blockchain.scripthash.subscribe", status, hashed)


@contextmanager
def wire(daemon: Daemon) -> Iterator[Wire]:
    """A connection to a node's Electrum server."""
    client = Wire(electrum_port(daemon))
    try:
        yield client
    finally:
        client.close()


def electrum_port(daemon: Daemon) -> int:
    return wait_for(lambda: daemon.doors.get("electrum", 0), "the Electrum server listens")
