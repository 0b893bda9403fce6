"""A node ends when it is told to, whatever it is doing."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

import pytest

from node.blockfiles import RecordFiles
from tests.support.chain import ToyChain, blocks_of, digest_of
from tests.support.daemon import Daemon, feed, running, wait_for

BLOCKS = 4_000


@pytest.fixture(scope="module")
def chain() -> ToyChain:
    made = ToyChain()
    made.mine_empty(BLOCKS)
    return made


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_during_the_start_ends_a_node_that_starts_again_unharmed(
    chain: ToyChain, tmp_path: Path, number: signal.Signals
) -> None:
    files = RecordFiles(tmp_path / "node" / "blocks", "blk")
    for block in (chain.blocks[chain.chain_id], *blocks_of(chain)):
        files.append(block.raw)
    files.close()
    node = Daemon(tmp_path / "node")
    try:
        node.start(ready=False)
        wait_for(lambda: any("JSON-RPC at" in line for line in node.log), "it has begun")
        os.kill(node.pid, number)
        assert node.wait() == 0, node.log
        assert not any("Traceback" in line or "peers at" in line for line in node.log), node.log
        node.start()
        assert node.tip == chain.tip.hash[::-1].hex()
        assert node.call("gettxoutsetinfo")["coinset"] == digest_of(chain)
    finally:
        if node.is_running:
            node.kill()


def test_node_that_cannot_write_its_last_state_does_not_end_as_if_it_had(
    chain: ToyChain, tmp_path: Path
) -> None:
    blocks = blocks_of(chain)[:5]
    node = Daemon(tmp_path / "node")
    with running(node):
        feed(node, blocks)
        # From here on every file of the process is full.
        resource.prlimit(node.pid, resource.RLIMIT_FSIZE, (1, 1))
        assert node.stop() == 1, node.log
        assert "File too large" in node.log[-1], node.log
        assert node.log[-1].startswith("taeld: "), node.log
        assert not any("Traceback" in line for line in node.log), node.log
        node.start()
        assert node.tip == blocks[-1].header.hash[::-1].hex()
