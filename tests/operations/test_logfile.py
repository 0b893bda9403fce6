"""The log in files: bounded, moved away by others, and on disks that take nothing more."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import signal
from pathlib import Path

import pytest

from node.disk import SYSTEM_DISK
from node.log import CHARACTERS_MAX, JsonFormatter, TextFormatter, set_up, tell_uncaught
from node.logfile import FILES, LogFile
from tests.support.daemon import Daemon, wait_for
from tests.support.disks import NumberedDisk, full


class Kept(logging.Handler):
    """What went to standard error."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def record(message: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord("node.chain", logging.INFO, "f", 1, message, arguments, None)


def log_file(
    path: Path, bytes_max: int = 1_000_000, disk: NumberedDisk | None = None
) -> tuple[LogFile, Kept]:
    kept = Kept()
    made = LogFile(path, bytes_max, disk or SYSTEM_DISK, kept)
    made.setFormatter(JsonFormatter())
    return made, kept


def messages(path: Path) -> list[str]:
    return [json.loads(line)["message"] for line in path.read_text().splitlines()]


def test_all_files_together_stay_below_their_limit(tmp_path: Path) -> None:
    log, _ = log_file(tmp_path / "node.log", 10_000)
    for number in range(2_000):
        log.handle(record("line %d", number))
    log.close()
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == [
        "node.log",
        *(f"node.log.{n}" for n in range(1, FILES)),
    ]
    assert sum(file.stat().st_size for file in files) <= 10_000
    newest = [message for file in reversed(files) for message in messages(file)]
    assert newest == [f"line {number}" for number in range(2_000 - len(newest), 2_000)]


def test_log_goes_on_behind_what_was_there(tmp_path: Path) -> None:
    for number in range(3):
        log, _ = log_file(tmp_path / "node.log")
        log.handle(record("start %d", number))
        log.close()
    assert messages(tmp_path / "node.log") == ["start 0", "start 1", "start 2"]


def test_file_that_was_moved_away_is_left_alone_after_reopening(tmp_path: Path) -> None:
    log, _ = log_file(tmp_path / "node.log")
    log.handle(record("before"))
    (tmp_path / "node.log").rename(tmp_path / "old")
    log.handle(record("still there"))
    log.reopen()
    log.handle(record("after"))
    log.close()
    assert messages(tmp_path / "old") == ["before", "still there"]
    assert messages(tmp_path / "node.log") == ["after"]


def test_line_that_a_full_disk_tore_spoils_no_other(tmp_path: Path) -> None:
    # Changes: 0 the file, 1 the first line, 2 the second, which fails.
    log, kept = log_file(tmp_path / "node.log", disk=NumberedDisk(2, full))
    for number in range(4):
        log.handle(record("line %d", number))
    log.close()
    torn = (tmp_path / "node.log").read_text().splitlines()
    whole = [json.loads(line)["message"] for line in torn if line.endswith("}")]
    missing = "1 lines are missing here: they could not be written"
    assert whole == ["line 0", missing, "line 2", "line 3"]
    reason = os.strerror(errno.ENOSPC)
    assert kept.lines == [f"cannot write the log {tmp_path / 'node.log'}: {reason}", "line 1"]


def test_disk_that_stays_full_is_told_of_once(tmp_path: Path) -> None:
    log, kept = log_file(tmp_path / "node.log", disk=NumberedDisk(1, full, lasts=True))
    for number in range(50):
        log.handle(record("line %d", number))
    log.close()
    assert len(kept.lines) == 51
    assert kept.lines[1:] == [f"line {number}" for number in range(50)]


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_line_is_never_longer_than_a_small_file(formatter: logging.Formatter) -> None:
    try:
        raise ValueError("\x01\ud800" * 100_000)
    except ValueError as error:
        made = record("\x02" * 100_000)
        made.exc_info = (ValueError, error, error.__traceback__)
    line = formatter.format(made).encode()
    assert 2 * CHARACTERS_MAX < len(line) < 1_000_000 // FILES


def port_told(daemon: Daemon, path: Path) -> bool:
    return path.exists() and "peers at" in path.read_text()


def test_node_logs_whole_json_lines_and_reopens_its_file_when_told(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "node.log"
    daemon = Daemon(tmp_path / "node", "--log-file", str(path), "--log-json").start(ready=False)
    try:
        wait_for(lambda: port_told(daemon, path), "the node has started")
        path.rename(tmp_path / "logs" / "away")
        os.kill(daemon.pid, signal.SIGHUP)
        wait_for(path.exists, "the file is there again")
    finally:
        assert daemon.stop() == 0
    assert daemon.log == []
    everything = [*messages(tmp_path / "logs" / "away"), *messages(path)]
    assert any(message.startswith("peers at") for message in everything)
    assert any(message.startswith("state written") for message in everything)


def test_node_outlives_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    log = tmp_path / "logs"
    daemon = Daemon(tmp_path / "node", "--log-file", str(log / "node.log")).start(ready=False)
    try:
        wait_for(lambda: port_told(daemon, log / "node.log"), "the node has started")
        (log / "node.log").rename(tmp_path / "away")
        log.rmdir()
        log.write_text("a file where the directory was")
        os.kill(daemon.pid, signal.SIGHUP)
        wait_for(lambda: any("cannot write the log" in line for line in daemon.log), "it is told")
        assert daemon.is_running
    finally:
        assert daemon.stop() == 0
    assert sum("cannot write the log" in line for line in daemon.log) == 1
    assert any("state written" in line for line in daemon.log)


def test_log_that_can_never_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "node.log"
    daemon = Daemon(tmp_path / "node", "--log-file", str(path)).start(ready=False)
    assert daemon.wait() == 1
    assert daemon.log == [f"taeld: log-file {path}: File exists"]


def test_log_that_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null"), tmp_path):
        with pytest.raises(OSError, match="it is no file"):
            log_file(path)


def test_bug_that_ends_the_node_is_whole_json_in_its_log(monkeypatch: pytest.MonkeyPatch) -> None:
    told = io.StringIO()
    monkeypatch.setattr("sys.stderr", told)
    try:
        raise KeyError("\ud800\n2026-11-27 INFO all is well")
    except KeyError as error:
        set_up("info", as_json=True)
        tell_uncaught(KeyError, error, error.__traceback__)
    (line,) = told.getvalue().splitlines()
    found = json.loads(line)
    assert (found["level"], found["message"]) == ("critical", "ended by a bug")
    assert "KeyError" in found["traceback"]


def test_reason_why_a_node_ends_is_json_where_its_log_is(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, "--log-json", "--rpc-user", "no user").start(ready=False)
    assert daemon.wait() == 1
    told = [json.loads(line) for line in daemon.log]
    assert told[-1]["level"] == "error"
    assert told[-1]["message"].startswith("rpc-user: ")
