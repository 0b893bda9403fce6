"""Heads of HTTP: those of requests that were let in before, and those of answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import NamedTuple

from node.rpc.method import Role

HEADS_MAX = 1_024
"""Heads that are remembered; the oldest is forgotten first."""
SERVER_NAME = "tael"


class Head(NamedTuple):
    """What came of a head that was let in."""

    role: Role
    body_bytes: int


class KnownHeads:
    """Heads that aiohttp has parsed and the server has let in, by their hash.

    A head holds a password. The key is a hash of the whole of it, so that no password is kept, and
    how long a look-up takes tells nothing: the bits that are compared cannot be chosen by anybody.
    A head that differs in one bit is not known, and its password is checked.
    """

    def __init__(self) -> None:
        self._heads: dict[bytes, Head] = {}

    def __len__(self) -> int:
        return len(self._heads)

    def forget(self) -> None:
        """Have every password checked again."""
        self._heads.clear()

    def find(self, raw: bytes) -> Head | None:
        return self._heads.get(hashlib.sha256(raw).digest())

    def learn(self, raw: bytes, head: Head) -> None:
        # Where a CR or an LF stands alone, another parser may find the end of the head elsewhere.
        lines = raw.count(b"\r\n")
        if raw.count(b"\r") != lines or raw.count(b"\n") != lines:
            return
        if len(self._heads) >= HEADS_MAX:
            del self._heads[next(iter(self._heads))]
        self._heads[hashlib.sha256(raw).digest()] = head


class AnswerHeads:
    """Writes what stands before a body. The date is made anew when the second changes."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives seconds since 1970."""
        self._clock = clock
        self._second = -1
        self._beginnings: dict[int, bytes] = {}

    def write(self, status: int, size: int) -> bytes:
        """The head of an answer of `size` bytes of JSON."""
        beginning = self._begin(status)
        if status == HTTPStatus.NO_CONTENT:
            return beginning + b"\r\n"
        return b"%bContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (beginning, size)

    def refuse(self, status: int, reason: str) -> bytes:
        """A whole answer, after which the connection ends."""
        return (
            b"%bContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"
            b"Connection: close\r\n\r\n%b" % (self._begin(status), len(reason), reason.encode())
        )

    def _begin(self, status: int) -> bytes:
        second = int(self._clock())
        if second != self._second:
            self._second = second
            self._beginnings.clear()
        found = self._beginnings.get(status)
        if found is None:
            date, phrase = formatdate(second, usegmt=True), HTTPStatus(status).phrase
            text = f"HTTP/1.1 {status} {phrase}\r\nServer: {SERVER_NAME}\r\nDate: {date}\r\n"
            found = self._beginnings[status] = text.encode()
        return found
