"""How the files and sockets that the process may open are shared out.

Everything takes from one number. Without shares, whoever connects without end would leave none for the
block files, and clients none for peers.
"""

from __future__ import annotations

from typing import NamedTuple

OWN = 32
"""Event loop, standard streams, block files, the log and manifest of the database; some to spare."""
RPC_MAX = 256
INBOUND_MAX = 117
HANDSHAKING_MAX = 32
WEB_MAX = 96
ELECTRUM_MAX = 96
STRATUM_MAX = 256
OUTBOUND = 8
"""Peers that we connect to, unless told otherwise."""
TABLES_PART, TABLES_MAX = 5, 512
"""A fifth of all descriptors is the database's, for its tables; it uses no more than so many."""
DESCRIPTORS_FEW = 256
"""With fewer, the database closes tables to open others, and connections come first."""
LEAST = 2
"""Connections that every share has, however few there are."""


class Shares(NamedTuple):
    """Connections at most."""

    rpc: int
    inbound: int
    """Peers that connected to us."""
    handshaking: int
    """Of those that have still to begin, beside them."""
    web: int
    """Browsers, and programs that watch the node."""
    electrum: int
    """Clients of the Electrum protocol."""
    stratum: int
    """Miners."""

    @property
    def are_short(self) -> bool:
        """Whether more descriptors would make for more clients and peers."""
        return self[:3] < _MOST[:3]


_MOST = Shares(RPC_MAX, INBOUND_MAX, HANDSHAKING_MAX, WEB_MAX, ELECTRUM_MAX, STRATUM_MAX)
_PARTS = Shares(3, 5, 8, 8, 10, 12)
"""Which part of the rest each share is; together they are less than the whole."""


def share_out(descriptors: int) -> Shares:
    """`descriptors`: how many the process may have open at once."""
    tables = 0 if descriptors < DESCRIPTORS_FEW else min(descriptors // TABLES_PART, TABLES_MAX)
    rest = descriptors - OWN - OUTBOUND - tables
    return Shares(
        *(max(LEAST, min(most, rest // part)) for most, part in zip(_MOST, _PARTS, strict=True))
    )
