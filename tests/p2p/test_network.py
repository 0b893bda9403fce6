"""Whole networks over real sockets on the loopback interface."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from p2p.network import Network
from p2p.ports import Endpoint
from tests.support.p2p_node import ToyNode, make_network, until


@asynccontextmanager
async def running(*networks: Network) -> AsyncIterator[None]:
    """Networks that are started, and closed whatever happens."""
    try:
        for network in networks:
            await network.start()
        yield
    finally:
        for network in networks:
            await network.close()


def address_of(network: Network) -> Endpoint:
    assert network.local_address is not None
    return network.local_address


def join(network: Network, *others: Network) -> None:
    for other in others:
        network.add_node(*address_of(other))


def copy_chain(source: ToyNode, target: ToyNode) -> None:
    for height in range(1, source.tip.height + 1):
        target.chain.connect(source.chain.blocks[source.tip.ancestor(height).hash].raw)


def test_blocks_are_fetched_from_two_peers_at_once() -> None:
    async def scenario() -> None:
        first, second, fresh = ToyNode(), ToyNode(), ToyNode()
        first.mine(500)
        copy_chain(first, second)
        networks = [make_network(node, seed=i) for i, node in enumerate((first, second, fresh))]
        async with running(*networks):
            join(networks[2], *networks[:2])
            await until(lambda: fresh.tip.height == 500)
            assert fresh.tip.hash == first.tip.hash
            received = [info.bytes_received for info in networks[2].peers()]
            assert len(received) == 2
            assert min(received) * 5 > max(received)
            assert len(fresh.accepted) == 500

    asyncio.run(scenario())
