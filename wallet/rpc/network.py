"""Methods of a node: network. Written by `python -m scripts.make_client`."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from wallet.rpc.caller import Caller


class LocalAddress(msgspec.Struct, frozen=True, kw_only=True):
    """Where this node listens."""

    address: str
    port: int
    score: int


class NetTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes since the start."""

    totalbytesrecv: int
    totalbytessent: int
    timemillis: int
    """Milliseconds since 1970."""


class NetworkInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Versions, connections and fees for relay."""

    version: int
    """Of the Bitcoin Core whose answers these resemble."""
    subversion: str
    """This program and its version."""
    protocolversion: int
    """Of the protocol between peers."""
    localservices: str
    localservicesnames: list[str]
    localrelay: bool
    timeoffset: int
    networkactive: bool
    connections: int
    connections_in: int
    connections_out: int
    networks: list[Reach]
    relayfee: Decimal
    """Per 1 000 cost."""
    incrementalfee: Decimal
    """Per 1 000 cost."""
    localaddresses: list[LocalAddress]
    certificate: str
    """Fingerprint of this node's; empty if there is no TLS."""
    warnings: str


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """A connection; times are 0 for never."""

    id: int
    addr: str
    """HOST:PORT at the other end."""
    network: str
    """Ipv4 or ipv6."""
    services: str
    servicesnames: list[str]
    relaytxes: bool
    lastsend: int
    lastrecv: int
    last_transaction: int
    last_block: int
    bytessent: int
    bytesrecv: int
    conntime: int
    timeoffset: int
    version: int
    """Of the protocol between peers."""
    subver: str
    """The program that the peer says it is."""
    inbound: bool
    connection_type: str
    bip152_hb_to: bool
    bip152_hb_from: bool
    startingheight: int
    """That the peer named when it connected."""
    synced_headers: int
    """Height of its best header that is known; −1 if none."""
    synced_blocks: int
    """Height of the last block in common; −1 if none."""
    banscore: int
    """Misbehaviour; at its limit the connection ends."""
    encrypted: bool
    certificate: str | None = None
    """Fingerprint of what the peer has shown."""
    pingtime: float | None = None
    """Seconds of the last ping."""
    minping: float | None = None
    """Seconds of the fastest ping."""


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """A topic that is published over ZeroMQ."""

    type: str
    """As in `pubhashblock`."""
    address: str
    hwm: int
    """Messages that wait for a slow subscriber."""


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of network."""

    name: str
    limited: bool
    reachable: bool
    proxy: str
    proxy_randomize_credentials: bool


class NetworkMethods(Caller):
    """Methods of the category network."""

    async def getpeerinfo(self) -> list[Peer]:
        """Every connection. Times are seconds since 1970; `banscore` at its limit ends a connection.

        `encrypted` says whether nobody can read along, `certificate` is the fingerprint that the peer
        has shown: whoever is dialled shows one, members show theirs to each other.
        """
        found: list[Peer] = await self.ask(list[Peer], "getpeerinfo")
        return found

    async def getconnectioncount(self) -> int:
        """How many peers are connected."""
        found: int = await self.ask(int, "getconnectioncount")
        return found

    async def getnetworkinfo(self) -> NetworkInfo:
        """Versions, connections, fees for relay, and where this node listens.

        `version` is that of the Bitcoin Core whose answers these resemble; that of this program is in
        `subversion`. `certificate` is the fingerprint by which peers can pin this node. `localservices`
        is the same for every node, since clients of Bitcoin Core look for it; nodes of Tael name no
        services.
        """
        found: NetworkInfo = await self.ask(NetworkInfo, "getnetworkinfo")
        return found

    async def getnettotals(self) -> NetTotals:
        """Bytes received and sent since the start, and the time in milliseconds since 1970."""
        found: NetTotals = await self.ask(NetTotals, "getnettotals")
        return found

    async def getzmqnotifications(self) -> list[Publication]:
        """The topics that are published over ZeroMQ, where, and how many messages wait for slow
        subscribers.
        """
        found: list[Publication] = await self.ask(list[Publication], "getzmqnotifications")
        return found

    async def addnode(self, node: str, command: str) -> None:
        """Connect to a peer: `command` is add (and stay connected), remove, or onetry.

        `node` is HOST, HOST:PORT or, if only one certificate is to be believed there,
        HOST:PORT#FINGERPRINT; with onetry, that holds for the one try.
        """
        await self.ask(None, "addnode", node, command)

    async def disconnectnode(self, address: str | None = None, nodeid: int | None = None) -> None:
        """End the connection to the peer at `address`, or of number `nodeid`."""
        await self.ask(None, "disconnectnode", address, nodeid)

    async def ping(self) -> None:
        """Measure every peer's round-trip time anew; getpeerinfo shows it."""
        await self.ask(None, "ping")
