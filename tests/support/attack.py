"""A node under attack over real sockets, and an honest peer that must not notice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from p2p.config import NetworkConfig
from p2p.ports import Endpoint
from tests.support.network import Network
from tests.support.p2p_node import QUICK, ToyNode, make_network, until


class Scene:
    """A node under attack, with an honest peer that must not notice."""

    def __init__(self, node: ToyNode, network: Network, friend: ToyNode) -> None:
        self.node = node
        self.network = network
        self.friend = friend
        assert network.local_address is not None
        self.address: Endpoint = network.local_address

    async def check_alive(self) -> None:
        """The honest peer still gets blocks, and soon."""
        height = self.node.tip.height
        self.node.mine()
        await until(lambda: self.friend.tip.height == height + 1, "for the honest peer")


@asynccontextmanager
async def attacked(config: NetworkConfig = QUICK, blocks: int = 3) -> AsyncIterator[Scene]:
    node, friend = ToyNode(), ToyNode()
    node.mine(blocks)
    victim, honest = make_network(node, config), make_network(friend)
    try:
        await victim.start()
        await honest.start()
        scene = Scene(node, victim, friend)
        honest.add_node(*scene.address)
        await until(lambda: friend.tip.height == blocks)
        yield scene
        await scene.check_alive()
        assert len(victim.peers()) == 1
    finally:
        await honest.close()
        await victim.close()
