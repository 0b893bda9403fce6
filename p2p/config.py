"""What an operator can choose about the network, and the limits that tests shorten."""

from __future__ import annotations

import msgspec

from p2p.ports import Endpoint


class NetworkConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one node's network. The defaults are those of docs/p2p.md."""

    listen: Endpoint | None = None
    """Where to accept connections; None: nowhere. Port 0: any free one."""
    connect: tuple[Endpoint, ...] = ()
    """Peers that are always kept."""
    agent: bytes = b"/tael/"
    outbound_target: int = 8
    """Connections to open to peers from the address book."""
    feeler_interval_s: float = 120.0
    """On average: how often an address that was never reached is tried, beside the wanted
    connections. Else the addresses to fall back on would be those that anybody once named."""
    inbound_max: int = 117
    per_address_max: int = 16
    """Accepted connections from one address."""
    per_network_max: int = 32
    """Accepted connections from one /16 of public IPv4, or /32 of public IPv6."""
    handshaking_max: int = 32
    """Accepted connections without a hello; a new one replaces the oldest of the largest network."""
    handshake_s: float = 10.0
    ping_interval_s: float = 30.0
    first_pong_s: float = 20.0
    """How long a peer that never answered a ping, and says nothing else, is kept."""
    pong_timeout_s: float = 60.0
    send_timeout_s: float = 60.0
    """How long one message may wait for a peer to read."""
    send_queue_bytes_max: int = 16_000_000
    redial_first_s: float = 1.0
    redial_last_s: float = 60.0
    headers_timeout_s: float = 20.0
    presync_answers_max: int = 100_000
    """Answers with headers of which something is kept while their chains show work, of all peers
    together: some 7 MB. Beyond it only the chain with the most work for each may go on."""
    block_timeout_s: float = 10.0
    compact_timeout_s: float = 1.0
    """How long a peer may take for what is missing of a compact block."""
    tx_timeout_s: float = 5.0
    tx_delay_s: tuple[float, float] = (0.010, 0.060)
    """Least and most time that a transaction waits before it is announced."""
    tx_retell_s: tuple[float, float] = (200.0, 400.0)
    """Least and most time until everything that still waits is announced once more."""
    work_share: float = 0.25
    """Part of the time that one peer may take up with what comes to nothing."""
    work_burst_s: float = 2.0
    """How much of it at once."""
    tick_s: float = 0.5
    """How often deadlines are looked at."""
