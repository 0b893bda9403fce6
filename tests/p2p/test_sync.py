"""Headers first, in virtual time."""

from __future__ import annotations

from consensus.errors import Invalid, Missing, Premature, Rule
from consensus.hashes import BlockHash
from p2p.actions import AddHeaders, Blame, Close
from p2p.config import NetworkConfig
from p2p.messages import GetHeaders, Headers
from p2p.peer import Fault, Reason
from p2p.sync import UNCONNECTING_MAX, HeaderSync
from tests.support.chain import ALICE
from tests.support.p2p_node import ToyNode
from tests.support.planning import headers_of, hello_at, only, sent

CONFIG = NetworkConfig()
LONG = ToyNode()
LONG.mine(30)
RAWS = [header.raw for header in headers_of(LONG.chain)]


def joined(*peers: int, node: ToyNode | None = None) -> tuple[ToyNode, HeaderSync, list[int]]:
    """A sync to whom `peers` claimed the long chain, and whom it asked for headers."""
    node = node or ToyNode()
    sync = HeaderSync(node, CONFIG)
    asked = []
    for peer in peers:
        actions = sync.on_ready(peer, False, hello_at(LONG.tip, node.chain_id), 0.0)
        asked += [to for to, _ in sent(GetHeaders, actions)]
    return node, sync, asked


def answer(sync: HeaderSync, node: ToyNode, peer: int, raws: list[bytes], now: float) -> list[int]:
    """Let `peer` answer with headers that are all good; whom sync asks next."""
    actions = sync.on_headers(peer, raws, now)
    for action in only(AddHeaders, actions):
        node.add_headers(action.headers)
        actions = sync.on_headers_added(peer, action.headers, action.is_answer, None, now)
    return [to for to, _ in sent(GetHeaders, actions)]


def test_one_peer_is_asked_for_headers_at_a_time() -> None:
    node, sync, asked = joined(1, 2, 3)
    assert asked == [1]
    assert answer(sync, node, 1, RAWS, 1.0) == []
    # All three have the whole chain, and that is known without asking the others.
    assert all(chain.best is node.tree.get(LONG.tip.hash) for chain in sync.chains.values())


def test_a_peer_with_less_work_is_not_asked() -> None:
    node = ToyNode()
    node.mine(2)
    sync = HeaderSync(node, CONFIG)
    lower = hello_at(node.tree.genesis, node.chain_id)
    assert sync.on_ready(1, False, lower, 0.0) == []


def test_an_unknown_chain_is_learned_although_the_best_header_has_more_work() -> None:
    # The blocks of the best header may be withheld; then the other chain is the best to be had.
    node = ToyNode()
    node.add_headers(headers_of(LONG.chain))
    other = ToyNode()
    other.chain.mine_empty(10, ALICE.lock)
    sync = HeaderSync(node, CONFIG)
    actions = sync.on_ready(1, False, hello_at(other.tip, node.chain_id), 0.0)
    assert [to for to, _ in sent(GetHeaders, actions)] == [1]
    raws = [header.raw for header in headers_of(other.chain)]
    assert answer(sync, node, 1, raws, 1.0) == []
    best = sync.chains[1].best
    assert best is not None
    assert best.hash == other.tip.hash


def test_a_peer_that_claimed_too_much_is_not_asked_again() -> None:
    node, sync, _ = joined(1)
    assert answer(sync, node, 1, RAWS[:10], 1.0) == []
    assert sync.on_tick(1_000.0) == []
    assert sync.chains[1].best is node.tree.best_header


def test_an_empty_answer_turns_to_the_next_peer() -> None:
    node, sync, _ = joined(1, 2)
    assert answer(sync, node, 1, [], 1.0) == [2]


def test_a_silent_peer_is_replaced_and_then_dropped() -> None:
    _, sync, asked = joined(1, 2)
    assert asked == [1]
    assert [to for to, _ in sent(GetHeaders, sync.on_tick(20.0))] == [2]
    actions = sync.on_tick(40.0)
    assert [to for to, _ in sent(GetHeaders, actions)] == [1]
    assert only(Close, sync.on_tick(60.0)) == [Close(1, Reason.STALLED)]


def test_a_peer_that_leaves_is_replaced_at_once() -> None:
    _, sync, _ = joined(1, 2)
    assert [to for to, _ in sent(GetHeaders, sync.on_gone(1, 1.0))] == [2]


def test_full_answers_are_continued_and_the_same_again_are_not() -> None:
    node, sync, _ = joined(1)
    long = ToyNode()
    long.mine(2_000)
    raws = [header.raw for header in headers_of(long.chain)]
    actions = sync.on_headers(1, raws, 1.0)
    (add,) = only(AddHeaders, actions)
    node.add_headers(add.headers)
    actions = sync.on_headers_added(1, add.headers, True, None, 1.0)
    ((peer, more),) = sent(GetHeaders, actions)
    assert (peer, more.locator[0]) == (1, long.tip.hash)
    (add,) = only(AddHeaders, sync.on_headers(1, raws, 2.0))
    assert sync.on_headers_added(1, add.headers, True, None, 2.0) == []


def test_headers_that_were_not_asked_for_are_a_fault() -> None:
    node, sync, _ = joined(1, 2)
    assert only(Blame, sync.on_headers(2, RAWS, 1.0))[0].fault is Fault.UNREQUESTED
    answer(sync, node, 1, RAWS, 1.0)
    assert only(Blame, sync.on_headers(1, RAWS, 1.0))[0].fault is Fault.UNREQUESTED


