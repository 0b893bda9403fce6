"""What aiohttp has to say of the connections of strangers, in lines that do not fill the log."""

from __future__ import annotations

import logging
from typing import Any

from aiohttp.http_exceptions import HttpProcessingError


class HttpLog(logging.LoggerAdapter[logging.Logger]):
    """aiohttp takes bytes that are no HTTP, and a client that left amid its body, for errors of its own,
    with a traceback for each: strangers would fill the log. Such an error also holds all bytes that came with
    it, and is held by its own traceback: they would fill the memory, until the collector comes to it."""

    def __init__(self, logger: logging.Logger, where: str) -> None:
        """`where`: whose connections they are, as in "not HTTP, on the RPC from …"."""
        super().__init__(logger)
        self._where = where
        self._unreadable = 0

    def debug(self, msg: object, *args: object, **kwargs: Any) -> None:
        """aiohttp tells so of a first request that begins with no method."""
        if isinstance(kwargs.get("exc_info"), HttpProcessingError):
            self.exception(msg, *args, **kwargs)
        else:
            super().debug(msg, *args, **kwargs)

    def exception(self, msg: object, *args: object, **kwargs: Any) -> None:
        error = kwargs.get("exc_info")
        if isinstance(error, HttpProcessingError):
            error.__traceback__ = None
            self._unreadable += 1
            if self._unreadable & (self._unreadable - 1) == 0:  # 1, 2, 4, 8 …
                reason = error.message.partition("\n")[0].rstrip(":")
                who = args[0] if args else "?"
                self.logger.warning(
                    "not HTTP, on %s from %s: %s (%d so far)",
                    self._where, who, reason, self._unreadable,
                )  # fmt: skip
        elif not _has_left(error):
            super().exception(msg, *args, **kwargs)


def _has_left(error: object) -> bool:
    """Whether it says that the other end is gone, which uvloop may say by a RuntimeError."""
    is_closed = isinstance(error, RuntimeError) and "the handler is closed" in str(error)
    return is_closed or isinstance(error, ConnectionError)
