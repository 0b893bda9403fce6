"""What one connection may take of the node's time and memory, on a clock that is set."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from node.stratum import connection as connection_module
from node.stratum.connection import (
    GREETING_S,
    IDLE_S,
    LINES_BURST,
    LINES_PER_TURN,
    LINES_WAITING_MAX,
    UNSENT_BYTES_MAX,
    Connection,
    Turns,
)
from node.stratum.messages import LINE_BYTES_MAX
from node.stratum.session import Session
from tests.stratum.office_kit import EXTRANONCE1, FakeOffice, desk

SUBSCRIBE = b'{"id": 1, "method": "mining.subscribe", "params": []}\n'
AUTHORIZE = b'{"id": 2, "method": "mining.authorize", "params": ["alice", "x"]}\n'


class FakeTransport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.unsent = 0
        self.is_aborted = False
        self.is_paused = False
        self.resumed = asyncio.Event()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("10.0.0.1", 5) if name == "peername" else default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def abort(self) -> None:
        self.is_aborted = True

    def pause_reading(self) -> None:
        self.is_paused = True
        self.resumed.clear()

    def resume_reading(self) -> None:
        self.is_paused = False
        self.resumed.set()

    @property
    def answers(self) -> list[dict[str, Any]]:
        messages = [json.loads(line) for line in self.written]
        return [message for message in messages if "method" not in message]


class Line:
    """A connection with both its ends."""

    def __init__(self, turns: Turns | None = None) -> None:
        self.office: FakeOffice = desk().office
        self.open: list[Connection] = []
        self.transport = FakeTransport()

        def make_session(send: Callable[[bytes], None]) -> Session:
            return Session(self.office, EXTRANONCE1, send)

        self.connection = Connection(
            make_session,
            self.office.now,
            turns or Turns(lambda call: call()),
            self.open.append,
            self.open.remove,
        )
        self.connection.connection_made(self.transport)

    def hear(self, data: bytes) -> None:
        self.connection.data_received(data)

    @property
    def is_up(self) -> bool:
        return not self.transport.is_aborted


@pytest.fixture
def line() -> Line:
    return Line()


def test_lines_may_come_in_any_pieces(line: Line) -> None:
    for byte in SUBSCRIBE + b"\r\n\n" + AUTHORIZE:
        line.hear(bytes([byte]))
    assert [answer["id"] for answer in line.transport.answers] == [1, 2]
    assert all(answer["error"] is None for answer in line.transport.answers)


def test_line_without_end_is_cut_off(line: Line) -> None:
    line.hear(b"x" * LINE_BYTES_MAX)
    assert line.is_up
    line.hear(b"x")
    assert not line.is_up
    line.hear(SUBSCRIBE)
    assert not line.transport.written


def test_line_that_is_too_long_is_not_read(line: Line) -> None:
    line.hear(SUBSCRIBE[:-2] + b" " * LINE_BYTES_MAX + b"}\n")
    assert not line.is_up
    assert not line.transport.written


def test_what_follows_a_broken_line_is_not_read(line: Line) -> None:
    line.hear(b"GET / HTTP/1.1\r\n" + SUBSCRIBE)
    assert not line.is_up
    assert not line.transport.written


def test_more_lines_than_can_be_shares_are_cut_off(line: Line) -> None:
    line.hear(b"\n" * (LINES_WAITING_MAX + 1))
    assert not line.is_up


def test_who_does_not_authorize_is_sent_away(line: Line) -> None:
    line.hear(SUBSCRIBE)
    line.office.pass_time(GREETING_S)
    line.connection.check()
    assert line.is_up
    line.office.pass_time(1)
    line.connection.check()
    assert not line.is_up


def test_who_is_silent_for_very_long_is_sent_away(line: Line) -> None:
    line.hear(SUBSCRIBE + AUTHORIZE)
    line.office.pass_time(IDLE_S)
    line.connection.check()
    assert line.is_up
    line.office.pass_time(1)
    line.connection.check()
    assert not line.is_up


def test_who_does_not_read_is_sent_away(line: Line) -> None:
    line.hear(SUBSCRIBE + AUTHORIZE)
    line.transport.unsent = UNSENT_BYTES_MAX + 1
    line.connection.session.renew(is_clean=True)
    assert not line.is_up


def test_end_of_a_connection_is_told_once_and_its_worker_leaves(line: Line) -> None:
    line.hear(SUBSCRIBE + AUTHORIZE)
    (worker,) = line.office.workers
    assert (len(line.open), worker.connections) == (1, 1)
    line.connection.end("a test")
    line.connection.connection_lost(None)
    assert (len(line.open), worker.connections) == (0, 0)


def test_mistake_of_ours_ends_one_connection_and_leaves_the_others_alone(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = Turns(lambda call: call())
    broken, other = Line(turns), Line(turns)

    def fail() -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(broken.office, "next_number", fail)
    broken.hear(SUBSCRIBE + AUTHORIZE)
    assert not broken.is_up
    assert "a mistake in this program" in caplog.text
    other.hear(SUBSCRIBE + AUTHORIZE)
    assert len(other.transport.answers) == 2


def test_crowd_that_sends_at_once_leaves_time_to_others() -> None:
    calls: list[Callable[[], None]] = []
    turns = Turns(calls.append)
    crowd = [Line(turns) for _ in range(LINES_PER_TURN)]
    for line in crowd:
        line.hear(SUBSCRIBE * 9)
    assert not any(line.transport.answers for line in crowd)
    for taken in range(1, 4):
        (call,) = calls
        calls.clear()
        call()
        assert {len(line.transport.answers) for line in crowd} == {taken}
    crowd[0].connection.end("a test")
    while calls:
        calls.pop()()
    assert [len(line.transport.answers) for line in crowd] == [3] + [9] * (LINES_PER_TURN - 1)
    crowd[1].hear(SUBSCRIBE)
    calls.pop()()
    assert len(crowd[1].transport.answers) == 10


def test_lines_beyond_what_a_miner_may_send_wait_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "LINES_PER_SECOND", 1_024)

    async def run() -> None:
        line = Line()
        line.hear(SUBSCRIBE * (LINES_BURST + 30))
        assert len(line.transport.answers) == LINES_BURST
        assert line.transport.is_paused
        line.hear(SUBSCRIBE)  # what was read before it took effect
        assert len(line.transport.answers) == LINES_BURST
        line.office.pass_time(1 / 64)
        await asyncio.sleep(0.01)
        assert len(line.transport.answers) == LINES_BURST + 16
        line.office.pass_time(1)
        async with asyncio.timeout(10):
            await line.transport.resumed.wait()
        assert len(line.transport.answers) == LINES_BURST + 31
        assert line.is_up

    asyncio.run(run())
