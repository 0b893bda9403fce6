"""The connection of one miner: its lines, and what it may take of our time."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import cast

from node.stratum.messages import LINE_BYTES_MAX
from node.stratum.session import Hopeless, Session

log = logging.getLogger(__name__)

LINES_PER_SECOND = 20
"""What a miner may send for long: a hundred times what it is asked for. More has to wait."""
LINES_BURST = 200
LINES_WAITING_MAX = 4_000
"""What may wait of a miner: shares of what is read from a socket at once. Shorter lines are no shares."""
LINES_PER_TURN = 20
"""Of all miners together, before others get a turn: about a millisecond."""
GREETING_S = 30.0
"""Time to subscribe and authorize."""
IDLE_S = 1_800.0
"""Time without a line after which a miner is gone: at the easiest difficulty, the slowest needs long."""
UNSENT_BYTES_MAX = 64 << 10
"""What a miner may leave unread: jobs of minutes."""


class Turns:
    """Has connections take their lines one by one, each in its turn: a crowd that sends at once would
    keep everybody else waiting for seconds."""

    def __init__(self, schedule: Callable[[Callable[[], None]], object]) -> None:
        """`schedule` has something called when others had their turn."""
        self._schedule = schedule
        self._ready: deque[Connection] = deque()
        self._is_scheduled = False

    def ask(self, connection: Connection) -> None:
        """Let it take a line when it is its turn, and go on until it has none. Ask once until then."""
        self._ready.append(connection)
        if not self._is_scheduled:
            self._is_scheduled = True
            self._schedule(self._run)

    def _run(self) -> None:
        for _ in range(min(LINES_PER_TURN, len(self._ready))):
            connection = self._ready.popleft()
            if connection.take_line():
                self._ready.append(connection)
        self._is_scheduled = bool(self._ready)
        if self._ready:
            self._schedule(self._run)


class Connection(asyncio.Protocol):
    """Bytes on one side, a session on the other."""

    def __init__(
        self,
        make_session: Callable[[Callable[[bytes], None]], Session],
        now: Callable[[], float],
        turns: Turns,
        come: Callable[[Connection], None],
        go: Callable[[Connection], None],
    ) -> None:
        """`now`: seconds that never go back. `come` and `go` are told of its beginning and its end."""
        self.session = make_session(self._send)
        self._now = now
        self._turns = turns
        self._come = come
        self._go = go
        self._transport: asyncio.Transport | None = None
        self._pending = b""
        self._lines: deque[bytes] = deque()
        self._tokens = float(LINES_BURST)
        self._tokens_at = self.came_at = self._heard_at = now()
        self._is_busy = False
        """Whether its turn will come, or the time when it may have one."""
        self._waiting: asyncio.TimerHandle | None = None
        self._peer: object = None

    # What the event loop says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # By its word: the transports of uvloop are not derived from asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._peer = transport.get_extra_info("peername")
        self._come(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._lines.clear()
        if self._waiting is not None:
            self._waiting.cancel()
        self.session.close()
        self._go(self)

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            return
        self._heard_at = self._now()
        *lines, self._pending = (self._pending + data).split(b"\n")
        self._lines.extend(lines)
        if len(self._pending) > LINE_BYTES_MAX:
            self.end("a line without end")
        elif len(self._lines) > LINES_WAITING_MAX:
            self.end("too many lines at once")
        elif self._lines and not self._is_busy:
            self._is_busy = True
            self._turns.ask(self)
        if self._transport is not None and len(self._lines) > LINES_BURST:
            self._transport.pause_reading()

    # What we do

    def take_line(self) -> bool:
        """Take one of the lines that are there; say whether it can take another."""
        if self._lines and self._transport is not None:
            if not self._may_take():
                # It is not at fault: a fast miner begins at a difficulty that is far too low.
                self._transport.pause_reading()
                loop = asyncio.get_running_loop()
                self._waiting = loop.call_later(1 / LINES_PER_SECOND, self._turns.ask, self)
                return False
            self._take(self._lines.popleft())
        self._is_busy = bool(self._lines) and self._transport is not None
        if not self._is_busy and self._transport is not None:
            self._transport.resume_reading()
        return self._is_busy

    def _may_take(self) -> bool:
        now = self._now()
        self._tokens = min(LINES_BURST, self._tokens + (now - self._tokens_at) * LINES_PER_SECOND)
        self._tokens_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _take(self, line: bytes) -> None:
        if len(line) > LINE_BYTES_MAX:
            self.end("a line that is too long")
        elif line.strip():
            self.act(lambda session: session.take(line))

    def act(self, step: Callable[[Session], None]) -> None:
        """Have the session do something; what goes wrong ends this connection and no other."""
        try:
            step(self.session)
        except Hopeless as hopeless:
            self.end(str(hopeless))
        except Exception:
            log.exception("stratum: a mistake in this program")
            self.end("a mistake in this program")

    def _send(self, line: bytes) -> None:
        if self._transport is None:
            return
        if self._transport.get_write_buffer_size() > UNSENT_BYTES_MAX:
            self.end("it does not read")
            return
        self._transport.write(line)

    def check(self) -> None:
        """End it, if nobody is there."""
        now = self._now()
        if not self.session.is_at_work and now - self.came_at > GREETING_S:
            self.end("it did not authorize")
        elif now - self._heard_at > IDLE_S:
            self.end("it was silent for too long")

    def end(self, reason: str) -> None:
        """Disconnect; what was not sent yet is lost."""
        log.debug("a miner at %s is sent away: %s", self._peer, reason)
        self._lines.clear()
        if self._transport is not None:
            transport, self._transport = self._transport, None
            with suppress(OSError):
                transport.abort()
