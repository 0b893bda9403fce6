"""Shapes: peers and connections."""

from __future__ import annotations

from typing import Annotated, NotRequired, TypedDict

from node.rpc.described import Coins, Says, Seconds

Version = Annotated[int, Says("of the protocol between peers")]


class Peer(TypedDict):
    """A connection; times are 0 for never."""

    id: int
    addr: Annotated[str, Says("HOST:PORT at the other end")]
    network: Annotated[str, Says("ipv4 or ipv6")]
    services: str
    servicesnames: list[str]
    relaytxes: bool
    lastsend: Seconds
    lastrecv: Seconds
    last_transaction: Seconds
    last_block: Seconds
    bytessent: int
    bytesrecv: int
    conntime: Seconds
    timeoffset: int
    version: Version
    subver: Annotated[str, Says("the program that the peer says it is")]
    inbound: bool
    connection_type: str
    bip152_hb_to: bool
    bip152_hb_from: bool
    startingheight: Annotated[int, Says("that the peer named when it connected")]
    synced_headers: Annotated[int, Says("height of its best header that is known; −1 if none")]
    synced_blocks: Annotated[int, Says("height of the last block in common; −1 if none")]
    banscore: Annotated[int, Says("misbehaviour; at its limit the connection ends")]
    encrypted: bool
    certificate: NotRequired[Annotated[str, Says("fingerprint of what the peer has shown")]]
    pingtime: NotRequired[Annotated[float, Says("seconds of the last ping")]]
    minping: NotRequired[Annotated[float, Says("seconds of the fastest ping")]]


class Reach(TypedDict):
    """A kind of network."""

    name: str
    limited: bool
    reachable: bool
    proxy: str
    proxy_randomize_credentials: bool


class LocalAddress(TypedDict):
    """Where this node listens."""

    address: str
    port: int
    score: int


class NetworkInfo(TypedDict):
    """Versions, connections and fees for relay."""

    version: Annotated[int, Says("of the Bitcoin Core whose answers these resemble")]
    subversion: Annotated[str, Says("this program and its version")]
    protocolversion: Version
    localservices: str
    localservicesnames: list[str]
    localrelay: bool
    timeoffset: int
    networkactive: bool
    connections: int
    connections_in: int
    connections_out: int
    networks: list[Reach]
    relayfee: Annotated[Coins, Says("per 1 000 cost")]
    incrementalfee: Annotated[Coins, Says("per 1 000 cost")]
    localaddresses: list[LocalAddress]
    certificate: Annotated[str, Says("fingerprint of this node's; empty if there is no TLS")]
    warnings: str


class NetTotals(TypedDict):
    """Bytes since the start."""

    totalbytesrecv: int
    totalbytessent: int
    timemillis: Annotated[int, Says("milliseconds since 1970")]


class Publication(TypedDict):
    """A topic that is published over ZeroMQ."""

    type: Annotated[str, Says("as in `pubhashblock`")]
    address: str
    hwm: Annotated[int, Says("messages that wait for a slow subscriber")]
