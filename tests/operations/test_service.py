"""What a service manager hears of a node, over a real socket."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.operations.service import Service, State, watchdog_s
from tests.support.daemon import Daemon, wait_for

WATCHDOG_S = 1.5


class Manager:
    """Stands for systemd: takes datagrams at the address that the process was given."""

    def __init__(self, address: str | bytes) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.setblocking(False)
        self.lines: list[str] = []
        self.at: list[float] = []

    def hear(self) -> list[str]:
        """All lines so far."""
        while True:
            try:
                data = self._socket.recv(4_096)
            except BlockingIOError:
                return self.lines
            self.lines += data.decode().split("\n")
            self.at.append(time.monotonic())

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    address = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setenv("WATCHDOG_USEC", str(int(WATCHDOG_S * 1_000_000)))
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    found = Manager(address)
    yield found
    found.close()


def test_life_of_a_node_is_told_from_start_to_stop(manager: Manager, tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "node").start()
    try:
        wait_for(lambda: "READY=1" in manager.hear(), "it says that it is ready")
        assert "STATUS=starting or stopping" in manager.lines
        assert any(line.startswith("EXTEND_TIMEOUT_USEC=") for line in manager.lines)
        wait_for(lambda: "STATUS=block 0 of 0, 0 peers" in manager.hear(), "it says where it is")
        assert "STOPPING=1" not in manager.lines
        os.kill(daemon.pid, signal.SIGHUP)
        wait_for(lambda: manager.hear().count("READY=1") == 2, "it says that it reloaded")
        first = manager.lines.index("RELOADING=1")
        assert manager.lines[first + 1].startswith("MONOTONIC_USEC=")
    finally:
        assert daemon.stop() == 0
    assert "STOPPING=1" in manager.hear()


def test_watchdog_is_fed_while_the_node_lives_and_starves_when_it_hangs(
    manager: Manager, tmp_path: Path
) -> None:
    daemon = Daemon(tmp_path / "node").start()
    try:
        start = manager.hear().count("WATCHDOG=1")
        wait_for(lambda: manager.hear().count("WATCHDOG=1") >= start + 4, "it is fed")
        gaps = [b - a for a, b in zip(manager.at, manager.at[1:], strict=False)]
        assert max(gaps) < WATCHDOG_S
        os.kill(daemon.pid, signal.SIGSTOP)
        manager.hear()
        fed = len(manager.lines)
        time.sleep(WATCHDOG_S)
        assert len(manager.hear()) == fed
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
        assert daemon.stop() == 0


def test_loop_that_hangs_feeds_no_watchdog_though_the_process_lives() -> None:
    sent: list[bytes] = []

    def hang() -> None:
        time.sleep(0.5)

    async def main() -> None:
        service = Service(sent.append, 0.15, time.monotonic)
        service.enter(State.READY)
        feeding = asyncio.create_task(service.run(lambda: "well"))
        await asyncio.sleep(0.2)
        fed = len(sent)
        hang()
        assert len(sent) == fed > 2
        feeding.cancel()

    asyncio.run(main())
    assert b"EXTEND_TIMEOUT" not in b"".join(sent)


def test_manager_that_is_gone_stops_no_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    daemon = Daemon(tmp_path / "node").start()
    assert daemon.stop() == 0
    assert not any("Traceback" in line for line in daemon.log)


def test_socket_without_a_file_is_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"tael-test-{os.getpid()}"
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    found = Manager(b"\0" + name.encode())
    daemon = Daemon(tmp_path / "node").start()
    try:
        wait_for(lambda: "READY=1" in found.hear(), "it says that it is ready")
    finally:
        daemon.stop()
        found.close()


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
    ],
)
def test_watchdog_of_this_process_alone_counts(environment: dict[str, str], seconds: float) -> None:
    assert watchdog_s(environment, 7) == seconds
