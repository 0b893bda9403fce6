"""Chains with little work store nothing; one with enough is stored, whoever sends it."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Iterator
from functools import cache

import msgspec
import pytest

from consensus.block import Header, make_header
from consensus.errors import Violation
from consensus.hashes import BlockHash
from consensus.header_tree import HeaderTree, earliest_time, expected_bits
from consensus.params import REGTEST
from consensus.pow import hash_as_number, target_of
from p2p.actions import Action, AddHeaders, Blame, Send
from p2p.config import NetworkConfig
from p2p.messages import HEADERS_MAX, GetHeaders
from p2p.peer import Fault
from p2p.sync import CHANGES_MAX, TURN_S, HeaderSync
from tests.support.p2p_node import ToyNode
from tests.support.planning import hello_at, only, sent

SPAM = int(os.environ.get("TAEL_SPAM_HEADERS", "12000"))
"""Headers of the flood; up to 25 000, which have less than half the work of the chain."""
PARAMS = msgspec.structs.replace(REGTEST, retarget=True, half_life_blocks=10, spacing_s=5)
NOW = PARAMS.genesis_time + 400 * 86_400
EASY_S = PARAMS.interval_s
"""Blocks at this distance keep the difficulty at its least."""


def solved(previous: BlockHash, time: int, bits: int, salt: int) -> Header:
    target, nonce = target_of(bits), 0
    root = salt.to_bytes(32, "big")
    while True:
        header = make_header(1, previous, root, time, bits, nonce)
        if hash_as_number(header.hash) <= target:
            return header
        nonce += 1


def extended(tree: HeaderTree, count: int, pace_s: int, salt: int) -> None:
    """`count` more headers, each `pace_s` after the one before it."""
    node = tree.best_header
    for _ in range(count):
        time = max(earliest_time(node, PARAMS), node.header.time + pace_s)
        bits = expected_bits(node, tree.genesis, PARAMS)
        node = tree.add(solved(node.hash, time, bits, salt), NOW)


def chain_of(tree: HeaderTree) -> list[Header]:
    """From height 1 on."""
    best = tree.best_header
    return [best.ancestor(height).header for height in range(1, best.height + 1)]


@cache
def strong() -> tuple[Header, ...]:
    """A chain whose difficulty rose for 140 blocks, to some 3 000 times the least."""
    tree = ToyNode(PARAMS).tree
    extended(tree, 140, 5, 1)
    return tuple(chain_of(tree))


@cache
def longer() -> tuple[Header, ...]:
    """A chain that begins easily, and ends with more work than the strong one."""
    tree = ToyNode(PARAMS).tree
    extended(tree, HEADERS_MAX + 50, EASY_S, 9)
    extended(tree, 150, 5, 9)
    return tuple(chain_of(tree))


def node_on(headers: tuple[Header, ...]) -> ToyNode:
    """A node whose tip is the last of `headers`."""
    node = ToyNode(PARAMS, lambda: NOW)
    node.add_headers(headers)
    node.chain.tip = node.tree.best_header
    return node


def spam(salt: int = 7) -> Iterator[Header]:
    """Headers off genesis that are as easy to make as can be."""
    tree = ToyNode(PARAMS).tree
    previous, time = tree.genesis.hash, tree.genesis.header.time
    while True:
        time += EASY_S
        header = solved(previous, time, PARAMS.pow_limit_bits, salt)
        previous = header.hash
        yield header


class Talk:
    """One peer that answers every getheaders with what a chain has for its locator."""

    def __init__(
        self, node: ToyNode, sync: HeaderSync | None = None, peer: int = 1, now: float = 0.0
    ) -> None:
        self.node = node
        self.sync = sync or HeaderSync(node, NetworkConfig())
        self.peer = peer
        self.now = now + 1.0
        hello = hello_at(node.tip, node.chain_id, node.tip.work * 1_000)
        self.actions = self.sync.on_ready(
            peer, False, msgspec.structs.replace(hello, tip=bytes(32)), now
        )
        self.faults: list[Fault] = []

    def asked(self) -> GetHeaders | None:
        found = [message for _, message in sent(GetHeaders, self.actions)]
        return found[0] if found else None

    def answer(self, headers: list[Header]) -> None:
        raws = [header.raw for header in headers]
        actions = self.sync.on_headers(self.peer, raws, self.now)
        self.actions = list(self._done(actions))

    def _done(self, actions: list[Action]) -> Iterator[Action]:
        for action in actions:
            if isinstance(action, Blame):
                self.faults.append(action.fault)
            elif isinstance(action, AddHeaders):
                violation: Violation | None = None
                try:
                    self.node.add_headers(action.headers)
                except Violation as error:
                    violation = error
                yield from self._done(
                    self.sync.on_headers_added(self.peer, action.headers, True, violation, self.now)
                )
            else:
                assert isinstance(action, Send)
                yield action

    def answer_from(self, chain: list[Header], limit: int = 100) -> None:
        """Answer as an honest peer with `chain` does, until it is asked no more."""
        for _ in range(limit):
            if self.asked() is None:
                return
            self.answer_once(chain)
        raise AssertionError("asked without end")

    def answer_once(self, chain: list[Header]) -> None:
        """Answer one question as an honest peer with `chain` does."""
        message = self.asked()
        assert message is not None
        heights = {header.hash: height for height, header in enumerate(chain, 1)}
        start = next((heights[known] for known in message.locator if known in heights), 0)
        self.answer(chain[start : start + HEADERS_MAX])


def test_a_flood_of_easy_headers_off_genesis_stores_nothing() -> None:
    node = node_on(strong())
    talk, made, before = Talk(node), spam(), len(node.tree)
    batches = [[next(made) for _ in range(HEADERS_MAX)] for _ in range(2)]
    talk.answer(batches[0])
    tracemalloc.start()
    try:
        for _ in range(SPAM // HEADERS_MAX - 2):
            talk.answer(batches[1])
            batches[1] = [next(made) for _ in range(HEADERS_MAX)]
        del batches
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert talk.asked() is not None
    assert len(node.tree) == before
    assert used < 1_000_000
    talk.answer([next(made)])
    assert len(node.tree) == before
    assert talk.asked() is None


def test_a_chain_that_shows_enough_work_is_stored_in_the_second_pass() -> None:
    node = node_on(strong())
    talk = Talk(node)
    talk.answer_from(list(longer()))
    assert node.tree.best_header.hash == longer()[-1].hash
    assert node.tree.best_header.work > node.tip.work
    assert not talk.faults


def test_who_shows_one_chain_and_brings_another_stores_nothing() -> None:
    node = node_on(strong())
    shown, made, before = list(longer()), spam(), len(node.tree)
    talk = Talk(node)
    talk.answer(shown[:HEADERS_MAX])
    talk.answer(shown[HEADERS_MAX:])
    talk.answer([next(made) for _ in range(HEADERS_MAX)])
    assert len(node.tree) == before
    talk.answer([next(made)])
    assert talk.faults == [Fault.UNCONNECTING]
    assert len(node.tree) == before
    assert talk.asked() is None


def test_who_shows_less_after_a_change_than_before_is_to_blame() -> None:
    node = node_on(strong())
    talk = Talk(node)
    for chain in (reorganised(220), longer()):  # of which the second has less work
        assert not talk.faults
        talk.answer(list(chain[:HEADERS_MAX]))
        talk.answer(list(chain[HEADERS_MAX:]))
    assert talk.faults == [Fault.UNCONNECTING]
    assert talk.asked() is None
    assert len(node.tree) == len(strong()) + 1


def test_who_shows_another_chain_each_time_is_to_blame() -> None:
    node = node_on(strong())
    talk = Talk(node)
    for salt in range(CHANGES_MAX + 2):
        assert not talk.faults
        made = spam(salt)
        talk.answer([next(made) for _ in range(HEADERS_MAX)])
    assert talk.faults == [Fault.UNCONNECTING]
    assert talk.asked() is None
    assert len(node.tree) == len(strong()) + 1


def test_all_peers_together_have_little_kept_of_what_they_show() -> None:
    config = NetworkConfig(presync_answers_max=6)
    node, made = node_on(strong()), spam()
    batches = [[next(made) for _ in range(HEADERS_MAX)] for _ in range(5)]
    sync = HeaderSync(node, config)
    talks = []
    for peer in range(1, 6):
        talks.append(Talk(node, sync, peer, peer * 2 * TURN_S))
        talks[-1].answer(batches[0])
    for batch in batches[1:]:
        for talk in talks:
            if talk.asked():
                talk.answer(batch)
    showing = [chain.presync for chain in sync.chains.values() if chain.presync is not None]
    assert sum(map(len, showing)) <= config.presync_answers_max + 1
    assert [peer for peer, chain in sync.chains.items() if chain.presync is not None] == [1]
    assert not any(talk.faults for talk in talks)
    # Whose answers hold more work goes on all the same.
    talk = Talk(node, sync, 7, 20 * TURN_S)
    talk.answer_from(list(longer()))
    assert node.tree.best_header.hash == longer()[-1].hash


def test_an_announced_header_of_little_work_is_asked_about_and_not_stored() -> None:
    node = node_on(strong())
    talk = Talk(node)
    talk.answer([])
    before = len(node.tree)
    easy = next(spam())
    actions = talk.sync.on_announce(1, [easy.raw], 1.0)
    assert not only(AddHeaders, actions)
    assert len(sent(GetHeaders, actions)) == 1
    assert len(node.tree) == before


def test_a_branch_close_to_the_tip_is_stored_at_once() -> None:
    node = node_on(strong())
    base = node.tip.ancestor(node.tip.height - 1)
    bits = expected_bits(base, node.tree.genesis, PARAMS)
    side = solved(base.hash, base.header.time + 5_000, bits, 77)
    talk = Talk(node)
    talk.answer([side])
    assert node.tree.get(side.hash) is not None


def test_a_header_that_lies_about_its_work_does_not_count() -> None:
    node = node_on(strong())
    easy = next(spam())
    liar = make_header(1, easy.hash, bytes(32), easy.time + 5, node.tip.header.bits, 0)
    hard = make_header(1, easy.hash, bytes(32), easy.time + 5, 0x1A00FFFF, 0)
    before = len(node.tree)
    for last in (liar, hard):
        talk = Talk(node)
        talk.answer([easy, last])
        assert talk.faults == [Fault.INVALID_HEADER]
        assert len(node.tree) == before


def test_who_sends_easy_headers_slowly_does_not_keep_us_from_others() -> None:
    node, ahead, made = node_on(strong()), node_on(strong()), spam()
    extended(ahead.tree, 30, 5, 1)
    talk = Talk(node)
    best = ahead.tree.best_header
    assert not talk.sync.on_ready(2, False, hello_at(best, node.chain_id), 0)
    asked: list[Action] = []
    for number in range(1, 5):
        now = number * 19.0
        asked += talk.sync.on_tick(now)
        talk.sync.on_headers(1, [next(made).raw for _ in range(HEADERS_MAX)], now)
    assert [peer for peer, _ in sent(GetHeaders, asked)] == [2]


def test_a_node_without_blocks_takes_the_chain_that_has_the_work_it_was_told_to_expect() -> None:
    """However long another is."""
    node = ToyNode(PARAMS, lambda: NOW)
    node.least_work = node_on(strong()).tip.work
    made = spam()
    talk = Talk(node)
    easy = [next(made) for _ in range(HEADERS_MAX + 10)]
    talk.answer_from(easy)
    assert not talk.faults
    assert len(node.tree) == 1
    talk = Talk(node)
    talk.answer_from(list(strong()))
    assert node.tree.best_header.hash == strong()[-1].hash
    assert not talk.faults


@cache
def reorganised(depth: int) -> tuple[Header, ...]:
    """`longer`, whose last `depth` blocks gave way to others with more work."""
    node, kept = ToyNode(PARAMS, lambda: NOW), longer()[:-depth]
    node.add_headers(kept)
    extended(node.tree, min(depth, 150) + 1, 5, 10)
    return tuple(chain_of(node.tree))


@pytest.mark.parametrize("depth", [20, 160, 220])
@pytest.mark.parametrize("answers", [1, 2, 3])
def test_who_reorganises_between_the_passes_is_not_to_blame(depth: int, answers: int) -> None:
    """In the first pass, between both, in the second; after the first answer's end and before it."""
    node = node_on(strong())
    talk = Talk(node)
    for _ in range(answers):
        talk.answer_once(list(longer()))
    after = list(reorganised(depth))
    talk.answer_from(after)
    assert not talk.faults
    assert node.tree.best_header.hash == after[-1].hash
