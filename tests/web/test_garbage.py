"""Megabytes that are no HTTP, at both doors that aiohttp answers: they do not stay in memory."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.alive import GROWTH_BYTES_MAX, memory_bytes
from tests.support.daemon import Daemon, running

AT_ONCE, EACH = 8, 40
HEAD = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"
PLENTY = 250_000


def hurl(port: int, garbage: bytes) -> None:
    """Send it over connections one after the other, and wait until each is ended."""
    for _ in range(EACH):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as connection:
            connection.sendall(garbage)
            while connection.recv(4_096):
                pass


@pytest.mark.parametrize("door", ["web", "rpc"])
@pytest.mark.parametrize(
    "garbage", [b"\xff" * PLENTY, HEAD + b"\xff" * PLENTY], ids=["no head", "half a head"]
)
def test_what_is_no_http_does_not_stay_in_memory(
    tmp_path: Path, door: str, garbage: bytes
) -> None:  # fmt: skip
    node = Daemon(tmp_path, "--web", "127.0.0.1:0")
    with running(node):
        port = node.rpc_port if door == "rpc" else node.doors[door]
        before = memory_bytes(node.pid)
        crowd = [threading.Thread(target=hurl, args=(port, garbage)) for _ in range(AT_ONCE)]
        for each in crowd:
            each.start()
        for each in crowd:
            each.join()
        assert memory_bytes(node.pid) - before < GROWTH_BYTES_MAX
        assert node.call("getblockcount") == 0
        assert not any("Traceback" in line for line in node.log)
