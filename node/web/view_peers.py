"""Who this node is connected to, without saying where they are.

A page is for everybody, and through a proxy everybody seems to sit at this machine: so no page shows the
address of a peer, nor its certificate. The operator asks `getpeerinfo`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from node.rpc.ports import PeerInfo
from node.web import figures
from node.web.pages import Page
from node.web.visitor import Ask

SHOWN_MAX = 200


class PeerRow(NamedTuple):
    """One connection."""

    kind: str
    """The key of a text: who connected to whom."""
    agent: str
    protocol: int
    is_encrypted: bool
    ping_ms: int | None
    height: int | None
    since: int
    """When it began, seconds since 1970."""
    received: str
    sent: str


def _row(peer: PeerInfo) -> PeerRow:
    return PeerRow(
        "peer_inbound" if peer.inbound else "peer_outbound", peer.agent, peer.protocol,
        peer.is_encrypted, round(peer.ping_s * 1_000) if peer.ping_s is not None else None,
        peer.synced_headers if peer.synced_headers >= 0 else None, peer.connected,
        figures.scaled(peer.bytes_received, "B"), figures.scaled(peer.bytes_sent, "B"),
    )  # fmt: skip


async def peers(ask: Ask) -> Page:
    """Every connection, those that this node made in front, the oldest first."""
    found: Sequence[PeerInfo] = ask.node.network.peers()
    ordered = sorted(found, key=lambda peer: (peer.inbound, peer.connected, peer.id))
    totals = ask.node.network.totals()
    return Page(
        "peers",
        {
            "rows": [_row(peer) for peer in ordered[:SHOWN_MAX]],
            "total": len(found),
            "inbound": sum(peer.inbound for peer in found),
            "encrypted": sum(peer.is_encrypted for peer in found),
            "received": figures.scaled(totals.received, "B"),
            "sent": figures.scaled(totals.sent, "B"),
        },
    )
