"""Methods: peers."""

from __future__ import annotations

import re
from collections.abc import Sequence

from node.rpc.errors import Code, RpcError
from node.rpc.json import amount
from node.rpc.ports import Node, PeerInfo, PinError
from node.rpc.results.network import NetTotals, NetworkInfo, Peer, Publication, Reach
from p2p.messages import PROTOCOL_VERSION
from p2p.tls import TlsError, parse_fingerprint

SHAPES_VERSION = 290_000
"""The version of Bitcoin Core whose answers these resemble; clients choose by it what they show."""
_SERVICES = "0000000000000001"
_SERVICE_NAMES = ["NETWORK"]
_HOST = re.compile(
    r"\[(?P<v6>[0-9a-fA-F:.]+)\](:(?P<p6>[0-9]{1,5}))?|(?P<v4>[^\s:\[\]]+)(:(?P<p4>[0-9]{1,5}))?"
)


def getconnectioncount(node: Node) -> int:
    """How many peers are connected."""
    return len(node.network.peers())


def getpeerinfo(node: Node) -> list[Peer]:
    """Every connection. Times are seconds since 1970; `banscore` at its limit ends a connection.

    `encrypted` says whether nobody can read along, `certificate` is the fingerprint that the peer has
    shown: whoever is dialled shows one, members show theirs to each other.
    """
    return [_show_peer(peer) for peer in node.network.peers()]


def getzmqnotifications(node: Node) -> list[Publication]:
    """The topics that are published over ZeroMQ, where, and how many messages wait for slow subscribers."""
    return node.publications


def _show_peer(peer: PeerInfo) -> Peer:
    shown: Peer = {
        "id": peer.id,
        "addr": peer.address,
        "network": "ipv6" if peer.address.startswith("[") else "ipv4",
        "services": _SERVICES,
        "servicesnames": _SERVICE_NAMES,
        "relaytxes": True,
        "lastsend": peer.last_sent,
        "lastrecv": peer.last_received,
        "last_transaction": peer.last_tx,
        "last_block": peer.last_block,
        "bytessent": peer.bytes_sent,
        "bytesrecv": peer.bytes_received,
        "conntime": peer.connected,
        "timeoffset": 0,
        "version": peer.protocol,
        "subver": peer.agent,
        "inbound": peer.inbound,
        "connection_type": peer.connection_type,
        "bip152_hb_to": False,
        "bip152_hb_from": False,
        "startingheight": peer.starting_height,
        "synced_headers": peer.synced_headers,
        "synced_blocks": peer.synced_blocks,
        "banscore": peer.score,
        "encrypted": peer.is_encrypted,
    }
    if peer.certificate:
        shown["certificate"] = peer.certificate
    if peer.ping_s is not None:
        shown["pingtime"] = peer.ping_s
    if peer.ping_least_s is not None:
        shown["minping"] = peer.ping_least_s
    return shown


def getnetworkinfo(node: Node) -> NetworkInfo:
    """Versions, connections, fees for relay, and where this node listens.

    `version` is that of the Bitcoin Core whose answers these resemble; that of this program is in
    `subversion`. `certificate` is the fingerprint by which peers can pin this node. `localservices` is
    the same for every node, since clients of Bitcoin Core look for it; nodes of Tael name no services.
    """
    peers: Sequence[PeerInfo] = node.network.peers()
    inbound = sum(peer.inbound for peer in peers)
    policy = node.ledger.mempool.policy
    return {
        "version": SHAPES_VERSION,
        "subversion": f"/tael:{node.version}/",
        "protocolversion": PROTOCOL_VERSION,
        "localservices": _SERVICES,
        "localservicesnames": _SERVICE_NAMES,
        "localrelay": True,
        "timeoffset": 0,
        "networkactive": True,
        "connections": len(peers),
        "connections_in": inbound,
        "connections_out": len(peers) - inbound,
        "networks": [_show_network("ipv4"), _show_network("ipv6")],
        "relayfee": amount(policy.min_fee_rate),
        "incrementalfee": amount(policy.incremental_fee_rate),
        "localaddresses": [
            {"address": host, "port": port, "score": 1} for host, port in node.network.listening()
        ],
        "certificate": node.network.certificate,
        "warnings": "",
    }


def _show_network(name: str) -> Reach:
    return {
        "name": name,
        "limited": False,
        "reachable": True,
        "proxy": "",
        "proxy_randomize_credentials": False,
    }


def getnettotals(node: Node) -> NetTotals:
    """Bytes received and sent since the start, and the time in milliseconds since 1970."""
    totals = node.network.totals()
    return {
        "totalbytesrecv": totals.received,
        "totalbytessent": totals.sent,
        "timemillis": int(node.clock() * 1_000),
    }


def ping(node: Node) -> None:
    """Measure every peer's round-trip time anew; getpeerinfo shows it."""
    node.network.ping()


def _endpoint(node: Node, text: str) -> tuple[str, int, bytes | None]:
    """Host, port and the pinned fingerprint, if there is one. Raises: RpcError."""
    place, mark, fingerprint = text.partition("#")
    match = _HOST.fullmatch(place)
    port = int((match["p6"] or match["p4"] or node.p2p_port) if match else 0)
    if match is None or not 1 <= port <= 65_535 or len(text) > 260:
        raise RpcError(
            Code.PARAMETER,
            "`node` must be HOST, HOST:PORT or [IPV6]:PORT, perhaps with #FINGERPRINT behind it",
        )
    try:
        pin = parse_fingerprint(fingerprint) if mark else None
    except TlsError as error:
        raise RpcError(Code.PARAMETER, str(error)) from None
    return match["v6"] or match["v4"], port, pin


def addnode(context: Node, node: str, command: str) -> None:
    """Connect to a peer: `command` is add (and stay connected), remove, or onetry.

    `node` is HOST, HOST:PORT or, if only one certificate is to be believed there,
    HOST:PORT#FINGERPRINT; with onetry, that holds for the one try.
    """
    host, port, pin = _endpoint(context, node)
    try:
        match command:
            case "add":
                if not context.network.add(host, port, pin):
                    raise RpcError(Code.NODE_ALREADY_ADDED, "Node already added")
            case "remove":
                if not context.network.remove(host, port):
                    raise RpcError(
                        Code.NODE_NOT_ADDED, "Node could not be removed: it was not added"
                    )
            case "onetry":
                context.network.dial_once(host, port, pin)
            case _:
                raise RpcError(Code.PARAMETER, "`command` must be add, remove or onetry")
    except PinError as error:
        raise RpcError(Code.PARAMETER, str(error)) from None


def disconnectnode(node: Node, address: str = "", nodeid: int | None = None) -> None:
    """End the connection to the peer at `address`, or of number `nodeid`."""
    if bool(address) == (nodeid is not None):
        raise RpcError(Code.INVALID_PARAMS, "give one of `address` and `nodeid`")
    for peer in node.network.peers():
        if (peer.address == address or peer.id == nodeid) and node.network.disconnect(peer.id):
            return
    raise RpcError(Code.NODE_NOT_CONNECTED, "Node not found in connected nodes")
