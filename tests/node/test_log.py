"""Logs: a line stays a line, whatever it tells of."""

from __future__ import annotations

import io
import json
import logging

import pytest

from node.log import JsonFormatter, TextFormatter, set_up

HOSTILE = ["a\nb", "a\r\nWARNING fake: entry", "\x1b[31mred", "\ud800", "\x00", "‮", "\x85 "]


def record(
    message: str, *arguments: object, error: BaseException | None = None
) -> logging.LogRecord:
    info = (type(error), error, None) if error else None
    made = logging.LogRecord("node.chain", logging.WARNING, "f", 1, message, arguments, info)
    made.created, made.msecs = 1_790_000_000.25, 250.0
    return made


def test_a_line_tells_when_how_grave_where_and_what() -> None:
    line = TextFormatter().format(record("block %d", 7))
    assert line == "2026-09-21T14:13:20.250Z WARNING chain: block 7"


def test_a_json_line_has_the_same_entries() -> None:
    assert json.loads(JsonFormatter().format(record("block %d", 7))) == {
        "time": "2026-09-21T14:13:20.250Z",
        "level": "warning",
        "part": "node.chain",
        "message": "block 7",
    }


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
@pytest.mark.parametrize("message", HOSTILE)
def test_what_others_sent_cannot_begin_a_line_or_command_a_terminal(
    formatter: logging.Formatter, message: str
) -> None:
    line = formatter.format(record("peer said %s", message))
    line.encode("utf-8")
    assert len(line.splitlines()) == 1
    assert all(character.isprintable() for character in line)


def test_a_bug_shows_its_traceback_in_both_forms() -> None:
    error = ValueError("a bug")
    assert "ValueError: a bug" in TextFormatter().format(record("it broke", error=error))
    told = json.loads(JsonFormatter().format(record("it broke", error=error)))
    assert "ValueError: a bug" in told["traceback"]


@pytest.mark.parametrize("as_json", [False, True])
def test_the_level_decides_what_is_told(monkeypatch: pytest.MonkeyPatch, as_json: bool) -> None:
    told = io.StringIO()
    monkeypatch.setattr("sys.stderr", told)
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        set_up("warning", as_json)
        logging.getLogger("node.chain").info("nobody hears this")
        logging.getLogger("node.chain").warning("this is heard")
    finally:
        root.handlers[:], root.level = before[0], before[1]
    assert told.getvalue().count("\n") == 1
    assert "this is heard" in told.getvalue()
