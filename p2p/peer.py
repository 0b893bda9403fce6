"""A peer: who it is, what it did, and what it is to blame for.

Source: docs/p2p.md, "Faults" and "Reasons".
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

import msgspec

from consensus.errors import DecodeError, Invalid, Rule, Violation
from p2p.bounded import TokenBucket
from p2p.messages import IDS, MESSAGES, Hello
from p2p.ports import Endpoint

SCORE_MAX = 100
SCORE_DECAY_PER_S = 1 / 60


class ConnectionType(enum.StrEnum):
    """How a connection came about."""

    OUTBOUND = "outbound-full-relay"
    INBOUND = "inbound"
    FEELER = "feeler"
    """Ends when the other side said hello: then the address is known to be good."""
    MANUAL = "manual"
    """The operator named the peer."""


class Reason(enum.StrEnum):
    """Why a connection is ended. The value goes over the wire."""

    MISBEHAVING = "misbehaving"
    WRONG_CHAIN = "wrong-chain"
    OLD_VERSION = "old-version"
    SELF = "self"
    FULL = "full"
    DISCOURAGED = "discouraged"
    TIMEOUT = "timeout"
    STALLED = "stalled"
    SLOW = "slow"
    REQUESTED = "requested"
    FEELER = "feeler"
    """That a node is there was all that was to be learned."""
    CLOSING = "closing"
    INTERNAL = "internal"
    LOST = "lost"
    """The other side ended it, or the line broke. Never sent."""


class Fault(enum.StrEnum):
    """What a peer can be blamed for."""

    MALFORMED = "malformed"
    OUT_OF_ORDER = "out-of-order"
    INVALID_HEADER = "invalid-header"
    INVALID_BLOCK = "invalid-block"
    INVALID_TX = "invalid-tx"
    UNCONNECTING = "unconnecting"
    UNREQUESTED = "unrequested"
    TOO_MANY_REQUESTS = "too-many-requests"
    FLOOD = "flood"


SCORES: Mapping[Fault, int] = {
    Fault.MALFORMED: 100,
    Fault.OUT_OF_ORDER: 100,
    Fault.INVALID_HEADER: 100,
    Fault.INVALID_BLOCK: 100,
    Fault.INVALID_TX: 100,
    Fault.UNCONNECTING: 20,
    Fault.UNREQUESTED: 10,
    Fault.TOO_MANY_REQUESTS: 50,
    Fault.FLOOD: 5,
}
INVALID_TX_OUTBOUND_SCORE = 10
"""Who fed bad transactions through others should not be able to cut our own connections."""

BLAMELESS: Mapping[Fault, frozenset[Rule]] = {
    # An honest sender can be overtaken by a block.
    Fault.INVALID_TX: frozenset({Rule.TX_EXPIRED, Rule.ASSET_SUPPLY}),
}


def is_to_blame(fault: Fault, violation: Violation) -> bool:
    """Whether the sender of what broke `violation` committed `fault`."""
    if not isinstance(violation, DecodeError | Invalid):
        return False
    return violation.rule not in BLAMELESS.get(fault, ())


def score_of(fault: Fault, kind: ConnectionType) -> int:
    """What `fault` adds to the score of a peer."""
    if fault is Fault.INVALID_TX and kind is not ConnectionType.INBOUND:
        return INVALID_TX_OUTBOUND_SCORE
    return SCORES[fault]


class Peer:
    """What is known of one connection beside the state of the planners."""

    def __init__(
        self, number: int, endpoint: Endpoint, kind: ConnectionType, now: int, monotonic: float
    ) -> None:
        self.id = number
        self.endpoint = endpoint
        """The other end of the connection; for one that we opened, what was dialled."""
        self.kind = kind
        self.connected_at = now
        self.hello: Hello | None = None
        self.nonce = b""
        """What we sent in our own hello."""
        self._budgets = {
            number: TokenBucket(kind.per_minute / 60, kind.burst, monotonic)
            for number, kind in MESSAGES.items()
        }
        self._bytes_budgets = {
            number: TokenBucket(kind.bytes_per_minute / 60, kind.bytes_per_minute, monotonic)
            for number, kind in MESSAGES.items()
        }
        self.brought = 0
        """Blocks, transactions and answers with headers that were good."""
        self.asked_addr = False
        self.gave_addr = False
        self.bytes_sent = 0
        self.bytes_received = 0
        self.last_send = 0
        self.last_receive = 0
        self.last_block = 0
        self.last_tx = 0
        self._score = 0.0
        self._scored_at = monotonic

    @property
    def is_inbound(self) -> bool:
        return self.kind is ConnectionType.INBOUND

    def listens_at(self) -> Endpoint | None:
        """Where others can reach it, as far as it says so."""
        if not self.is_inbound:
            return self.endpoint
        if self.hello is None or self.hello.port == 0:
            return None
        return Endpoint(self.endpoint.host, self.hello.port)

    def score(self, monotonic: float) -> int:
        return round(self._score_at(monotonic))

    def _score_at(self, monotonic: float) -> float:
        return max(0.0, self._score - (monotonic - self._scored_at) * SCORE_DECAY_PER_S)

    def blame(self, fault: Fault, monotonic: float) -> int:
        """Add `fault` to the score and return it."""
        self._score = self._score_at(monotonic) + score_of(fault, self.kind)
        self._scored_at = monotonic
        return self.score(monotonic)

    def within_budget(self, message: Any, size_bytes: int, monotonic: float) -> bool:
        """Whether the peer may send one more message of this kind, of so many bytes."""
        number = IDS[type(message)]
        return self._budgets[number].take(monotonic) and self._bytes_budgets[number].take(
            monotonic, size_bytes
        )

    def __str__(self) -> str:
        return f"peer {self.id} ({self.endpoint}, {self.kind})"


class PeerInfo(msgspec.Struct, frozen=True):
    """A peer as operators see it. Times are seconds since 1970, 0 for never."""

    id: int
    address: str
    kind: ConnectionType
    agent: str
    version: int
    services: int
    connected_at: int
    last_send: int
    last_receive: int
    bytes_sent: int
    bytes_received: int
    ping_s: float | None
    ping_least_s: float | None
    starting_height: int
    best_height: int
    """Of the best block that the peer is known to have; -1 if none is known."""
    best_work: int
    synced_headers: int
    """Height of the last header in common, or -1."""
    synced_blocks: int
    """Height of the last block in common, or -1."""
    blocks_in_flight: int
    last_block: int
    last_tx: int
    score: int
    is_encrypted: bool
    certificate: str
    """The fingerprint that it has shown, hex; empty if none."""

    @property
    def inbound(self) -> bool:
        return self.kind is ConnectionType.INBOUND


class Totals(msgspec.Struct, frozen=True):
    """Traffic of this node since it started."""

    bytes_sent: int
    bytes_received: int
    discouraged: int
    """Peers that misbehaved, and are not wanted for a while."""
