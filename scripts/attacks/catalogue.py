"""Every attack that docs/threats.md gives a number of: how much of it, and what has to hold."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from scripts.attacks import addresses, callers, crowds, headers, peers
from scripts.attacks.stranger import Outcome, Target
from scripts.attacks.watch import STALL_S_MAX, Bounds

FLAT_BYTES = 8 * 2**20
"""Memory that counts as none; the interpreter takes some whenever it has much to do."""
NO_BOUND = 2**63


class Attack(NamedTuple):
    """One line of the report."""

    threat: str
    name: str
    size: int
    """How many, in the long form."""
    run: Callable[[Target, int], Awaitable[Outcome]]
    bounds: Bounds = Bounds()
    needs_work: bool = False
    """Whether the node is one whose chain has more work than what is sent."""


_FLOOD = Bounds(stall_s=STALL_S_MAX)
_CROWD = Bounds(is_visited=True)
ATTACKS: tuple[Attack, ...] = (
    Attack("1", "mutations", 10_000, peers.mutations),
    Attack("7", "silent", 300, crowds.silent, _CROWD),
    Attack("7", "half a head", 300, crowds.half_heads, _CROWD),
    Attack("7", "a byte at a time", 300, crowds.bytewise, _CROWD),
    Attack("7", "upgraded", 300, crowds.upgraded, _CROWD),
    Attack("7", "greeted", 300, crowds.greeted, _CROWD),
    Attack("7", "answered once", 300, crowds.answered, _CROWD),
    Attack("8", "junk of maximum size", 80, peers.junk, _FLOOD),
    Attack("8", "frames of one byte", 100_000, peers.single_bytes, _FLOOD),
    Attack("8", "pings", 100_000, peers.pings, _FLOOD),
    Attack("8", "dear questions", 16_000, peers.questions, _FLOOD),
    Attack("12", "addresses", 100_000, addresses.addresses),
    # On regtest a block costs nothing; elsewhere each of these headers has cost a whole block.
    Attack("14", "invalid blocks", 100_000, peers.invalid_blocks, Bounds(growth_bytes=NO_BOUND)),
    Attack(
        "15",
        "easy headers",
        1_000_000,
        headers.easy_chain,
        Bounds(growth_bytes=FLAT_BYTES, stores_nothing=True),
        True,
    ),
    Attack("31", "bad logins", 10_000, callers.bad_logins),
    Attack("31", "timing", 2_000, callers.timing),
)
