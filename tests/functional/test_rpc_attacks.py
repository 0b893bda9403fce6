"""A user who asks for too much: the answer is bounded, and others are served meanwhile."""

from __future__ import annotations

import base64
import http.client
import json
import threading
import time
from pathlib import Path

from consensus.tx import NATIVE, TxOut
from tests.support.chain import ALICE, ToyChain, blocks_of
from tests.support.daemon import Daemon, feed, running

MEMBERS = 1_000
ANSWER_BYTES_MAX = 33 << 20
GROWTH_BYTES_MAX = 256 << 20
"""For an answer of 32 MiB on its way through node and socket; the whole batch would be 130 MB."""


def peak_of(node: Daemon) -> int:
    """Most bytes of memory that the process ever had."""
    status = Path(f"/proc/{node.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1_024


def ask_for_all(node: Daemon, block: str) -> bytes:
    """The answer to a batch that asks for one large block again and again."""
    batch = [{"method": "getblock", "params": [block, 0], "id": n} for n in range(MEMBERS)]
    token = base64.b64encode((node.datadir / ".cookie").read_bytes()).decode()
    connection = http.client.HTTPConnection("127.0.0.1", node.rpc_port, timeout=60)
    try:
        headers = {"Content-Type": "application/json", "Authorization": f"Basic {token}"}
        connection.request("POST", "/", json.dumps(batch), headers)
        return connection.getresponse().read()
    finally:
        connection.close()


def test_a_batch_for_a_thousand_large_blocks_is_cut_short_and_others_are_served(
    tmp_path: Path,
) -> None:
    chain = ToyChain()
    (coin,) = chain.fund(ALICE)
    chain.mine([chain.spend([coin], [TxOut(NATIVE, 100_000, ALICE.lock, bytes(128))] * 350)])
    block = chain.tip.hash[::-1].hex()
    node = Daemon(tmp_path / "node")
    answers: list[bytes] = []
    with running(node):
        feed(node, blocks_of(chain))
        before = peak_of(node)
        asking = threading.Thread(target=lambda: answers.append(ask_for_all(node, block)))
        asking.start()
        while asking.is_alive():
            began = time.monotonic()
            assert node.call("getblockcount") == chain.tip.height
            assert time.monotonic() - began < 1
        asking.join()
        assert peak_of(node) - before < GROWTH_BYTES_MAX
    assert len(answers[0]) < ANSWER_BYTES_MAX
    members = json.loads(answers[0])
    assert len(members) == MEMBERS
    assert members[0]["result"] == chain.blocks[chain.tip.hash].raw.hex()
    assert members[-1]["error"]["code"] == -32002
