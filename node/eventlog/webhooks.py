"""Events sent to where an operator says, in order, again and again until they are taken.

Every webhook has its own place in the log, which moves on when the receiver answers 2xx and is kept over
a restart. A receiver may get events twice, since its answer can be lost, and tells that by their numbers.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

import msgspec

from node.eventlog import layout
from node.eventlog.desk import Desk, Lost, Refused, Stopping
from node.eventlog.layout import Kinds, Webhook
from node.eventlog.log import EventLog
from node.rpc import json
from p2p.ports import RandomSource

log = logging.getLogger(__name__)
WEBHOOKS_MAX = 16
URL_LENGTH_MAX = 2_000
EVENTS_PER_POST = 100
SECRET_BYTES = 32
ID_BYTES = 8
ERROR_LENGTH_MAX = 200
DOUBLINGS_MAX = 30


Spawn = Callable[[Awaitable[None]], asyncio.Task[None]]


class Retry(NamedTuple):
    """How long a receiver that fails is left alone: twice as long each time."""

    first_s: float = 1.0
    most_s: float = 600.0


RETRY = Retry()


class Poster(Protocol):
    """Sends something by HTTP."""

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """The status of the answer, whose body is ignored. No redirect is followed.

        Raises: OSError, whose text says what failed; time-outs too.
        """

    async def close(self) -> None: ...


class State(msgspec.Struct):
    """How a webhook fares, since the node started."""

    failures: int = 0
    """In a row."""
    error: str = ""
    """Of the last failure; empty when the last post was taken."""
    at: int = 0
    """When it was tried last, seconds since 1970; 0 for never."""


def check_url(url: str) -> str:
    """Raises: Refused."""
    try:
        parts = urlsplit(url)
        port_is_right = parts.port is None or parts.port > 0
    except ValueError:
        raise Refused("the URL cannot be read") from None
    if len(url) > URL_LENGTH_MAX or not url.isascii() or not url.isprintable() or " " in url:
        raise Refused(f"a URL has at most {URL_LENGTH_MAX} printable characters of ASCII")
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_right:
        raise Refused("a webhook is at http://HOST or https://HOST, perhaps with a port and a path")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise Refused("the URL of a webhook has no user, password or fragment in it")
    return url


def sign(secret: str, time: int, body: bytes) -> str:
    """What stands in the header Tael-Signature."""
    digest = hmac.digest(secret.encode(), b"%d." % time + body, hashlib.sha256)
    return f"sha256={digest.hex()}"


class Webhooks:
    """All of them. Each is served by a task of its own."""

    def __init__(
        self, event_log: EventLog, desk: Desk, poster: Poster, clock: Callable[[], float],
        rng: RandomSource, secret: Callable[[int], bytes], retry: Retry = RETRY,
    ) -> None:  # fmt: skip
        """`clock` gives seconds since 1970. Raises: StorageError."""
        self.rows: dict[str, Webhook] = {
            layout.name_of(key): layout.decode_row(Webhook, value)
            for key, value in event_log.journal.scan(layout.WEBHOOK)
        }
        self.states = {name: State() for name in self.rows}
        self._log = event_log
        self._desk = desk
        self._poster = poster
        self._clock = clock
        self._rng = rng
        self._secret = secret
        self._retry = retry
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, spawn: Spawn) -> None:
        """Serve them; `spawn` runs what a StorageError may end."""
        self._spawn = spawn
        for name in self.rows:
            self._serve(name)

    async def close(self) -> None:
        """Send nothing any more."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._poster.close()

    async def add(self, url: str, kinds: Kinds) -> tuple[str, Webhook]:
        """A new one, which gets what happens from now on. Raises: Refused, Stopping."""
        if len(self.rows) >= WEBHOOKS_MAX:
            raise Refused(f"there are {WEBHOOKS_MAX} webhooks already: see removewebhook")
        name = self._secret(ID_BYTES).hex()
        row = Webhook(
            check_url(url), self._secret(SECRET_BYTES).hex(), tuple(sorted(kinds)),
            self._log.last, int(self._clock()),
        )  # fmt: skip
        self.states[name] = State()
        self._put(name, row)
        # Not before: until then it may stand behind events that nobody may be told of yet.
        await self._desk.settled()
        if name in self.rows:
            self._serve(name)
        return name, row

    async def remove(self, name: str) -> bool:
        """False if there is none of that name. Raises: Stopping."""
        if self.rows.pop(name, None) is None:
            return False
        del self.states[name]
        if name in self._tasks:
            self._tasks.pop(name).cancel()
        self._log.put(layout.WEBHOOK + name.encode(), None)
        await self._desk.settled()
        return True

    def _put(self, name: str, row: Webhook) -> None:
        self.rows[name] = row
        self._log.put(layout.WEBHOOK + name.encode(), layout.encode_row(row))

    def _serve(self, name: str) -> None:
        self._tasks[name] = self._spawn(self._deliver(name))

    async def _deliver(self, name: str) -> None:
        with suppress(Stopping):
            while True:
                batch = await self._next(name)
                if batch.body is not None and not await self._send(name, batch.body):
                    await asyncio.sleep(self._pause_s(self.states[name].failures))
                    continue
                row = self.rows[name]
                self._put(name, msgspec.structs.replace(row, acknowledged=batch.last))

    async def _next(self, name: str) -> _Batch:
        """What is to be sent next, once there is something. Raises: StorageError, Stopping."""
        while True:
            row = self.rows[name]
            try:
                page = self._desk.read(row.acknowledged, EVENTS_PER_POST, frozenset(row.kinds))
            except Lost as lost:
                return _Batch(lost.last, self._body(name, (), lost))
            except Refused:
                # Its place was written in the same batch as the event there, or later.
                raise layout.damaged("webhook ahead of its events") from None
            if page.events:
                return _Batch(page.next, self._body(name, page.events, None))
            if page.next > row.acknowledged:
                return _Batch(page.next, None)
            await self._desk.news()

    def _body(self, name: str, events: Sequence[bytes], lost: Lost | None) -> bytes:
        return json.encode({
            "log": self._log.name,
            "webhook": name,
            "lost": None if lost is None else {"first": lost.first, "last": lost.last},
            "events": [msgspec.Raw(event) for event in events],
        })  # fmt: skip

    async def _send(self, name: str, body: bytes) -> bool:
        """Whether the receiver took it."""
        row, state = self.rows[name], self.states[name]
        state.at = int(self._clock())
        headers = {
            "Content-Type": "application/json",
            "Tael-Webhook": name,
            "Tael-Timestamp": str(state.at),
            "Tael-Signature": sign(row.secret, state.at, body),
        }
        try:
            status = await self._poster.post(row.url, body, headers)
            error = "" if 200 <= status < 300 else f"the receiver answered {status}"
        except OSError as failure:
            error = str(failure) or type(failure).__name__
        error = error[:ERROR_LENGTH_MAX]
        if error and not state.failures:
            log.warning("webhook %s: %s; it is tried again until it is taken", name, error)
        elif not error and state.failures:
            log.info("webhook %s is taken again, after %d failures", name, state.failures)
        state.failures = state.failures + 1 if error else 0
        state.error = error
        return not error

    def _pause_s(self, failures: int) -> float:
        doublings = min(failures - 1, DOUBLINGS_MAX)
        pause_s = min(self._retry.first_s * (1 << doublings), self._retry.most_s)
        # Not all at once, when a receiver of several comes back.
        return pause_s * self._rng.uniform(0.5, 1.0)


class _Batch(NamedTuple):
    """What is sent at once."""

    last: int
    """Number of the last event that need not be sent after it."""
    body: bytes | None
    """None: of the events up to there none is wanted."""
