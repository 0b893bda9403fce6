"""The network as JSON-RPC sees it, and the ledger's events as the network hears them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from node.events import BlockInvalid, BlockStored, EventBus, HeaderAdded, TipChanged, TxAdded
from node.rpc.ports import PeerInfo, PinError, Totals
from p2p import peer
from p2p.hub import Hub
from p2p.ports import Endpoint
from p2p.tls import Tls, TlsError


def listen_to_ledger(bus: EventBus, hub: Hub) -> Callable[[], None]:
    """Have the network relay what happens; call the result to end that."""
    ends = [
        bus.subscribe(TxAdded, lambda event: hub.on_tx_added(event.tx)),
        bus.subscribe(TipChanged, lambda event: hub.on_tip_changed(event.tip)),
        bus.subscribe(HeaderAdded, lambda event: hub.on_header_added(event.node)),
        bus.subscribe(BlockStored, lambda event: hub.on_block_stored(event.node, event.block)),
        bus.subscribe(
            BlockInvalid, lambda event: hub.on_block_invalid(event.node, event.violation)
        ),
    ]

    def end() -> None:
        for unsubscribe in ends:
            unsubscribe()

    return end


class Peering:
    """What the RPC methods ask of the network."""

    def __init__(self, hub: Hub, tls: Tls | None = None) -> None:
        self._hub = hub
        self._tls = tls

    @property
    def certificate(self) -> str:
        return self._tls.certificate.fingerprint.hex() if self._tls else ""

    def peers(self) -> Sequence[PeerInfo]:
        return [_shown(found) for found in self._hub.peers()]

    def totals(self) -> Totals:
        totals = self._hub.totals()
        return Totals(totals.bytes_received, totals.bytes_sent, totals.discouraged)

    def listening(self) -> Sequence[tuple[str, int]]:
        local = self._hub.local_address
        return [(local.host, local.port)] if local else []

    def add(self, host: str, port: int, pin: bytes | None = None) -> bool:
        if Endpoint(host, port) in self._hub.added_nodes:
            return False
        if pin is not None:
            self._believe(Tls.pin, Endpoint(host, port), pin)
        self._hub.add_node(host, port)
        return True

    def remove(self, host: str, port: int) -> bool:
        if not self._hub.remove_node(host, port):
            return False
        if self._tls is not None:
            self._tls.unpin(Endpoint(host, port))
        return True

    def dial_once(self, host: str, port: int, pin: bytes | None = None) -> None:
        if pin is not None:
            self._believe(Tls.check_pin, Endpoint(host, port), pin)
        self._hub.connect(host, port, pin)

    def _believe(
        self, how: Callable[[Tls, Endpoint, bytes], None], endpoint: Endpoint, pin: bytes
    ) -> None:
        """Raises: PinError."""
        if self._tls is None:
            raise PinError("p2p-tls is off, which leaves nothing to check a fingerprint by")
        try:
            how(self._tls, endpoint, pin)
        except TlsError as error:
            raise PinError(str(error)) from None

    def ping(self) -> None:
        self._hub.ping()

    def disconnect(self, peer_id: int) -> bool:
        return self._hub.disconnect(peer_id)


def _shown(found: peer.PeerInfo) -> PeerInfo:
    return PeerInfo(
        id=found.id,
        address=found.address,
        inbound=found.inbound,
        connection_type=found.kind.value,
        protocol=found.version,
        agent=found.agent,
        connected=found.connected_at,
        last_sent=found.last_send,
        last_received=found.last_receive,
        last_tx=found.last_tx,
        last_block=found.last_block,
        bytes_sent=found.bytes_sent,
        bytes_received=found.bytes_received,
        ping_s=found.ping_s,
        ping_least_s=found.ping_least_s,
        starting_height=found.starting_height,
        synced_headers=found.synced_headers,
        synced_blocks=found.synced_blocks,
        score=found.score,
        is_encrypted=found.is_encrypted,
        certificate=found.certificate,
    )
