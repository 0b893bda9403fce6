"""What systemd is told of a service of `Type=notify`: that it is ready, reloads, stops, and lives.

The watchdog is fed by the event loop itself: a node whose loop hangs feeds nothing, and is started
again. A start or a stop may take as long as it needs, as long as the loop turns.

Source: sd_notify(3). The protocol is a datagram of lines to a unix socket, so no library is needed.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Mapping
from contextlib import suppress

PULSE_S = 5.0
"""How often the status is told, if the watchdog does not ask for more."""
PULSES_PER_WATCHDOG = 3
"""One that comes late must not look like a hang."""
PULSES_PER_EXTENSION = 6
_MICROSECONDS = 1_000_000


class State(enum.Enum):
    """Where in its life a node is."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"


class Service:
    """One process, as its service manager sees it."""

    def __init__(
        self, send: Callable[[bytes], None] | None, watchdog_s: float, monotonic: Callable[[], float]
    ) -> None:  # fmt: skip
        """`send` may raise OSError; None: nobody wants to know. `watchdog_s`: the longest silence,
        0 if any is fine. `monotonic`: seconds of CLOCK_MONOTONIC."""
        self._send = send
        self._monotonic = monotonic
        self._state = State.STARTING
        self._pulse_s = min(PULSE_S, watchdog_s / PULSES_PER_WATCHDOG) if watchdog_s else PULSE_S

    def enter(self, state: State) -> None:
        """The node is in another part of its life."""
        self._state = state
        if state is State.READY:
            self._tell("READY=1")
        elif state is State.STOPPING:
            self._tell("STOPPING=1")

    def resume(self) -> None:
        """The end of `reloading`."""
        if self._state is State.READY:
            self._tell("READY=1")

    def reloading(self) -> None:
        """The configuration is being read again; `resume` ends that."""
        if self._state is State.READY:  # a manager that waits for a start knows of no reload
            now_us = int(self._monotonic() * _MICROSECONDS)
            self._tell("RELOADING=1", f"MONOTONIC_USEC={now_us}")

    async def run(self, describe: Callable[[], str]) -> None:
        """Feed the watchdog, and tell how it goes, until cancelled."""
        while self._send is not None:
            lines = ["WATCHDOG=1", f"STATUS={describe()}"]
            if self._state is not State.READY:
                patience = int(self._pulse_s * PULSES_PER_EXTENSION * _MICROSECONDS)
                lines.append(f"EXTEND_TIMEOUT_USEC={patience}")
            self._tell(*lines)
            await asyncio.sleep(self._pulse_s)

    def _tell(self, *lines: str) -> None:
        if self._send is not None:
            with suppress(OSError):  # a manager that is gone or busy must not stop the node
                self._send("\n".join(lines).encode())


def watchdog_s(environment: Mapping[str, str], pid: int) -> float:
    """The longest silence that the manager bears of this process, seconds; 0 if any."""
    wanted, of = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not wanted.isdecimal() or (of and of != str(pid)):
        return 0.0
    return int(wanted) / _MICROSECONDS
