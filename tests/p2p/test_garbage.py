"""Megabytes that are no HTTP, at the port of peers: they stay neither in memory nor in the log."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from p2p.http_log import HttpLog
from tests.support.alive import GROWTH_BYTES_MAX, memory_bytes
from tests.support.daemon import Daemon, running

AT_ONCE, EACH = 8, 40
HEAD = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"
PLENTY = 250_000
LOG_BYTES_MAX = 10_000


def in_plain(opened: socket.socket) -> socket.socket:
    return opened


def in_tls(opened: socket.socket) -> socket.socket:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(opened)


def hurl(port: int, wrap: Callable[[socket.socket], socket.socket], garbage: bytes) -> None:
    """Send it over connections one after the other, and wait until each is ended."""
    for _ in range(EACH):
        with (
            suppress(OSError),
            wrap(socket.create_connection(("127.0.0.1", port), 5)) as connection,
        ):
            with suppress(OSError):
                connection.sendall(garbage)
            while connection.recv(4_096):
                pass


@pytest.mark.parametrize(
    ("options", "wrap"),
    [((), in_plain), ((), in_tls), (("--p2p-tls", "off"), in_plain)],
    ids=["plain", "tls", "tls off"],
)
@pytest.mark.parametrize(
    "garbage", [b"\xff" * PLENTY, HEAD + b"\xff" * PLENTY], ids=["no head", "half a head"]
)
def test_what_is_no_http_stays_neither_in_memory_nor_in_the_log(
    tmp_path: Path, options: tuple[str, ...], wrap: Callable[[socket.socket], socket.socket],
    garbage: bytes,
) -> None:  # fmt: skip
    node = Daemon(tmp_path, *options)
    with running(node):
        before, lines = memory_bytes(node.pid), len(node.log)
        crowd = [
            threading.Thread(target=hurl, args=(node.p2p_port, wrap, garbage))
            for _ in range(AT_ONCE)
        ]
        for each in crowd:
            each.start()
        for each in crowd:
            each.join()
        assert memory_bytes(node.pid) - before < GROWTH_BYTES_MAX
        assert node.call("getblockcount") == 0
        told = node.log[lines:]
        assert any("not HTTP, on the port of peers from 127.0.0.1" in line for line in told)
        assert sum(map(len, told)) < LOG_BYTES_MAX


@pytest.mark.parametrize(
    ("error", "lines"),
    [
        (ConnectionResetError("Cannot write to closing transport"), 0),
        (RuntimeError("unable to perform operation on <TCPTransport>; the handler is closed"), 0),
        (RuntimeError("dictionary changed size during iteration"), 1),
    ],
)
def test_who_left_while_he_was_answered_is_no_error(
    caplog: pytest.LogCaptureFixture, error: Exception, lines: int
) -> None:
    log = HttpLog(logging.getLogger("test"), "the port of peers")
    try:
        raise error
    except (ConnectionError, RuntimeError):
        log.exception("Error handling request from %s", "127.0.0.1", exc_info=error)
    assert len(caplog.records) == lines
