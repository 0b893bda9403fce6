"""Whom to connect to, and when: peers that the operator named always, others up to a number.

Pure: events in, `Dial` out.

Source: docs/p2p.md, "Connections".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from p2p.actions import Dial
from p2p.addrbook import AddressBook, group_of
from p2p.bounded import RecentSet
from p2p.config import NetworkConfig
from p2p.peer import ConnectionType
from p2p.ports import Endpoint, RandomSource

JITTER = 0.25
STABLE_S = 10.0
"""A connection that lasted so long was a success, whatever ended it."""
DOUBLINGS_MAX = 16
OWN_MAX = 64


class _Target:
    """A peer that is always kept."""

    def __init__(self) -> None:
        self.is_busy = False
        """Being dialled, or connected."""
        self.failures = 0
        self.next_at = 0.0


class Dialer:
    """Keeps the wanted connections open."""

    def __init__(self, config: NetworkConfig, book: AddressBook, rng: RandomSource) -> None:
        self._config = config
        self._book = book
        self._rng = rng
        self._targets: dict[Endpoint, _Target] = {}
        self._automatic: dict[Endpoint, None] = {}
        """What was dialled from the address book and has not ended."""
        self._feeler: Endpoint | None = None
        """What is tried only to see whether a node is there."""
        self._feeler_at: float | None = None
        """When to try the next; None before the first look at the clock."""
        self._own: RecentSet[Endpoint] = RecentSet(OWN_MAX)
        """Addresses that turned out to be ours."""
        # Who fills the book with its own addresses does not choose our peers after a restart.
        self._anchors: deque[Endpoint] = deque(book.anchors)
        for endpoint in config.connect:
            self.add(endpoint)

    def add(self, endpoint: Endpoint) -> None:
        """Always keep a connection to `endpoint`."""
        self._targets.setdefault(endpoint, _Target())

    def remove(self, endpoint: Endpoint) -> bool:
        """Undo `add`; return whether it was among them."""
        return self._targets.pop(endpoint, None) is not None

    def is_first_failure(self, endpoint: Endpoint) -> bool:
        """Whether no dial of `endpoint`, which is always wanted, and no connection ended before."""
        target = self._targets.get(endpoint)
        return target is not None and target.failures == 0

    @property
    def added(self) -> tuple[Endpoint, ...]:
        return tuple(self._targets)

    def plan(self, connected: Collection[Endpoint], monotonic: float, now: int) -> list[Dial]:
        """What to dial now; each is reported by `on_ended` when it has ended.

        `connected` are the addresses of all peers, whoever opened the connection.
        """
        dials = []
        for endpoint, target in self._targets.items():
            if not target.is_busy and monotonic >= target.next_at:
                target.is_busy = True
                dials.append(Dial(endpoint, ConnectionType.MANUAL))
        busy = {*self._automatic, *self._targets, *self._own, *connected}
        chosen = None
        if len(self._automatic) < self._config.outbound_target:
            groups = {group_of(endpoint) for endpoint in self._automatic}
            chosen = self._anchor(groups, busy, now) or self._book.choose(now, groups, busy)
        if chosen is not None:
            self._automatic[chosen] = None
            dials.append(Dial(chosen, ConnectionType.OUTBOUND))
            self._book.on_dialled(chosen, now)
        elif self._is_time_to_feel(monotonic):
            self._feeler = self._book.feeler(now, busy)
            if self._feeler is not None:
                dials.append(Dial(self._feeler, ConnectionType.FEELER))
                self._book.on_dialled(self._feeler, now)
        return dials

    def _is_time_to_feel(self, monotonic: float) -> bool:
        if self._config.outbound_target == 0 or self._feeler is not None:
            return False
        is_due = self._feeler_at is not None and monotonic >= self._feeler_at
        if is_due or self._feeler_at is None:
            # By chance: whoever watches cannot tell when to be there.
            wait = self._rng.uniform(0.5, 1.5) * self._config.feeler_interval_s
            self._feeler_at = monotonic + wait
        return is_due

    def _anchor(
        self, groups: Collection[str], busy: Collection[Endpoint], now: int
    ) -> Endpoint | None:
        """The next peer from before the restart, if there is one to dial; each is tried once."""
        while self._anchors:
            found = self._anchors.popleft()
            is_wanted = group_of(found) not in groups and found not in busy
            if is_wanted and not self._book.is_discouraged(found.host, now):
                return found
        return None

    def on_ready(self, endpoint: Endpoint, now: int) -> None:
        """A node of this network answered."""
        self._book.on_success(endpoint, now)

    def on_ended(
        self, endpoint: Endpoint, kind: ConnectionType, lasted_s: float | None, monotonic: float,
        now: int,
    ) -> None:  # fmt: skip
        """A dial or its connection is over; `lasted_s` is None if it never became ready."""
        if kind is ConnectionType.OUTBOUND:
            self._automatic.pop(endpoint, None)
        elif kind is ConnectionType.FEELER:
            self._feeler = None
        if lasted_s is None:
            self._book.on_failed(endpoint, now)
        target = self._targets.get(endpoint)
        if kind is not ConnectionType.MANUAL or target is None:
            return
        target.is_busy = False
        target.failures = 0 if lasted_s is not None and lasted_s >= STABLE_S else target.failures
        config = self._config
        wait = config.redial_first_s * 2 ** min(target.failures, DOUBLINGS_MAX)
        jitter = self._rng.uniform(1 - JITTER, 1 + JITTER)
        target.next_at = monotonic + min(wait, config.redial_last_s) * jitter
        target.failures += 1

    def on_self(self, endpoint: Endpoint) -> None:
        """It was this node: do not try again."""
        self._own.add(endpoint)
        self._book.remove(endpoint)
        self._targets.pop(endpoint, None)
