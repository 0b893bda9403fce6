"""How much the HTTP side of the RPC takes on."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """How much the server takes on."""

    body_bytes: int = 16 << 20
    """A request. The largest block in hex takes half of it."""
    connections: int = 256
    """Beyond that many, the one that rests the longest gives way to a new one."""
    calls: int = 32
    """Requests worked on at once."""
    first_request_s: float = 30
    """Time from the connection to the end of the first request's headers."""
    body_s: float = 60
    """Time for the body to arrive."""
    piece_s: float = 10
    """Longest pause within it."""
    send_s: float = 60
    """Time for the client to take the answer."""
    idle_s: float = 120
    """Time that a connection may rest between requests."""
    failure_delay_s: float = 0.25
    """Time before a wrong password is answered."""
    failures_waiting: int = 32
    """Wrong passwords whose answer is delayed at once; more are answered 429 at once."""
    failures_waiting_per_address: int = 8
    """Of those, from one address: nobody takes the place of others who mistype."""
