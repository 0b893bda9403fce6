"""Who has to go when another connection comes and every place is taken. Pure.

An attacker can open any number of connections. What it cannot easily fake is protected: a short
round trip, what the peer brought, a long stay, many networks. Of the rest the youngest of the
network with the most connections goes, which is its own.

Source: docs/p2p.md, "Connections".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

PROTECTED_PINGS = 8
PROTECTED_TXS = 4
PROTECTED_BLOCKS = 4
PROTECTED_NETWORKS = 4
FULL_QUOTAS_AT = 40
"""From so many candidates on; of fewer, fewer are protected."""


class Candidate(msgspec.Struct, frozen=True):
    """An incoming peer that is ready."""

    peer: int
    network: str
    ready_at: float
    ping_s: float | None
    last_block: int
    """When it last brought a new one, in seconds since 1970; 0 for never."""
    last_tx: int


def choose_victim(candidates: Sequence[Candidate]) -> int | None:
    """The peer to drop; None if there is nobody to drop."""
    rest = list(candidates)

    def protect(quota: int, rank: Callable[[Candidate], float]) -> None:
        count = quota * min(len(candidates), FULL_QUOTAS_AT) // FULL_QUOTAS_AT
        rest.sort(key=rank)
        del rest[:count]

    sizes = Counter(candidate.network for candidate in candidates)
    protect(PROTECTED_NETWORKS, lambda c: (sizes[c.network] - 1) * 1e12 + c.ready_at)
    protect(PROTECTED_PINGS, lambda c: c.ping_s if c.ping_s is not None else float("inf"))
    useful = [c.peer for c in rest if c.last_tx or c.last_block]
    protect(min(PROTECTED_TXS, len(useful)), lambda c: -c.last_tx)
    protect(min(PROTECTED_BLOCKS, len(useful)), lambda c: -c.last_block)
    rest.sort(key=lambda c: c.ready_at)
    del rest[: len(rest) // 2]
    if not rest:
        return None
    sizes = Counter(candidate.network for candidate in rest)
    return max(rest, key=lambda c: (sizes[c.network], c.ready_at)).peer


def choose_beginner(networks: Sequence[str]) -> int:
    """Which of the connections that have still to begin has to go, the oldest coming first.

    Not the oldest of all: who opens a hundred a second would leave others no time for a handshake.
    """
    crowd, _ = Counter(networks).most_common(1)[0]
    return networks.index(crowd)
