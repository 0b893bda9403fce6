"""Compact blocks between planners, in virtual time: who sends, who asks, who is to blame."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from consensus.block import Block, make_block, make_header
from consensus.errors import Rule
from consensus.header_tree import HeaderNode
from consensus.tx import NATIVE, Tx, TxOut, make_coinbase
from p2p.actions import Action, Blame
from p2p.blockrelay import ATTEMPTS_PER_BLOCK_MAX, CHOOSE_INTERVAL_S, CHOSEN_MAX
from p2p.compact import make_compact
from p2p.messages import (
    Announce,
    BlockTxs,
    Compact,
    CompactMode,
    GetBlocks,
    GetBlockTxs,
    GetHeaders,
    NotFound,
)
from p2p.peer import Fault
from tests.support.chain import DAVE
from tests.support.planners import CONFIG, Scene
from tests.support.planning import only, sent

SALT = b"saltsalt"
TIMEOUT_S = CONFIG.compact_timeout_s


def faults(actions: list[Action]) -> list[tuple[int, Fault]]:
    return [(blame.peer, blame.fault) for blame in only(Blame, actions)]


def test_the_first_three_peers_that_know_compact_blocks_are_asked_for_them() -> None:
    scene = Scene()
    asked = sent(
        CompactMode, [a for n in range(1, 6) for a in scene.join(n, version=1 if n == 2 else 2)]
    )
    assert asked == [(number, CompactMode(1)) for number in (1, 3, 4)]
    assert len(asked) == CHOSEN_MAX


def test_another_peer_is_asked_when_one_leaves_first_one_that_we_opened() -> None:
    scene = Scene()
    for number in range(1, 6):
        scene.join(number, inbound=number != 5)
    assert sent(CompactMode, scene.router.on_gone(scene.peers[2])) == [(5, CompactMode(1))]
    assert sent(CompactMode, scene.router.on_gone(scene.peers[4])) == []


def test_whoever_brings_a_block_takes_the_place_of_who_did_not_for_longest() -> None:
    scene = Scene()
    for number in range(1, 6):
        scene.join(number)
    blocks = scene.router.blocks
    assert blocks.on_delivered(1, 100.0) == []
    assert sent(CompactMode, blocks.on_delivered(4, 100.0)) == [
        (2, CompactMode(0)), (4, CompactMode(1)),
    ]  # fmt: skip
    assert blocks.on_delivered(5, 100.0) == []
    assert len(blocks.on_delivered(5, 100.0 + CHOOSE_INTERVAL_S)) == 2


def test_peers_that_connected_to_us_do_not_push_out_the_only_one_that_we_opened() -> None:
    scene = Scene()
    for number in range(1, 8):
        scene.join(number, inbound=number != 1)
    ended = []
    for number in range(4, 8):
        scene.clock.time += CHOOSE_INTERVAL_S
        actions = scene.router.blocks.on_delivered(number, scene.clock.time)
        ended += [peer for peer, mode in sent(CompactMode, actions) if not mode.wanted]
    assert len(ended) == 4
    assert 1 not in ended


def stored(scene: Scene, block: Block) -> tuple[HeaderNode, list[Action]]:
    """A block that the node has checked, and what it says before it connects it."""
    node = scene.node.tree.add(block.header, block.header.time)
    scene.node.tree.mark_stored(node)
    return node, scene.router.on_block_stored(node, block)


def sender() -> tuple[Scene, Block]:
    """A node whose peers 1 and 2 want compact blocks and 3 does not."""
    scene = Scene()
    for number in (1, 2, 3):
        scene.join(number)
    for number in (1, 2):
        scene.hear(number, CompactMode(1))
    return scene, scene.node.chain.template(scene.payments())


def test_a_block_goes_to_those_who_asked_before_it_is_connected_and_its_header_after() -> None:
    scene, block = sender()
    node, actions = stored(scene, block)
    messages = sent(Compact, actions)
    assert [peer for peer, _ in messages] == [1, 2]
    assert messages[0][1] == make_compact(block, messages[0][1].salt)
    scene.node.chain.connect(block.raw)
    scene.router.headers.chains[2].learn(node)
    announced = sent(Announce, scene.router.on_tip_changed())
    assert announced == [(1, Announce((block.header.raw,))), (3, Announce((block.header.raw,)))]


def test_a_peer_that_just_learned_our_chain_gets_the_next_block_compact() -> None:
    scene = Scene()
    genesis = scene.node.tree.genesis
    scene.join(1, tip=genesis)
    scene.hear(1, CompactMode(1))
    block = scene.node.chain.template()
    assert stored(scene, block)[1] == []
    scene.hear(1, GetHeaders((genesis.hash,)))
    other = scene.node.chain.template(scene.payments())
    assert len(sent(Compact, stored(scene, other)[1])) == 1


def test_a_block_that_is_not_on_the_tip_is_not_passed_on_early() -> None:
    scene, _ = sender()
    side = scene.node.chain.template(parent=scene.node.tip.parent)
    assert stored(scene, side)[1] == []


def test_nobody_gets_two_compact_blocks_within_a_tenth_of_a_second() -> None:
    scene, block = sender()
    stored(scene, block)
    scene.node.chain.connect(block.raw)
    following = scene.node.chain.template()
    assert stored(scene, following)[1] == []
    scene.node.chain.connect(following.raw)
    scene.router.on_tip_changed()
    scene.clock.time += 0.2
    assert len(sent(Compact, stored(scene, scene.node.chain.template())[1])) == 2


def test_a_block_with_a_huge_coinbase_is_announced_by_its_header_alone() -> None:
    scene, _ = sender()
    height = scene.node.tip.height + 1
    outputs = [TxOut(NATIVE, 1, DAVE.lock, bytes(128))] * 600
    big = scene.node.chain.template(coinbase=make_coinbase(height, outputs, bytes(8)))
    assert stored(scene, big)[1] == []
    scene.node.chain.connect(big.raw)
    assert len(sent(Announce, scene.router.on_tip_changed())) == 3


def test_missing_transactions_are_served_once_and_only_of_blocks_that_were_sent() -> None:
    scene, block = sender()
    stored(scene, block)
    ask = GetBlockTxs(block.header.hash, (0, 2))
    answer = BlockTxs(block.header.hash, (block.txs[1].raw, block.txs[3].raw))
    assert sent(BlockTxs, scene.hear(1, ask)) == [(1, answer)]
    refusal = [(1, NotFound((block.header.hash,)))]
    assert sent(NotFound, scene.hear(1, ask)) == refusal
    assert sent(BlockTxs, scene.hear(2, ask)) == [(2, answer)]
    beyond = GetBlockTxs(block.header.hash, (len(block.txs) - 1,))
    assert sent(NotFound, scene.hear(3, beyond)) == [(3, NotFound((block.header.hash,)))]
    unknown = GetBlockTxs(scene.node.tip.hash, (0,))
    assert sent(NotFound, scene.hear(3, unknown)) == [(3, NotFound((scene.node.tip.hash,)))]


def receiver(*, peers: int = 2) -> tuple[Scene, Block, list[Tx]]:
    """A node that asked its peers for compact blocks, and a block of payments."""
    scene = Scene()
    for number in range(1, peers + 1):
        scene.join(number)
    txs = scene.payments()
    return scene, scene.node.chain.template(txs), txs


def test_a_block_of_known_transactions_becomes_the_tip_without_another_message() -> None:
    scene, block, txs = receiver()
    scene.wait_with(*txs)
    assert scene.hear(1, make_compact(block, SALT)) == []
    assert scene.node.tip.hash == block.header.hash
    assert scene.node.rebuilt == [block.header.hash]
    assert scene.node.stored[block.header.hash] == block.raw
    # Who sent it is not told of it.
    assert [peer for peer, _ in sent(Announce, scene.told.actions)] == [2]


def test_a_block_that_was_put_together_goes_on_as_it_came() -> None:
    scene, block, txs = receiver()
    scene.wait_with(*txs[1:])
    scene.hear(2, CompactMode(1))
    message = make_compact(block, SALT)
    scene.hear(1, message)
    scene.hear(1, BlockTxs(block.header.hash, (txs[0].raw,)))
    assert sent(Compact, scene.told.actions) == [(2, message)]


def test_an_attempt_that_failed_is_not_what_goes_on() -> None:
    scene, block, _ = receiver(peers=3)
    scene.hear(2, CompactMode(1))
    message = make_compact(block, SALT)
    scene.hear(1, msgspec.structs.replace(message, ids=message.ids[::-1]))
    asyncio.run(scene.node.accept_block(block.raw))
    ((peer, passed_on),) = sent(Compact, scene.told.actions)
    assert (peer, passed_on) == (2, make_compact(block, passed_on.salt))
    assert passed_on.salt != SALT


def test_what_is_missing_is_asked_once_and_completes_the_block() -> None:
    scene, block, txs = receiver()
    scene.wait_with(*txs[1:4])
    asked = sent(GetBlockTxs, scene.hear(1, make_compact(block, SALT)))
    assert asked == [(1, GetBlockTxs(block.header.hash, (0, 4, 5)))]
    missing = tuple(txs[index].raw for index in (0, 4, 5))
    assert scene.hear(1, BlockTxs(block.header.hash, missing)) == []
    assert scene.node.tip.hash == block.header.hash


def test_withheld_transactions_have_the_block_fetched_whole_from_who_announces_it() -> None:
    scene, block, _ = receiver()
    assert len(sent(GetBlockTxs, scene.hear(1, make_compact(block, SALT)))) == 1
    # Meanwhile nobody is asked for all of it.
    assert sent(GetBlocks, scene.hear(2, Announce((block.header.raw,)))) == []
    assert sent(GetBlocks, scene.pass_time(TIMEOUT_S / 2)) == []
    assert sent(GetBlocks, scene.pass_time(TIMEOUT_S / 2)) == [(2, GetBlocks((block.header.hash,)))]
    late = BlockTxs(block.header.hash, tuple(tx.raw for tx in block.txs[1:]))
    assert scene.hear(1, late) == []
    assert faults(scene.hear(1, late)) == [(1, Fault.UNREQUESTED)]


def test_peers_that_withhold_one_after_the_other_hold_a_block_back_no_longer_than_one() -> None:
    scene, block, _ = receiver(peers=4)
    message = make_compact(block, SALT)
    began, asked = scene.clock.time, []
    scene.hear(1, message)
    scene.hear(4, Announce((block.header.raw,)))
    for step in range(40):  # each begins anew before the one before it had its time
        scene.hear(1 + step % 3, message)
        asked += sent(GetBlocks, scene.pass_time(0.34 * TIMEOUT_S))
        if asked:
            break
    assert asked == [(4, GetBlocks((block.header.hash,)))]
    assert scene.clock.time - began < 1.1 * TIMEOUT_S


def test_the_block_is_fetched_from_its_sender_too_once_that_has_connected_it() -> None:
    scene, block, _ = receiver(peers=1)
    scene.hear(1, make_compact(block, SALT))
    assert scene.hear(1, NotFound((block.header.hash,))) == []
    assert sent(GetBlocks, scene.hear(1, Announce((block.header.raw,)))) == [
        (1, GetBlocks((block.header.hash,)))
    ]


def test_a_block_is_fetched_whole_when_who_was_asked_for_the_rest_leaves() -> None:
    scene, block, _ = receiver()
    scene.hear(1, make_compact(block, SALT))
    scene.hear(2, Announce((block.header.raw,)))
    actions = scene.router.on_gone(scene.peers[1])
    assert sent(GetBlocks, actions) == [(2, GetBlocks((block.header.hash,)))]


def test_a_root_that_does_not_fit_is_nobodys_fault_and_the_block_is_fetched_whole() -> None:
    scene, block, txs = receiver()
    scene.wait_with(*txs)
    message = make_compact(block, SALT)
    swapped = msgspec.structs.replace(
        message, ids=message.ids[6:12] + message.ids[:6] + message.ids[12:]
    )
    assert scene.hear(1, swapped) == []
    assert scene.node.tip.hash != block.header.hash
    assert len(sent(GetBlocks, scene.hear(1, Announce((block.header.raw,))))) == 1


def test_two_equal_ids_are_nobodys_fault_and_nothing_is_asked() -> None:
    scene, block, txs = receiver()
    scene.wait_with(*txs)
    message = make_compact(block, SALT)
    doubled = msgspec.structs.replace(message, ids=message.ids[:6] * (len(message.ids) // 6))
    assert scene.hear(1, doubled) == []


def test_whoever_passes_on_a_block_that_cannot_be_connected_is_not_blamed() -> None:
    scene, _, txs = receiver()
    greedy = scene.node.chain.template(txs, reward=10**12)
    scene.wait_with(*txs)
    assert scene.hear(1, make_compact(greedy, SALT)) == []
    assert [violation.rule for violation in scene.told.invalid] == [Rule.COINBASE_AMOUNT]
    assert scene.told.actions == []
    # Nor is another who does so later.
    assert scene.hear(2, make_compact(greedy, SALT)) == []


@pytest.mark.parametrize("answer", ["others", "junk", "too few"])
def test_an_answer_of_other_transactions_than_named_is_a_fault(answer: str) -> None:
    scene, block, txs = receiver()
    scene.wait_with(*txs[2:])
    scene.hear(1, make_compact(block, SALT))
    raws = {
        "others": (txs[0].raw, txs[2].raw),
        "junk": (txs[0].raw, b"\x90"),
        "too few": (txs[0].raw,),
    }[answer]
    actions = scene.hear(1, BlockTxs(block.header.hash, raws))
    assert faults(actions) == [(1, Fault.INVALID_BLOCK)]
    # The block itself is none the worse for it.
    assert len(sent(GetBlocks, scene.hear(2, Announce((block.header.raw,))))) == 1


def test_a_coinbase_that_cannot_be_decoded_is_a_fault() -> None:
    scene, block, txs = receiver()
    scene.wait_with(*txs)
    bad = msgspec.structs.replace(make_compact(block, SALT), coinbase=b"\x90")
    assert faults(scene.hear(1, bad)) == [(1, Fault.INVALID_BLOCK)]


def test_a_header_without_work_is_a_fault() -> None:
    scene, block, _ = receiver()
    header = block.header
    weak = next(
        found
        for nonce in range(1_000)
        if (found := make_header(header.version, header.previous, header.root, header.time,
                                 header.bits, nonce)).hash[-1] >= 0x80
    )  # fmt: skip
    message = make_compact(make_block(weak, block.txs), SALT)
    assert faults(scene.hear(1, message)) == [(1, Fault.INVALID_HEADER)]
    assert scene.node.tree.get(weak.hash) is None


def test_a_block_on_an_unknown_parent_has_headers_asked_for() -> None:
    scene, _, _ = receiver()
    parent = scene.node.chain.template()
    child = make_header(
        parent.header.version, parent.header.hash, parent.header.root, parent.header.time + 60,
        parent.header.bits, 0,
    )  # fmt: skip
    while child.hash[-1] >= 0x7F:
        child = make_header(
            child.version, child.previous, child.root, child.time, child.bits, child.nonce + 1
        )
    actions = scene.hear(1, make_compact(make_block(child, parent.txs), SALT))
    assert len(sent(GetHeaders, actions)) == 1
    assert not faults(actions)


def test_what_nobody_asked_for_is_a_fault() -> None:
    scene, block, txs = receiver(peers=4)
    scene.wait_with(*txs)
    answer = BlockTxs(block.header.hash, (txs[0].raw,))
    assert faults(scene.hear(1, answer)) == [(1, Fault.UNREQUESTED)]
    assert faults(scene.hear(4, make_compact(block, SALT))) == [(4, Fault.UNREQUESTED)]
    assert scene.node.tip.hash != block.header.hash


def test_a_block_from_several_peers_is_tried_a_few_times_and_stored_once() -> None:
    scene, block, txs = receiver(peers=3)
    asked = [len(sent(GetBlockTxs, scene.hear(n, make_compact(block, SALT)))) for n in (1, 2, 3)]
    assert sum(asked) == ATTEMPTS_PER_BLOCK_MAX
    everything = BlockTxs(block.header.hash, tuple(tx.raw for tx in txs))
    assert scene.hear(2, everything) == []
    assert scene.node.accepted.count(block.header.hash) == 1
    # Answers of the others come late then, and are no fault.
    assert scene.hear(1, everything) == []
    assert scene.hear(3, everything) == []
    assert not scene.router.download.held


def test_attempts_are_bounded_and_leave_nothing_behind() -> None:
    scene, _, txs = receiver(peers=3)
    for number in range(30):
        payment = txs[: 1 + number % len(txs)]
        block = scene.node.chain.template(payment)
        for peer in (1, 2, 3):
            scene.hear(peer, make_compact(block, SALT))
    assert len(scene.router.blocks._attempts) <= 8
    scene.pass_time(TIMEOUT_S)
    assert not scene.router.blocks._attempts
    assert not scene.router.download.held
