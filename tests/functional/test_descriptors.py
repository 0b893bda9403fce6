"""A process that may open few files: peers cannot take them all."""

from __future__ import annotations

import asyncio
import resource
from pathlib import Path

from tests.support.alive import alive
from tests.support.chain import ToyChain, blocks_of
from tests.support.daemon import Daemon, feed, wait_for

DESCRIPTORS = 64
CONNECTIONS = 100
"""More than there are descriptors."""


def test_a_node_with_64_descriptors_holds_while_more_peers_connect(tmp_path: Path) -> None:
    chain = ToyChain()
    chain.mine_empty(20)
    node = Daemon(tmp_path / "node", "--verify-processes", "0", "--outbound", "0")
    node.start(ready=False)
    try:
        # The interpreter has hardly begun: the node finds no other limit.
        resource.prlimit(node.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
        assert not node.log
        wait_for(lambda: any("peers at" in line for line in node.log), "it has started")
        feed(node, blocks_of(chain))

        async def flood(host: str, port: int) -> None:
            writers = []
            for _ in range(CONNECTIONS):
                _, writer = await asyncio.open_connection(host, port)
                writers.append(writer)
            await asyncio.sleep(1)
            for writer in writers:
                writer.transport.abort()

        async def scenario() -> None:
            async with alive(node) as attack:
                for _ in range(2):
                    await flood(attack.address.host, attack.address.port)

        asyncio.run(scenario())
        feed(node, [chain.mine()])
        assert node.stop() == 0, node.log
        node.start()
        assert node.tip == chain.tip.hash[::-1].hex()
        assert node.stop() == 0, node.log
    finally:
        if node.is_running:
            node.kill()
