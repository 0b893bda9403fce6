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
WEB_MAX = 128


class Shares(NamedTuple):
    """Connections at most. A fifth of all descriptors is the database's, for its tables."""

    rpc: int
    inbound: int
    """Peers that connected to us."""
    handshaking: int
    """Of those that have still to begin, beside them."""
    web: int
    """Browsers, and programs that watch the node."""

    @property
    def are_short(self) -> bool:
        """Whether there are fewer connections than there would be with more descriptors."""
        return self < Shares(RPC_MAX, INBOUND_MAX, HANDSHAKING_MAX, WEB_MAX)


def share_out(descriptors: int) -> Shares:
    """`descriptors`: how many the process may have open at once."""
    rest = max(8, descriptors - OWN)
    return Shares(
        min(RPC_MAX, rest // 3), min(INBOUND_MAX, rest // 4), min(HANDSHAKING_MAX, rest // 8),
        min(WEB_MAX, rest // 8),
    )  # fmt: skip
