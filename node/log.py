"""Logs of a node: one line for each thing that happened, for people or as JSON for programs."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import orjson

from node.disk import SYSTEM_DISK, Disk
from node.logfile import LogFile

CHARACTERS_MAX = 8_192
"""Of a message, and of a traceback. In JSON each may take 6 bytes."""


def _stamp(record: logging.LogRecord) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.msecs):03}Z"


def _printable(text: str) -> str:
    """What peers and users send may hold anything; a line of the log stays a line."""
    some = text[:CHARACTERS_MAX]
    return "".join(character if character.isprintable() else "?" for character in some)


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """The end of the traceback, each of whose lines stays a line."""
    if not record.exc_info:
        return ""
    text = formatter.formatException(record.exc_info)[-CHARACTERS_MAX:]
    return "\n".join(map(_printable, text.split("\n")))


class TextFormatter(logging.Formatter):
    """`time LEVEL part: message`, the traceback of a bug behind it."""

    def format(self, record: logging.LogRecord) -> str:
        part = record.name.removeprefix("node.")
        line = f"{_stamp(record)} {record.levelname:<7} {part}: {_printable(record.getMessage())}"
        trace = _trace(self, record)
        return f"{line}\n{trace}" if trace else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": _stamp(record),
            "level": record.levelname.lower(),
            "part": record.name,
            "message": _printable(record.getMessage()),
        }
        if trace := _trace(self, record):
            entry["traceback"] = trace
        return orjson.dumps(entry).decode()


class StandardError(logging.StreamHandler[TextIO]):
    """Writes to standard error, and goes on without it where nobody reads it any more."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(formatter)

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exception(), OSError | ValueError):
            super().handleError(record)


def make_handler(
    as_json: bool, file: Path | None = None, bytes_max: int = 0, disk: Disk = SYSTEM_DISK
) -> logging.Handler:
    """Writes to standard error, or to `file` and those before it, `bytes_max` together.

    Raises: OSError.
    """
    formatter = JsonFormatter() if as_json else TextFormatter()
    handler: logging.Handler = StandardError(formatter)
    if file is not None:
        handler = LogFile(file, bytes_max, disk, handler)
        handler.setFormatter(formatter)
    return handler


def install(level: str, handler: logging.Handler) -> None:
    """Send all logs there, and no longer to where they went before."""
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    # Their warnings are about requests that we answer with an error of our own.
    logging.getLogger("aiohttp").setLevel(logging.ERROR)
    logging.getLogger("asyncio").setLevel(logging.ERROR)


def set_up(level: str, as_json: bool) -> None:
    """Send all logs to standard error."""
    install(level, make_handler(as_json))


def reopen() -> None:
    """Have the log go on in the file that has its name now."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LogFile):
            handler.reopen()


def tell_uncaught(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """Put an error that nobody caught into the log, where programs read it too; for sys.excepthook."""
    logging.getLogger("node").critical("ended by a bug", exc_info=(kind, error, trace))
