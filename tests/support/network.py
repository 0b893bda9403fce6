"""The peers of one node over real sockets, put together as the node does it."""

from __future__ import annotations

from collections.abc import Callable

from p2p.config import NetworkConfig
from p2p.hub import Hub
from p2p.network import WebSocketTransport
from p2p.ports import AddressStore, Clock, NodePort, RandomSource
from p2p.tls import Tls


class Network(Hub):
    """The peers of one node, over WebSockets."""

    def __init__(
        self,
        node: NodePort,
        config: NetworkConfig,
        *,
        clock: Clock,
        rng: RandomSource,
        store: AddressStore,
        on_failure: Callable[[BaseException], None],
        tls: Tls | None = None,
    ) -> None:
        """`on_failure` is told of an error after which the node should stop."""
        transport = WebSocketTransport(config, clock, tls)
        super().__init__(node, transport, config, clock, rng, store, on_failure)