def test_an_answer_that_comes_late_is_no_fault() -> None:
    _, sync, _ = joined(1, 2)
    sync.on_tick(20.0)
    assert not only(Blame, sync.on_headers(1, RAWS, 21.0))


def test_headers_that_do_not_follow_one_another_are_a_fault() -> None:
    _, sync, _ = joined(1)
    actions = sync.on_headers(1, [RAWS[0], RAWS[2]], 1.0)
    assert only(Blame, actions)[0].fault is Fault.INVALID_HEADER
    assert not only(AddHeaders, actions)


def test_an_invalid_header_is_blamed_on_its_sender() -> None:
    _, sync, _ = joined(1)
    (add,) = only(AddHeaders, sync.on_headers(1, RAWS[:3], 1.0))
    violation = Invalid(Rule.HEADER_BITS_WRONG)
    actions = sync.on_headers_added(1, add.headers, True, violation, 1.0)
    assert only(Blame, actions)[0].fault is Fault.INVALID_HEADER


def test_a_header_from_the_future_is_nobodys_fault_and_asked_for_later() -> None:
    _, sync, _ = joined(1)
    (add,) = only(AddHeaders, sync.on_headers(1, RAWS[:3], 1.0))
    violation = Premature(Rule.HEADER_TIME_TOO_NEW)
    assert sync.on_headers_added(1, add.headers, True, violation, 1.0) == []
    assert sync.on_tick(10.0) == []
    assert [to for to, _ in sent(GetHeaders, sync.on_tick(11.0))] == [1]


def test_an_announcement_without_known_parent_is_asked_about_and_in_the_end_a_fault() -> None:
    node = ToyNode()
    sync = HeaderSync(node, CONFIG)
    sync.on_ready(1, False, hello_at(node.tip, node.chain_id), 0.0)
    missing = Missing(Rule.HEADER_PARENT_UNKNOWN)
    for count in range(1, UNCONNECTING_MAX + 2):
        (add,) = only(AddHeaders, sync.on_announce(1, RAWS[20:21], 1.0))
        actions = sync.on_headers_added(1, add.headers, False, missing, 1.0)
        assert len(sent(GetHeaders, actions)) == (count == 1)
        assert bool(only(Blame, actions)) == (count > UNCONNECTING_MAX)
    assert answer(sync, node, 1, RAWS, 2.0) == []
    assert sync.chains[1].unconnecting == 0


def test_who_announces_to_a_node_that_is_not_heard_is_not_to_blame() -> None:
    node = ToyNode()
    sync = HeaderSync(node, CONFIG)
    for peer in (1, 2):
        sync.on_ready(peer, False, hello_at(node.tip, node.chain_id), 0.0)
    missing = Missing(Rule.HEADER_PARENT_UNKNOWN)
    (add,) = only(AddHeaders, sync.on_announce(1, RAWS[20:21], 0.0))
    sync.on_headers_added(1, add.headers, False, missing, 0.0)
    sync.on_tick(CONFIG.headers_timeout_s)  # no answer: perhaps the question did not get through
    for peer in (1, 2):
        for _ in range(UNCONNECTING_MAX + 2):
            (add,) = only(AddHeaders, sync.on_announce(peer, RAWS[20:21], 30.0))
            assert only(Blame, sync.on_headers_added(peer, add.headers, False, missing, 30.0)) == []


def test_what_builds_on_a_header_from_the_future_is_nobodys_fault() -> None:
    _, sync, _ = joined(1)
    (add,) = only(AddHeaders, sync.on_headers(1, RAWS[:1], 1.0))
    sync.on_headers_added(1, add.headers, True, Premature(Rule.HEADER_TIME_TOO_NEW), 1.0)
    missing = Missing(Rule.HEADER_PARENT_UNKNOWN)
    for raw in RAWS[1 : UNCONNECTING_MAX + 5]:
        (add,) = only(AddHeaders, sync.on_announce(1, [raw], 2.0))
        assert only(Blame, sync.on_headers_added(1, add.headers, False, missing, 2.0)) == []


def test_an_answer_without_known_parent_is_a_fault() -> None:
    _, sync, _ = joined(1)
    (add,) = only(AddHeaders, sync.on_headers(1, RAWS[5:6], 1.0))
    missing = Missing(Rule.HEADER_PARENT_UNKNOWN)
    actions = sync.on_headers_added(1, add.headers, True, missing, 1.0)
    assert only(Blame, actions)[0].fault is Fault.UNCONNECTING


def asked_headers(node: ToyNode, locator: list[BlockHash], stop: bytes = b"") -> list[bytes]:
    sync = HeaderSync(node, CONFIG)
    actions = sync.on_getheaders(1, GetHeaders(tuple(locator), stop))
    ((_, message),) = sent(Headers, actions)
    return list(message.headers)


def test_headers_are_served_from_the_fork_on() -> None:
    tip = LONG.tip
    assert asked_headers(LONG, []) == RAWS
    assert asked_headers(LONG, [tip.hash]) == []
    assert (
        asked_headers(LONG, [BlockHash(bytes(32)), tip.ancestor(20).hash, tip.ancestor(3).hash])
        == RAWS[20:]
    )
    assert asked_headers(LONG, [], tip.ancestor(4).hash) == RAWS[:4]
    assert asked_headers(LONG, [tip.ancestor(9).hash], bytes(32)) == RAWS[9:]


def test_headers_of_a_branch_that_lost_are_not_served() -> None:
    node = ToyNode()
    node.mine(3)
    side = node.chain.template(parent=node.tree.genesis)
    lost = node.tree.add(side.header, side.header.time)
    assert len(asked_headers(node, [lost.hash])) == 3
