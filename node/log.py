"""Logs of a node: one line for each thing that happened, for people or as JSON for programs."""

from __future__ import annotations

import logging
import sys
import time

import orjson


def _stamp(record: logging.LogRecord) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.msecs):03}Z"


def _printable(text: str) -> str:
    """What peers and users send may hold anything; a line of the log stays a line."""
    return "".join(character if character.isprintable() else "?" for character in text)


class TextFormatter(logging.Formatter):
    """`time LEVEL part: message`, the traceback of a bug behind it."""

    def format(self, record: logging.LogRecord) -> str:
        part = record.name.removeprefix("node.")
        line = f"{_stamp(record)} {record.levelname:<7} {part}: {_printable(record.getMessage())}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": _stamp(record),
            "level": record.levelname.lower(),
            "part": record.name,
            "message": _printable(record.getMessage()),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(entry).decode()


def set_up(level: str, as_json: bool) -> None:
    """Send all logs to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Their warnings are about requests that we answer with an error of our own.
    logging.getLogger("aiohttp").setLevel(logging.ERROR)
    logging.getLogger("asyncio").setLevel(logging.ERROR)
