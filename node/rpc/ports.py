"""What the methods ask of the node: the ledger itself, and through narrow doors the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from consensus.hashes import BlockHash
from node.backup import Backups
from node.eventlog.service import Events
from node.ledger import Ledger
from node.miner import Extranonces
from node.operations.watch import Watch
from node.rpc.briefs import Brief
from node.rpc.kept import Kept
from node.rpc.method import Method
from node.rpc.params import Verbosity
from node.rpc.results.network import Publication
from node.stratum.workers import Workers
from node.template import TemplateBuilder

BRIEFS_BYTES_MAX = 8 << 20
"""JSON of txids that is kept: of sixty full blocks of ordinary payments."""
BLOCKS_BYTES_MAX = 32 << 20
"""Blocks that are kept in hex or as JSON: six of 2 000 payments in both forms."""
STATS_MAX = 1_000
"""Blocks whose sums are kept."""
DESCRIPTIONS_BYTES_MAX = 1 << 20
COIN_SETS_BYTES_MAX = 2 << 20
"""JSON of the supplies of assets: enough for the most that one answer lists."""


class PeerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One connection, as getpeerinfo shows it. Times are seconds since 1970, 0 for never."""

    id: int
    address: str
    """HOST:PORT at the other end."""
    inbound: bool
    connection_type: str
    protocol: int
    agent: str
    connected: int
    last_sent: int = 0
    last_received: int = 0
    last_tx: int = 0
    last_block: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    ping_s: float | None = None
    ping_least_s: float | None = None
    starting_height: int = -1
    """That the peer named when it connected."""
    synced_headers: int = -1
    """Height of the best header that the peer is known to have; −1 if unknown."""
    synced_blocks: int = -1
    """Height of the last block that is on both best chains; −1 if unknown."""
    score: int = 0
    """Misbehaviour, up to the limit at which it is disconnected."""
    is_encrypted: bool = False
    certificate: str = ""
    """Fingerprint of the certificate that it has shown, hex; empty if none."""


class Totals(NamedTuple):
    """Bytes over the network since the start."""

    received: int
    sent: int
    banned: int = 0
    """Peers sent away for misbehaving, and not taken back for a while."""


class PinError(ValueError):
    """A certificate cannot be pinned; the text says why."""


class NetworkPort(Protocol):
    """The peers."""

    @property
    def certificate(self) -> str:
        """The fingerprint of this node's certificate, hex; empty without TLS."""

    def peers(self) -> Sequence[PeerInfo]: ...

    def totals(self) -> Totals: ...

    def listening(self) -> Sequence[tuple[str, int]]:
        """Hosts and ports that others can connect to."""

    def add(self, host: str, port: int, pin: bytes | None = None) -> bool:
        """Stay connected to a peer from now on; False if it is on the list already.

        `pin`: fingerprint of the only certificate that is believed there. Raises: PinError.
        """

    def remove(self, host: str, port: int) -> bool:
        """Take a peer off the list; False if it was not there."""

    def dial_once(self, host: str, port: int, pin: bytes | None = None) -> None:
        """Try to connect once. `pin` holds there from now on. Raises: PinError."""

    def disconnect(self, peer_id: int) -> bool:
        """End a connection; False if there is none of that number."""

    def ping(self) -> None:
        """Measure every peer's round-trip time anew."""


class Node(msgspec.Struct, frozen=True):
    """The first argument of every method."""

    ledger: Ledger
    network: NetworkPort
    templates: TemplateBuilder
    extranonces: Extranonces
    clock: Callable[[], float]
    """Seconds since 1970."""
    started: float
    """When the node started, by the same clock."""
    backups: Backups
    watch: Watch
    stop: Callable[[], None]
    """Begin to shut down; returns at once."""
    methods: Mapping[str, Method]
    p2p_port: int
    """Where a peer listens that is named without a port."""
    version: str
    """Version of this program."""
    stratum: Workers = msgspec.field(default_factory=Workers)
    """Miners that are given work, and what they have done."""
    events: Events | None = None
    """The event log; None if it is off."""
    publications: list[Publication] = msgspec.field(default_factory=list)
    """What is published over ZeroMQ; the door that does it writes it here."""
    scanning: asyncio.Lock = msgspec.field(default_factory=asyncio.Lock)
    """Held while the whole coin set is read: one reader at a time."""
    briefs: Kept[BlockHash, Brief] = msgspec.field(default_factory=lambda: Kept(BRIEFS_BYTES_MAX))
    blocks: Kept[tuple[BlockHash, Verbosity], bytes] = msgspec.field(
        default_factory=lambda: Kept(BLOCKS_BYTES_MAX)
    )
    """A block in hex, or the JSON array of its transactions with what they spend."""
    stats: Kept[BlockHash, Mapping[str, object]] = msgspec.field(
        default_factory=lambda: Kept(STATS_MAX)
    )
    coin_sets: Kept[BlockHash, msgspec.Raw] = msgspec.field(
        default_factory=lambda: Kept(COIN_SETS_BYTES_MAX)
    )
    """What gettxoutsetinfo says of the coins at a block."""
    descriptions: Kept[str, msgspec.Raw] = msgspec.field(
        default_factory=lambda: Kept(DESCRIPTIONS_BYTES_MAX)
    )
    """The OpenRPC document, by the version of this program."""
