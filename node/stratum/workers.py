"""What each worker has done, for getstratuminfo. Times are seconds since 1970."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Iterator

import msgspec

from node.stratum.difficulty import HASHES_PER_DIFFICULTY
from node.stratum.messages import Refusal

WORKERS_MAX = 1_000
"""Workers that are remembered. Beyond, the one that was not heard of for longest is forgotten."""
RATE_SPAN_S = 300.0
"""Shares count for the hash rate with a weight that falls to a third within this time."""


class Worker(msgspec.Struct):
    """One name, on all its connections."""

    name: str
    address: str
    since: float
    """When it was first heard of."""
    connections: int = 0
    difficulty: float = 0.0
    """Of its newest job."""
    accepted: int = 0
    refused: Counter[Refusal] = msgspec.field(default_factory=Counter)
    work: float = 0.0
    """Difficulties of all its shares, summed."""
    blocks: int = 0
    """Blocks of its that were connected."""
    last_share: int = 0
    """0 for never."""
    agent: str = ""
    _recent: float = 0.0
    _recent_at: float = 0.0

    def add_share(self, difficulty: float, now: float) -> None:
        """Count a share of that difficulty."""
        self.accepted += 1
        self.work += difficulty
        self._recent = self._faded(now) + difficulty
        self._recent_at = now
        self.last_share = int(now)

    def _faded(self, now: float) -> float:
        # The clock can be set back.
        return self._recent * math.exp(-max(0.0, now - self._recent_at) / RATE_SPAN_S)

    def hash_rate(self, now: float) -> float:
        """Hashes a second, estimated from its shares."""
        # Of a worker that has just begun, the time it had is shorter than the span.
        span_s = RATE_SPAN_S * -math.expm1(-max(0.0, now - self.since) / RATE_SPAN_S)
        return self._faded(now) * HASHES_PER_DIFFICULTY / max(1.0, span_s)


class Workers:
    """Every worker by its name, and where they find us."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], Worker] = OrderedDict()
        self.endpoint = ""
        """HOST:PORT, empty while nothing listens."""
        self.connections = 0

    def __len__(self) -> int:
        return len(self._known)

    def __iter__(self) -> Iterator[Worker]:
        return iter(self._known.values())

    def arrive(self, name: str, address: str, now: float) -> Worker:
        """One more connection of a worker; `address` is who is paid."""
        worker = self._known.get((name, address))
        if worker is None:
            self._forget()
            worker = self._known[name, address] = Worker(name, address, now)
        self._known.move_to_end((name, address))
        worker.connections += 1
        return worker

    def _forget(self) -> None:
        if len(self._known) < WORKERS_MAX:
            return
        away = (key for key, worker in self._known.items() if not worker.connections)
        del self._known[next(away, next(iter(self._known)))]
