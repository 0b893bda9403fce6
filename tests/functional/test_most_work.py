"""Real nodes follow the chain with the most work, however many blocks another one has."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import msgspec
import pytest

from consensus.params import REGTEST, Params
from p2p.messages import PROTOCOL_VERSION, GetBlocks, GetHeaders, Headers, Hello, Ping, Pong
from p2p.ports import Endpoint
from tests.support.chain import ToyChain, blocks_of, digest_of
from tests.support.daemon import Daemon, feed, running, wait_for, wait_for_one_tip
from tests.support.raw_peer import RawPeer, raw_peer

QUIET = ("--verify-processes", "0", "--outbound", "0")
FAST, SLOW = 30, 70
"""Blocks of the chain with more work, and of the longer one."""


def params_of() -> Params:
    """A network whose difficulty doubles with ten blocks that come at once."""
    return msgspec.structs.replace(
        REGTEST, name=b"sixteen", hrp=b"six", half_life_blocks=10, retarget=True,
        genesis_time=int(time.time()) - (SLOW + 10) * REGTEST.interval_s,
    )  # fmt: skip


@pytest.fixture(scope="module")
def chains() -> tuple[ToyChain, ToyChain]:
    """One of few blocks and much work, and one of more blocks and less work."""
    params = params_of()
    few, many = ToyChain(params), ToyChain(params)
    few.mine_empty(FAST)
    for _ in range(SLOW):
        many.mine(time=many.tip.header.time + params.interval_s)
    assert few.tip.work > many.tip.work > few.tip.work // 2  # else its headers would not be kept
    return few, many


@pytest.fixture(scope="module")
def network(chains: tuple[ToyChain, ToyChain], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The file that describes it."""
    path = tmp_path_factory.mktemp("network") / "sixteen.toml"
    params = chains[0].params
    path.write_text(
        f'name = "sixteen"\nhrp = "six"\nticker = "{params.ticker.decode()}"\n'
        f"genesis_time = {params.genesis_time}\nhalf_life_blocks = {params.half_life_blocks}\n"
        f"spacing_s = {params.spacing_s}\nfuture_s = {params.future_s}\n"
        f"pow_limit_bits = {params.pow_limit_bits}\n"
    )
    return str(path)


def assert_at(node: Daemon, chain: ToyChain) -> None:
    found = node.call("gettxoutsetinfo")
    assert (found["height"], found["coinset"]) == (chain.tip.height, digest_of(chain))


def test_a_shorter_chain_of_more_work_is_taken_from_a_peer_and_kept_over_a_kill(
    tmp_path: Path, chains: tuple[ToyChain, ToyChain], network: str
) -> None:
    few, many = chains
    node = Daemon(tmp_path / "node", *QUIET, network=network)
    peer = Daemon(tmp_path / "peer", *QUIET, network=network)
    with running(node, peer):
        feed(node, blocks_of(many))
        feed(peer, blocks_of(few))
        assert_at(node, many)
        node.call("addnode", peer.p2p, "add")
        wait_for_one_tip([node, peer])
        assert_at(node, few)
        node.kill()
        node.start()
        assert_at(node, few)


async def offered(node: Daemon, many: ToyChain) -> None:
    """A peer that says to have more work than anybody shows the longer chain."""
    async with raw_peer(Endpoint("127.0.0.1", node.p2p_port)) as peer:
        tip = many.tip
        hello = Hello(
            PROTOCOL_VERSION, 0, many.chain_id, b"one liar", many.params.name, b"/liar/", 0,
            tip.height, tip.hash, b"\xff" * 32,
        )  # fmt: skip
        await peer.send(hello)
        raws = tuple(block.header.raw for block in blocks_of(many))
        await until_asked(peer, raws)
        await peer.send(Ping(3))
        while (message := await peer.receive()) != Pong(3):
            assert not isinstance(message, GetHeaders | GetBlocks), "it is asked for more"


async def until_asked(peer: RawPeer, raws: tuple[bytes, ...]) -> None:
    while not isinstance(await peer.receive(), GetHeaders):
        pass
    await peer.send(Headers(raws))


def test_more_blocks_of_less_work_are_followed_neither_from_a_peer_nor_by_submitblock(
    tmp_path: Path, chains: tuple[ToyChain, ToyChain], network: str
) -> None:
    few, many = chains
    node = Daemon(tmp_path / "node", *QUIET, network=network)
    with running(node):
        feed(node, blocks_of(few))
        asyncio.run(offered(node, many))
        tips = wait_for(
            lambda: {tip["hash"]: tip["height"] for tip in node.call("getchaintips")}, "tips"
        )
        assert tips[many.tip.hash[::-1].hex()] == SLOW
        assert_at(node, few)
        for block in blocks_of(many):
            node.call("submitblock", block.raw.hex())
        assert_at(node, few)
        assert not any("reorganised" in line for line in node.log)
        # One block more, and nobody can say that it did not look.
        feed(node, [few.mine()])
        assert_at(node, few)
