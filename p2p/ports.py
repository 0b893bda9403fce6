"""What the network asks of others: the node, the clock, randomness, a store, and the wire itself.

Whoever composes the node supplies these; tests and simulations supply others.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, MutableSequence, Sequence
from typing import Any, NamedTuple, Protocol

from consensus.block import Header
from consensus.hashes import BlockHash, Wtxid
from consensus.header_tree import HeaderNode, HeaderTree
from consensus.params import Params
from consensus.tx import Tx
from consensus.tx_rules import CheckedTx


class Endpoint(NamedTuple):
    """Where a node listens, or a connection comes from."""

    host: str
    """An IP address in text form; what an operator names may be a host name."""
    port: int

    @classmethod
    def of(cls, ip: bytes, port: int) -> Endpoint:
        """From an address of 4 or 16 bytes."""
        return cls(ipaddress.ip_address(ip).compressed, port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def endpoint_of(name: Any) -> Endpoint:
    """From the name of a socket. IPv4 addresses that came in over IPv6 are written as IPv4."""
    if not name:  # the connection is gone already
        return Endpoint("", 0)
    address = ipaddress.ip_address(name[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return Endpoint((mapped or address).compressed, name[1])


class NodePort(Protocol):
    """The ledger, as far as peers are concerned."""

    @property
    def params(self) -> Params: ...

    @property
    def least_work(self) -> int:
        """What a chain of peers must have before its headers are kept."""

    @property
    def chain_id(self) -> BlockHash: ...

    @property
    def tree(self) -> HeaderTree:
        """Every header; the network only reads it."""

    @property
    def tip(self) -> HeaderNode:
        """The best connected block."""

    def add_headers(self, headers: Sequence[Header]) -> None:
        """Check headers and add them, in order.

        Raises: Missing, Invalid, Premature at the first that fails; those before it stay.
        """

    async def accept_block(self, raw: bytes) -> HeaderNode:
        """Check a block without context and store it; its header may be new.

        Raises: DecodeError, Invalid, Missing, Premature.
        """

    def accept_known(
        self, header: Header, coinbase: Tx, txs: Sequence[CheckedTx]
    ) -> HeaderNode:  # fmt: skip
        """Like `accept_block`, of transactions that passed `check_tx` already.

        Raises: Invalid, Missing, Premature. After `block-root` the block may still come.
        """

    def waiting_txs(self) -> Sequence[CheckedTx]:
        """What is in the mempool, best for a miner first."""

    def has_block(self, block_hash: BlockHash) -> bool: ...

    def read_block_raw(self, node: HeaderNode) -> bytes | None: ...

    def submit_tx(self, raw: bytes) -> Tx:
        """Put a transaction into the mempool.

        Raises: Missing (an orphan), and every other kind of Violation.
        """

    def has_tx(self, wtxid: Wtxid) -> bool:
        """Whether it is in the mempool or was refused recently."""

    def tx_raw(self, wtxid: Wtxid) -> bytes | None:
        """Its bytes, if it is in the mempool."""


class Clock(Protocol):
    """Time, in two senses."""

    def now(self) -> int:
        """Seconds since 1970. May jump."""

    def monotonic(self) -> float:
        """Seconds since some moment. Never goes back."""


class RandomSource(Protocol):
    """The part of random.Random that the network uses."""

    def random(self) -> float: ...

    def uniform(self, a: float, b: float) -> float: ...

    def randrange(self, start: int, /) -> int: ...

    def randbytes(self, n: int) -> bytes: ...

    def shuffle(self, x: MutableSequence[Any]) -> None: ...


class AddressStore(Protocol):
    """Keeps the address book over a restart. What it keeps may be lost, but not mixed up."""

    def load(self) -> bytes | None: ...

    def save(self, data: bytes) -> None: ...


class Wire(Protocol):
    """One connection that carries whole messages."""

    @property
    def remote(self) -> Endpoint: ...

    @property
    def local(self) -> Endpoint: ...

    @property
    def is_encrypted(self) -> bool: ...

    @property
    def certificate(self) -> str:
        """The fingerprint that the other side has shown, hex; empty if none."""

    async def send(self, frame: bytes) -> None:
        """Send one message; waits while the other side does not read. Raises: OSError."""

    async def receive(self) -> bytes | None:
        """The next message, or None when the connection has ended.

        Raises: DecodeError for what is no message at all.
        """

    async def close(self, reason: str) -> None:
        """End the connection and say why. Does not raise."""

    @property
    def farewell(self) -> str:
        """What the other side said when it ended the connection; empty if nothing."""


Accept = Callable[[Wire], Awaitable[None]]
"""Takes care of an incoming connection until it ends."""


class Transport(Protocol):
    """Makes wires."""

    async def listen(self, endpoint: Endpoint, accept: Accept) -> Endpoint:
        """Accept connections; returns where. Raises: OSError."""

    async def dial(self, endpoint: Endpoint, pin: bytes | None = None) -> Wire:
        """Open a connection; with `pin`, to whoever shows the certificate of that fingerprint.

        Raises: OSError.
        """

    async def close(self) -> None:
        """Stop listening and cut what is still open."""
