"""A process that may open few files: peers cannot take them all."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import time
from contextlib import ExitStack
from pathlib import Path

from p2p.ports import Endpoint
from tests.support.alive import alive
from tests.support.chain import ToyChain, blocks_of
from tests.support.daemon import Daemon, feed, running, wait_for
from tests.support.p2p_node import ToyNode
from tests.support.raw_peer import raw_peer

DESCRIPTORS = 64
CONNECTIONS = 100
"""More than there are descriptors."""
WATCHED_S = 2.0
CPU_SHARE_MAX = 0.1
_TICKS = os.sysconf("SC_CLK_TCK")


def test_good_calls_get_in_while_idle_clients_and_peers_want_every_descriptor(
    tmp_path: Path,
) -> None:
    node = Daemon(tmp_path / "node", "--verify-processes", "0", "--outbound", "0")
    node.start(ready=False)
    with ExitStack() as stack:
        stack.callback(lambda: node.kill() if node.is_running else None)
        resource.prlimit(node.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
        assert not node.log
        wait_for(lambda: any("peers at" in line for line in node.log), "it has started")
        for port in (node.rpc_port, node.p2p_port):
            for _ in range(CONNECTIONS):
                stack.enter_context(socket.create_connection(("127.0.0.1", port), 5))
        for _ in range(20):
            began = time.monotonic()
            assert node.call("getblockcount") == 0
            assert time.monotonic() - began < 1
            for port in (node.rpc_port, node.p2p_port):
                stack.enter_context(socket.create_connection(("127.0.0.1", port), 5))
        assert any("ulimit" in line for line in node.log)
        assert node.stop() == 0, node.log


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


def open_files(pid: int) -> list[int]:
    return [int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()]


def cpu_s(pid: int) -> float:
    """Processor time that the process has taken, by itself and for it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def test_a_listener_without_descriptors_waits_quietly_and_comes_back(tmp_path: Path) -> None:
    node = Daemon(tmp_path / "node", "--verify-processes", "0", "--outbound", "0")
    with running(node), ExitStack() as held:
        _, most = resource.prlimit(node.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(node.pid, resource.RLIMIT_NOFILE, (max(open_files(node.pid)) + 1, most))
        for _ in range(20):
            place = (node.p2p_host, node.p2p_port)
            held.enter_context(socket.create_connection(place))
        wait_for(lambda: any("cannot accept" in line for line in node.log), "it says so")
        lines, before, began = len(node.log), cpu_s(node.pid), time.monotonic()
        time.sleep(WATCHED_S)  # what is measured is what happens meanwhile
        share = (cpu_s(node.pid) - before) / (time.monotonic() - began)
        assert share < CPU_SHARE_MAX
        assert node.log[lines:] == []
        resource.prlimit(node.pid, resource.RLIMIT_NOFILE, (most, most))

        async def greet() -> None:
            async with raw_peer(Endpoint(node.p2p_host, node.p2p_port)) as peer:
                await peer.greet(ToyNode())

        asyncio.run(greet())
        assert node.stop() == 0, node.log
        assert not any("Traceback" in line for line in node.log)
