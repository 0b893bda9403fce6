"""Which block is asked from whom, in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from consensus.errors import Invalid, Premature, Refused, Rule
from p2p.actions import AcceptBlock, Action, Blame, Close
from p2p.config import NetworkConfig
from p2p.download import BlockDownload
from p2p.messages import GETBLOCKS_MAX, GetBlocks
from p2p.peer import Fault, Reason
from p2p.sync import HeaderSync
from tests.support.chain import ALICE
from tests.support.p2p_node import ToyNode
from tests.support.planning import blocks_of, headers_of, hello_at, only, sent

CONFIG = NetworkConfig()
LONG = ToyNode()
LONG.mine(1_200)
BLOCKS = blocks_of(LONG.chain)


class Scene:
    """A fresh node that knows headers, and peers that have the blocks."""

    def __init__(self, *peers: int, headers: int = 100) -> None:
        self.node = ToyNode()
        self.node.add_headers(headers_of(LONG.chain)[:headers])
        self.sync = HeaderSync(self.node, CONFIG)
        self.download = BlockDownload(self.node, self.sync.chains, CONFIG)
        for peer in peers:
            self.join(peer, headers)

    def join(self, peer: int, height: int) -> None:
        tip = LONG.tip.ancestor(height)
        self.sync.on_ready(peer, False, hello_at(tip, self.node.chain_id), 0.0)
        self.download.on_ready(peer)

    def asked(self, actions: list[Action]) -> dict[int, list[int]]:
        """Heights asked of each peer."""
        heights: dict[int, list[int]] = {}
        for peer, message in sent(GetBlocks, actions):
            nodes = [self.node.tree.get(block_hash) for block_hash in message.hashes]
            heights.setdefault(peer, []).extend(node.height for node in nodes if node)
        return heights

    def deliver(self, peer: int, height: int, now: float) -> list[Action]:
        """A peer sends a good block, and it is accepted."""
        actions = self.download.on_block(peer, BLOCKS[height - 1].raw, now)
        for action in only(AcceptBlock, actions):
            asyncio.run(self.node.accept_block(action.raw))
            actions += self.download.on_block_done(peer, action.block_hash, None, now)
        return actions


def test_blocks_are_spread_over_the_peers_lowest_first() -> None:
    scene = Scene(1, 2)
    assert scene.asked(scene.download.fill(0.0)) == {
        1: list(range(1, 33)),
        2: list(range(33, 65)),
    }
    assert scene.asked(scene.download.fill(0.0)) == {}
    assert scene.download.is_catching_up


def test_a_peer_is_asked_for_more_when_half_has_come() -> None:
    scene = Scene(1)
    scene.download.fill(0.0)
    for height in range(1, 16):
        assert scene.asked(scene.deliver(1, height, 1.0)) == {}
    assert scene.asked(scene.deliver(1, 16, 1.0)) == {1: list(range(33, 49))}


def test_blocks_may_come_in_any_order() -> None:
    scene = Scene(1)
    scene.download.fill(0.0)
    for height in reversed(range(1, 33)):
        scene.deliver(1, height, 1.0)
    assert scene.node.tip.height == 32


def test_nothing_is_asked_of_a_chain_without_more_work() -> None:
    scene = Scene(headers=100)
    for height in range(1, 11):
        asyncio.run(scene.node.accept_block(BLOCKS[height - 1].raw))
    scene.join(1, 10)
    scene.join(2, 9)
    assert scene.download.fill(0.0) == []


def test_a_branch_with_less_work_is_not_fetched() -> None:
    scene = Scene(headers=3)
    for block in BLOCKS[:3]:
        asyncio.run(scene.node.accept_block(block.raw))
    side = scene.node.chain.template(payout=ALICE.lock, parent=scene.node.tree.genesis)
    scene.node.add_headers([side.header])
    branch = scene.node.tree.get(side.header.hash)
    assert branch is not None
    scene.sync.on_ready(1, False, hello_at(branch, scene.node.chain_id), 0.0)
    scene.download.on_ready(1)
    assert scene.sync.chains[1].best is branch
    assert scene.download.fill(0.0) == []


def test_nothing_is_fetched_further_above_the_tip_than_the_window() -> None:
    scene = Scene(1, headers=1_200)
    actions = scene.download.fill(0.0)
    scene.download.on_gone(1)
    for height in range(2, 1_025):
        asyncio.run(scene.node.accept_block(BLOCKS[height - 1].raw))
    scene.join(2, 1_200)
    assert scene.asked(scene.download.fill(0.0)) == {2: [1]}
    actions = scene.deliver(2, 1, 1.0)
    assert scene.asked(actions) == {2: list(range(1_025, 1_025 + GETBLOCKS_MAX))}


def test_what_a_peer_withholds_is_asked_from_another_in_time() -> None:
    scene = Scene(1, headers=3)
    assert scene.asked(scene.download.fill(0.0)) == {1: [1, 2, 3]}
    scene.join(2, 3)
    assert scene.asked(scene.download.on_tick(9.9)) == {}
    assert scene.asked(scene.download.on_tick(10.0)) == {2: [1, 2, 3]}


def test_a_peer_that_delivers_slowly_keeps_its_blocks() -> None:
    scene = Scene(1, 2, headers=64)
    scene.download.fill(0.0)
    for turn in range(1, 5):
        for peer, first in ((1, 0), (2, 32)):
            scene.deliver(peer, first + turn, 9.0 * turn)
        assert scene.asked(scene.download.on_tick(9.0 * turn + 8.9)) == {}


def test_a_block_that_comes_late_is_still_taken() -> None:
    scene = Scene(1, headers=3)
    scene.download.fill(0.0)
    scene.join(2, 3)
    scene.download.on_tick(10.0)
    assert only(AcceptBlock, scene.download.on_block(1, BLOCKS[0].raw, 11.0))
    # The copy from the other peer is not stored again, and nobody is blamed for it.
    actions = scene.download.on_block(2, BLOCKS[0].raw, 11.0)
    assert not only(AcceptBlock, actions)
    assert not only(Blame, actions)


def test_a_peer_may_answer_as_often_as_it_was_asked_for_a_block() -> None:
    scene = Scene(1, headers=1)
    scene.download.fill(0.0)
    for other, now in ((2, 10.0), (3, 30.0)):
        scene.join(other, 1)
        assert scene.asked(scene.download.on_tick(now)) == {other: [1]}
        scene.sync.on_gone(other, now + 10)
        scene.download.on_gone(other)
        assert scene.asked(scene.download.fill(now + 10)) == {1: [1]}
    for _ in range(3):  # its answers wait where a line does not get through
        assert not only(Blame, scene.deliver(1, 1, 41.0))
    assert only(Blame, scene.deliver(1, 1, 41.0)) == [Blame(1, Fault.UNREQUESTED, "block")]


def test_a_block_still_comes_after_a_notfound_that_was_for_its_missing_transactions() -> None:
    scene = Scene(1, headers=1)
    scene.download.fill(0.0)
    scene.download.on_notfound(1, [BLOCKS[0].header.hash], 1.0)
    assert not only(Blame, scene.deliver(1, 1, 2.0))
    assert only(Blame, scene.deliver(1, 1, 3.0)) == [Blame(1, Fault.UNREQUESTED, "block")]


def test_a_peer_that_stalled_is_asked_for_one_block_until_it_delivers() -> None:
    scene = Scene(1)
    scene.download.fill(0.0)
    scene.join(2, 100)
    assert list(scene.asked(scene.download.on_tick(10.0))) == [2]
    scene.sync.on_gone(2, 20.0)
    scene.download.on_gone(2)
    assert scene.asked(scene.download.fill(20.0)) == {1: [1]}
    assert scene.asked(scene.deliver(1, 1, 21.0)) == {1: [2, 3]}


def test_a_peer_that_stalls_again_and_again_is_dropped() -> None:
    scene = Scene(1, headers=100)
    scene.download.fill(0.0)
    now, closed = 0.0, []
    for other in range(2, 8):
        scene.join(other, 100)
        now += 20.0
        closed += only(Close, scene.download.on_tick(now))
    assert Close(1, Reason.STALLED) in closed


def test_the_only_peer_with_a_block_has_longer_but_not_for_ever() -> None:
    scene = Scene(1, headers=3)
    scene.download.fill(0.0)
    assert scene.download.on_tick(59.0) == []
    assert scene.download.on_tick(60.0) == [Close(1, Reason.STALLED)]


def test_time_that_we_take_to_store_a_block_does_not_count_against_its_sender() -> None:
    scene = Scene(1, headers=3)
    scene.download.fill(0.0)
    (accept,) = only(AcceptBlock, scene.download.on_block(1, BLOCKS[0].raw, 1.0))
    scene.join(2, 3)
    assert scene.asked(scene.download.on_tick(100.0)) == {}
    scene.download.on_block_done(1, accept.block_hash, None, 100.0)
    assert scene.asked(scene.download.on_tick(109.0)) == {}


def test_blocks_of_a_peer_that_leaves_are_asked_from_others() -> None:
    scene = Scene(1, 2)
    scene.download.fill(0.0)
    scene.sync.on_gone(1, 1.0)
    scene.download.on_gone(1)
    for height in range(33, 49):
        actions = scene.deliver(2, height, 1.0)
    assert scene.asked(actions) == {2: list(range(1, 17))}


def test_a_block_that_is_not_found_is_asked_from_another_and_not_again() -> None:
    scene = Scene(1, headers=3)
    scene.download.fill(0.0)
    scene.join(2, 3)
    hashes = [block.header.hash for block in BLOCKS[:3]]
    assert scene.asked(scene.download.on_notfound(1, hashes, 1.0)) == {2: [1, 2, 3]}
    scene.sync.on_gone(2, 2.0)
    scene.download.on_gone(2)
    assert scene.asked(scene.download.fill(2.0)) == {}


def test_an_idle_peer_takes_over_the_block_that_holds_up_the_window() -> None:
    scene = Scene(1, headers=1_200)
    scene.download.fill(0.0)
    for height in range(2, 1_025):
        asyncio.run(scene.node.accept_block(BLOCKS[height - 1].raw))
    scene.join(2, 1_200)
    assert scene.asked(scene.download.on_tick(1.9)) == {}
    assert scene.asked(scene.download.on_tick(2.0)) == {2: [1]}
    assert only(AcceptBlock, scene.download.on_block(1, BLOCKS[0].raw, 3.0))


def test_a_block_that_was_not_asked_for_is_a_fault_and_not_looked_at() -> None:
    scene = Scene(1, headers=3)
    actions = scene.download.on_block(1, BLOCKS[0].raw, 1.0)
    assert only(Blame, actions)[0].fault is Fault.UNREQUESTED
    assert not only(AcceptBlock, actions)
    assert only(Blame, scene.download.on_block(1, b"junk", 1.0))[0].fault is Fault.MALFORMED


def done_with(violation: Invalid | Premature | Refused) -> tuple[Scene, list[Action]]:
    scene = Scene(1, 2, headers=3)
    scene.download.fill(0.0)
    (accept,) = only(AcceptBlock, scene.download.on_block(1, BLOCKS[0].raw, 1.0))
    return scene, scene.download.on_block_done(1, accept.block_hash, violation, 1.0)


def test_an_invalid_block_is_blamed_on_its_sender() -> None:
    _, actions = done_with(Invalid(Rule.COINBASE_SHAPE))
    assert only(Blame, actions)[0].fault is Fault.INVALID_BLOCK


def test_the_right_block_is_asked_from_another_after_one_with_a_wrong_root() -> None:
    scene, actions = done_with(Invalid(Rule.BLOCK_ROOT))
    assert scene.asked(actions) == {2: [1]}


@pytest.mark.parametrize(
    "violation", [Premature(Rule.HEADER_TIME_TOO_NEW), Refused(Rule.MEMPOOL_FULL)]
)
def test_a_block_that_has_to_wait_is_nobodys_fault(violation: Premature | Refused) -> None:
    _, actions = done_with(violation)
    assert not only(Blame, actions)


def test_only_the_sender_of_a_block_found_invalid_later_is_blamed() -> None:
    scene = Scene(1, 2, headers=3)
    scene.download.fill(0.0)
    scene.deliver(1, 1, 1.0)
    node = scene.node.tree.get(BLOCKS[0].header.hash)
    assert node is not None
    violation = Invalid(Rule.BAD_SIGNATURE)
    (blame,) = only(Blame, scene.download.on_block_invalid(node, violation))
    assert (blame.peer, blame.fault) == (1, Fault.INVALID_BLOCK)
    assert not only(Blame, scene.download.on_block_invalid(node, violation))


def test_nothing_is_asked_of_a_chain_that_was_found_invalid() -> None:
    scene = Scene(1, headers=3)
    node = scene.node.tree.get(BLOCKS[0].header.hash)
    assert node is not None
    scene.node.tree.mark_invalid(node)
    scene.sync.forget_invalid()
    assert scene.download.fill(0.0) == []
