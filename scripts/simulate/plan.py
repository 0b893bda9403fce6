"""What happens to the world of one seed, drawn before it begins."""

from __future__ import annotations

import enum
import random
from typing import NamedTuple

INTERVAL_S = 30
HEAL_INTERVALS = 20
"""After the faults end, so many intervals until all agree."""


class Fault(enum.StrEnum):
    """What can happen to a node or between nodes."""

    PARTITION = "partition"
    DEAF = "deaf"
    """A partition of one direction."""
    CLOG = "clog"
    CUT = "cut"
    KILL = "kill"
    POWER = "power loss"
    CRASH_AT = "crash at a write"
    CRASH_IN_FLUSH = "crash in a flush"
    CRASH_IN_RECOVERY = "crash in recovery"
    FULL = "disk full"
    BROKEN = "disk error"
    SLOW = "slow disk"
    FLIP_FILE = "bit flip in a file"
    FLIP_ROW = "bit flip in the database"
    CLOCK = "clock jump"
    STOP = "orderly stop"


WEIGHTS = {
    Fault.PARTITION: 6, Fault.DEAF: 3, Fault.CLOG: 3, Fault.CUT: 5, Fault.KILL: 4, Fault.POWER: 4,
    Fault.CRASH_AT: 6, Fault.CRASH_IN_FLUSH: 3, Fault.CRASH_IN_RECOVERY: 3, Fault.FULL: 2,
    Fault.BROKEN: 2, Fault.SLOW: 2,
    Fault.FLIP_FILE: 1, Fault.FLIP_ROW: 1, Fault.CLOCK: 2, Fault.STOP: 2,
}  # fmt: skip


class Habit(enum.StrEnum):
    """What a stranger does."""

    JUNK = "junk"
    """Frames that are no messages, and messages out of order."""
    FLOOD = "flood"
    SPAM = "headers of little work"
    BLOCKS = "invalid blocks"
    MUTATE = "mutated blocks"
    WITHHOLD = "withheld blocks"
    REWRITE = "a past rewritten"
    """A branch of fewer blocks with more work."""
    COMPACT = "wrong compact blocks"
    PAYMENTS = "invalid payments"
    ORPHANS = "orphans"
    DOUBLE = "double spends"
    CROWD = "a crowd"
    """Connections that take every place."""
    SLOW = "slow reading"


class Stranger(NamedTuple):
    """A peer that keeps no rules."""

    habits: tuple[Habit, ...]
    pause_s: float
    """Mean seconds between two things that it does."""


class Event(NamedTuple):
    """One fault."""

    at: float
    """Seconds from the beginning."""
    fault: Fault
    node: int
    number: int
    """What it needs: seconds, or the number of a disk operation."""


class Plan(NamedTuple):
    """Everything that the seed decides beforehand."""

    nodes: int
    hash_rates: tuple[float, ...]
    chaos_s: float
    payments_s: float
    """Mean seconds between two payments."""
    events: tuple[Event, ...]
    strangers: tuple[Stranger, ...]


def draw(rng: random.Random) -> Plan:
    """A plan."""
    nodes = rng.randint(3, 5)
    chaos_s = INTERVAL_S * rng.uniform(10, 30)
    faults, weights = list(WEIGHTS), list(WEIGHTS.values())
    # Some kinds only, so that each seed has a character of its own.
    chosen = rng.sample(range(len(faults)), rng.randint(2, len(faults)))
    kinds = [faults[index] for index in sorted(chosen)]
    events = []
    at = 0.0
    mean_s = INTERVAL_S * rng.choice((0.5, 1, 2, 4))
    while (at := at + rng.expovariate(1 / mean_s)) < chaos_s:
        kind = rng.choices(kinds, [weights[faults.index(kind)] for kind in kinds])[0]
        number = round(rng.choice((1, 3, 10, 30, 100, 300)) * rng.uniform(0.5, 1.5)) or 1
        events.append(Event(at, kind, rng.randrange(nodes), number))
    return Plan(
        nodes,
        tuple(rng.choice((0.2, 1.0, 1.0, 3.0)) for _ in range(nodes)),
        chaos_s,
        rng.choice((3.0, 10.0, 30.0)),
        tuple(events),
        tuple(_stranger(rng) for _ in range(rng.choice((0, 1, 1, 2)))),
    )


def _stranger(rng: random.Random) -> Stranger:
    habits = list(Habit)
    chosen = rng.sample(range(len(habits)), rng.randint(1, 5))
    return Stranger(
        tuple(habits[index] for index in sorted(chosen)), INTERVAL_S * rng.choice((0.2, 0.5, 1, 2))
    )
