"""Relay of transactions and announcement of blocks, in virtual time."""

from __future__ import annotations

import asyncio
import random
from math import inf

import msgspec
import pytest

from consensus.block import decode_header
from consensus.errors import Invalid, Missing, Refused, Rule, Violation
from consensus.hashes import Txid, Wtxid
from consensus.tx import Tx
from p2p.actions import Action, Blame, ServeTxs, SubmitTx
from p2p.bounded import TokenBucket
from p2p.config import NetworkConfig
from p2p.messages import IDS, INV_MAX, MESSAGES, Announce, GetTxs, Inv
from p2p.orphans import ORPHANS_MAX, Orphanage
from p2p.peer import Fault
from p2p.relay import (
    ANNOUNCE_INTERVAL_S,
    IN_FLIGHT_MAX,
    INV_INTERVAL_S,
    OTHERS_MAX,
    QUEUE_MAX,
    BlockAnnouncer,
    TxRelay,
)
from p2p.serving import block_messages, tx_messages
from p2p.sync import HeaderSync
from tests.support.chain import ALICE, BOB, FEE, coins_made
from tests.support.p2p_node import ToyNode
from tests.support.planning import headers_of, hello_at, only, sent

CONFIG = NetworkConfig()
STEPS_PER_S = 200
FUNDED = ToyNode()
FUNDED.chain.fund(ALICE, 3)


def payments(count: int) -> list[Tx]:
    """Different payments of one coin; at most one of them could be mined."""
    return [FUNDED.chain.pay(ALICE, BOB, 1_000 + number) for number in range(count)]


def wtxid(number: int) -> Wtxid:
    return Wtxid(number.to_bytes(32, "big"))


def relay_with(*peers: int, config: NetworkConfig = CONFIG) -> tuple[ToyNode, TxRelay]:
    node = ToyNode()
    relay = TxRelay(node, config, random.Random(1))
    for peer in peers:
        relay.on_ready(peer, 0.0)
    return node, relay


def put(node: ToyNode, relay: TxRelay, tx: Tx, now: float) -> list[Action]:
    """Have the mempool take `tx`."""
    node.mempool[tx.wtxid] = tx
    return relay.on_tx_added(tx, now)


def test_a_transaction_is_announced_to_all_after_a_short_random_delay() -> None:
    node, relay = relay_with(1, 2, 3)
    (tx,) = payments(1)
    assert relay.wake_at == inf
    put(node, relay, tx, 5.0)
    assert 5.010 <= relay.wake_at <= 5.060
    assert relay.on_wake(5.009) == []
    announced = []
    while relay.wake_at < inf:
        announced += sent(Inv, relay.on_wake(relay.wake_at))
    assert announced
    assert sorted(peer for peer, _ in announced) == [1, 2, 3]
    assert all(message == Inv((tx.wtxid,)) for _, message in announced)


def test_what_waits_on_is_announced_again_and_what_was_mined_is_not() -> None:
    node, relay = relay_with(1, 2)
    mined, waiting = payments(2)
    for tx in (mined, waiting):
        put(node, relay, tx, 0.0)
    while relay.wake_at < inf:
        relay.on_wake(relay.wake_at)
    del node.mempool[mined.wtxid]
    least, most = CONFIG.tx_retell_s
    assert sent(Inv, relay.on_tick(least - 1)) == []
    told = sent(Inv, relay.on_tick(most))
    assert told == [(1, Inv((waiting.wtxid,))), (2, Inv((waiting.wtxid,)))]
    assert sent(Inv, relay.on_tick(most + least - 1)) == []
    assert sent(Inv, relay.on_tick(2 * most)) == told
    (served,) = relay.on_gettxs(2, (waiting.wtxid,))
    assert served == ServeTxs(2, (waiting.wtxid,), ())
    node.mempool.clear()
    assert sent(Inv, relay.on_tick(3 * most)) == []


def test_transactions_are_announced_in_batches_in_their_order() -> None:
    node, relay = relay_with(1)
    txs = payments(5)
    for tx in txs:
        put(node, relay, tx, 0.0)
    ((_, message),) = sent(Inv, relay.on_wake(0.1))
    assert message.wtxids == tuple(tx.wtxid for tx in txs)


def test_what_comes_fast_is_announced_together_and_what_comes_alone_at_once() -> None:
    node, relay = relay_with(1, config=NetworkConfig(tx_delay_s=(0.0, 0.0)))
    txs = payments(4)
    put(node, relay, txs[0], 1.0)
    assert sent(Inv, relay.on_wake(1.0)) == [(1, Inv((txs[0].wtxid,)))]
    for tx in txs[1:]:
        put(node, relay, tx, 1.001)
    assert relay.wake_at == 1.0 + INV_INTERVAL_S
    assert relay.on_wake(1.001) == []
    assert sent(Inv, relay.on_wake(relay.wake_at)) == [(1, Inv(tuple(t.wtxid for t in txs[1:])))]


def test_a_flood_is_announced_within_the_budget_of_inv() -> None:
    node, relay = relay_with(1, config=NetworkConfig(tx_delay_s=(0.0, 0.0)))
    (tx,) = payments(1)
    kind = MESSAGES[IDS[Inv]]
    budget = TokenBucket(kind.per_minute / 60, kind.burst, 0.0)
    for number in range(30_000):
        now = number / 1_000
        other = msgspec.structs.replace(tx, wtxid=wtxid(number))
        put(node, relay, other, now)
        for _ in sent(Inv, relay.on_wake(now)):
            assert budget.take(now)


@pytest.mark.parametrize("message", [Inv, GetTxs])
def test_what_is_announced_while_a_line_stands_still_may_come_at_once(message: type) -> None:
    node, relay = relay_with(1)
    (tx,) = payments(1)
    kind = MESSAGES[IDS[message]]  # each announcement is asked for in one message
    budget = TokenBucket(kind.per_minute / 60, kind.burst, 0.0)
    announced, stood_s = 0, CONFIG.pong_timeout_s
    for number in range(int(stood_s * STEPS_PER_S)):
        now = number / STEPS_PER_S
        put(node, relay, msgspec.structs.replace(tx, wtxid=wtxid(number)), now)
        announced += len(sent(Inv, relay.on_wake(now)))
    assert announced > stood_s
    assert all(budget.take(stood_s) for _ in range(announced))


def test_a_transaction_is_not_announced_to_who_announced_it() -> None:
    node, relay = relay_with(1, 2)
    (tx,) = payments(1)
    relay.on_inv(1, [tx.wtxid], 0.0)
    put(node, relay, tx, 0.0)
    assert [peer for peer, _ in sent(Inv, relay.on_wake(0.1))] == [2]


def test_what_left_the_mempool_is_not_announced() -> None:
    node, relay = relay_with(1)
    (tx,) = payments(1)
    put(node, relay, tx, 0.0)
    node.mempool.clear()
    assert relay.on_wake(0.1) == []


def test_recent_transactions_are_announced_to_a_new_peer() -> None:
    node, relay = relay_with()
    (tx,) = payments(1)
    put(node, relay, tx, 0.0)
    relay.on_ready(1, 9.0)
    assert sent(Inv, relay.on_wake(9.1)) == [(1, Inv((tx.wtxid,)))]


def test_an_unknown_transaction_is_asked_from_one_peer() -> None:
    _, relay = relay_with(1, 2)
    assert sent(GetTxs, relay.on_inv(1, [wtxid(1), wtxid(2)], 0.0)) == [
        (1, GetTxs((wtxid(1), wtxid(2))))
    ]
    assert relay.on_inv(2, [wtxid(1)], 0.0) == []


def test_a_known_transaction_is_not_asked_for() -> None:
    node, relay = relay_with(1)
    (tx,) = payments(1)
    put(node, relay, tx, 0.0)
    assert relay.on_inv(1, [tx.wtxid], 0.0) == []


def test_a_transaction_that_does_not_come_is_asked_from_the_next_peer() -> None:
    _, relay = relay_with(1, 2)
    relay.on_inv(1, [wtxid(1), wtxid(2)], 0.0)
    relay.on_inv(2, [wtxid(1)], 1.0)
    assert relay.on_tick(4.9) == []
    assert sent(GetTxs, relay.on_tick(5.0)) == [(2, GetTxs((wtxid(1),)))]
    assert relay.on_tick(20.0) == []


def test_a_crowd_that_announces_first_and_withholds_does_not_keep_a_payment_from_us() -> None:
    crowd = range(1, 3 * OTHERS_MAX)
    _, relay = relay_with(*crowd)
    relay.on_ready(100, 0.0, is_inbound=False)
    for peer in crowd:
        relay.on_inv(peer, [wtxid(1)], 0.0)
    relay.on_inv(100, [wtxid(1)], 0.1)
    # Whom we dialled, the crowd did not choose.
    assert sent(GetTxs, relay.on_tick(CONFIG.tx_timeout_s)) == [(100, GetTxs((wtxid(1),)))]
    want = relay._wants[wtxid(1)]
    assert len(want.others) == OTHERS_MAX - 1


def test_a_transaction_is_asked_from_the_next_peer_when_the_first_leaves_or_lacks_it() -> None:
    for leaves in (True, False):
        _, relay = relay_with(1, 2)
        relay.on_inv(1, [wtxid(1)], 0.0)
        relay.on_inv(2, [wtxid(1)], 0.0)
        actions = relay.on_gone(1, 1.0) if leaves else relay.on_notfound(1, [wtxid(1)], 1.0)
        assert sent(GetTxs, actions) == [(2, GetTxs((wtxid(1),)))]


def test_requests_to_one_peer_are_bounded_and_go_on_as_answers_come() -> None:
    _, relay = relay_with(1)
    for start in range(0, 50_000, INV_MAX):
        relay.on_inv(1, [wtxid(n) for n in range(start, start + INV_MAX)], 0.0)
    state = relay._peers[1]
    assert len(state.in_flight) == IN_FLIGHT_MAX
    assert len(state.to_ask) == QUEUE_MAX
    ((_, message),) = sent(GetTxs, relay.on_notfound(1, [wtxid(0)], 1.0) + relay.on_tick(1.0))
    assert len(message.wtxids) == 1


def test_what_others_did_not_send_is_asked_from_the_next_peer_within_the_same_bound() -> None:
    _, relay = relay_with(1, 2)
    shared = tuple(wtxid(n) for n in range(IN_FLIGHT_MAX))
    own = tuple(wtxid(IN_FLIGHT_MAX + n) for n in range(IN_FLIGHT_MAX))
    relay.on_inv(1, shared, 0.0)
    relay.on_inv(2, shared, 0.0)
    relay.on_inv(2, own, 1.0)
    assert sent(GetTxs, relay.on_gone(1, 2.0)) == []
    got = relay.on_notfound(2, own, 3.0) + relay.on_tick(3.0)
    asked = [h for peer, message in sent(GetTxs, got) if peer == 2 for h in message.wtxids]
    assert sorted(asked) == list(shared)


def received(tx: Tx, peer: int = 1) -> tuple[ToyNode, TxRelay, list[SubmitTx]]:
    node, relay = relay_with(1, 2)
    relay.on_inv(peer, [tx.wtxid], 0.0)
    return node, relay, only(SubmitTx, relay.on_txs(peer, [tx.raw], 1.0))


def test_a_transaction_that_was_asked_for_goes_to_the_mempool() -> None:
    (tx,) = payments(1)
    _, relay, submitted = received(tx)
    assert submitted == [SubmitTx(1, tx.wtxid, tx.raw)]
    # Nobody else is asked while the mempool looks at it.
    assert relay.on_inv(2, [tx.wtxid], 1.0) == []
    assert relay.on_tx_done(1, tx.wtxid, tx.raw, None, 1.0) == []


def test_a_transaction_that_was_not_asked_for_is_a_fault() -> None:
    (tx,) = payments(1)
    _, relay = relay_with(1)
    actions = relay.on_txs(1, [tx.raw], 0.0)
    assert only(Blame, actions)[0].fault is Fault.UNREQUESTED
    assert not only(SubmitTx, actions)


def test_a_transaction_that_comes_late_is_taken() -> None:
    (tx,) = payments(1)
    _, relay = relay_with(1)
    relay.on_inv(1, [tx.wtxid], 0.0)
    relay.on_tick(5.0)
    assert only(SubmitTx, relay.on_txs(1, [tx.raw], 6.0))


def test_a_peer_may_answer_as_often_as_it_was_asked_for_a_transaction() -> None:
    (tx,) = payments(1)
    _, relay = relay_with(1)
    for now in (0.0, 10.0, 20.0):
        (asked,) = sent(GetTxs, relay.on_inv(1, [tx.wtxid], now))
        assert asked == (1, GetTxs((tx.wtxid,)))
        relay.on_tick(now + 5.0)
    for _ in range(3):  # its answers wait where a line does not get through
        assert not only(Blame, relay.on_txs(1, [tx.raw], 26.0))
    assert only(Blame, relay.on_txs(1, [tx.raw], 26.0))[0].fault is Fault.UNREQUESTED


@pytest.mark.parametrize(
    ("violation", "is_blamed"),
    [
        (Invalid(Rule.BAD_SIGNATURE), True),
        (Invalid(Rule.TX_EXPIRED), False),
        (Refused(Rule.FEE_TOO_LOW), False),
        (Missing(Rule.COIN_MISSING), False),
    ],
)
def test_only_what_can_never_be_valid_is_blamed(violation: Violation, is_blamed: bool) -> None:
    (tx,) = payments(1)
    _, relay, _ = received(tx)
    actions = relay.on_tx_done(1, tx.wtxid, tx.raw, violation, 1.0)
    assert bool(only(Blame, actions)) == is_blamed


def family() -> tuple[Tx, Tx]:
    """A payment, and one that spends it."""
    (parent,) = payments(1)
    coins = coins_made(parent, FUNDED.tip.height + 1)
    output = msgspec.structs.replace(parent.body.outputs[0], amount=1_000 - FEE // 100)
    return parent, FUNDED.chain.spend([next(iter(coins))], [output], extra_coins=coins)


def test_an_orphan_is_tried_again_when_its_parent_arrives() -> None:
    parent, child = family()
    node, relay, _ = received(child)
    relay.on_tx_done(1, child.wtxid, child.raw, Missing(Rule.COIN_MISSING), 1.0)
    assert relay.on_inv(2, [child.wtxid], 1.0) == []
    assert put(node, relay, parent, 2.0) == [SubmitTx(1, child.wtxid, child.raw)]
    relay.on_tx_done(1, child.wtxid, child.raw, None, 2.0)
    assert len(relay.orphans) == 0


def test_an_orphan_is_tried_again_when_the_tip_changed_and_is_kept_if_still_missing() -> None:
    _, child = family()
    _, relay, _ = received(child)
    missing = Missing(Rule.COIN_MISSING)
    relay.on_tx_done(1, child.wtxid, child.raw, missing, 1.0)
    assert relay.on_tick(2.0) == []
    relay.try_orphans_later()
    assert relay.on_tick(3.0) == [SubmitTx(1, child.wtxid, child.raw)]
    relay.on_tx_done(1, child.wtxid, child.raw, missing, 3.0)
    assert len(relay.orphans) == 1
    assert relay.on_tick(4.0) == []


def test_orphans_are_bounded_and_who_sends_most_loses_first() -> None:
    orphans = Orphanage()
    txs = payments(3)
    for number in range(10_000):
        orphans.add(msgspec.structs.replace(txs[0], wtxid=wtxid(number)), 666, 0.0)
    assert len(orphans) == ORPHANS_MAX
    orphans.add(txs[1], 1, 1.0)
    for number in range(10_000, 10_200):
        orphans.add(msgspec.structs.replace(txs[0], wtxid=wtxid(number)), 666, 2.0)
    assert txs[1].wtxid in orphans
    assert len(orphans) == ORPHANS_MAX


def test_orphans_expire_after_twenty_minutes() -> None:
    orphans = Orphanage()
    (tx,) = payments(1)
    orphans.add(tx, 1, 0.0)
    orphans.expire(1_199.0)
    assert len(orphans) == 1
    orphans.expire(1_200.0)
    assert not orphans.children_of(Txid(tx.body.inputs[0][:32]))


def test_only_what_was_announced_on_a_connection_is_served_there() -> None:
    node, relay = relay_with(1, 2)
    (tx,) = payments(1)
    put(node, relay, tx, 0.0)
    assert relay.on_gettxs(1, [tx.wtxid]) == [ServeTxs(1, (), (tx.wtxid,))]
    relay.on_wake(0.1)
    assert relay.on_gettxs(1, [tx.wtxid]) == [ServeTxs(1, (tx.wtxid,), ())]


class _FullNode(ToyNode):
    """Has large transactions of every name but zero."""

    def tx_raw(self, wtxid: Wtxid) -> bytes | None:
        return bytes(100_000) if wtxid[-1] else None


def test_served_transactions_fill_messages_up_to_the_cap() -> None:
    wanted = [wtxid(number) for number in range(6)]
    messages = list(tx_messages(_FullNode(), wanted, (wtxid(9),)))
    sizes = [len(getattr(message, "transactions", ())) for message in messages]
    assert sizes == [2, 2, 1, 0]
    assert getattr(messages[-1], "hashes", None) == (wtxid(9), wtxid(0))


def announcer() -> tuple[ToyNode, HeaderSync, BlockAnnouncer]:
    node = ToyNode()
    node.mine(3)
    sync = HeaderSync(node, CONFIG)
    made = BlockAnnouncer(node, sync.chains)
    for peer in (1, 2):
        sync.on_ready(peer, False, hello_at(node.tip, node.chain_id), 0.0)
        made.on_ready(peer)
    return node, sync, made


def heights(node: ToyNode, actions: list[Action]) -> dict[int, list[int]]:
    return {
        peer: [n.height for raw in message.headers if (n := node.tree.get(decode_header(raw).hash))]
        for peer, message in sent(Announce, actions)
    }


def test_a_new_tip_is_announced_at_once_to_those_who_lack_it() -> None:
    node, sync, made = announcer()
    node.mine()
    sync.chains[2].learn(node.tip)
    assert heights(node, made.on_tip_changed(0.0)) == {1: [4]}
    assert made.on_tip_changed(1.0) == []


def test_blocks_that_come_fast_are_announced_together() -> None:
    node, _, made = announcer()
    node.mine()
    made.on_tip_changed(0.0)
    node.mine()
    assert made.on_tip_changed(0.01) == []
    node.mine()
    assert made.on_tip_changed(0.02) == []
    assert made.wake_at == ANNOUNCE_INTERVAL_S
    assert heights(node, made.on_wake(ANNOUNCE_INTERVAL_S)) == {1: [5, 6], 2: [5, 6]}
    assert made.wake_at == inf


def test_many_new_blocks_are_announced_by_the_last() -> None:
    node, _, made = announcer()
    node.mine(9)
    assert heights(node, made.on_tip_changed(0.0))[1] == [12]


def test_eight_new_blocks_are_announced_by_all_their_headers() -> None:
    node, _, made = announcer()
    node.mine(8)
    assert heights(node, made.on_tip_changed(0.0))[1] == list(range(4, 12))


def test_a_peer_that_is_ahead_is_not_told_of_what_is_behind_it() -> None:
    node, sync, made = announcer()
    sync.chains[1].claimed = 10**9
    node.mine()
    assert heights(node, made.on_tip_changed(0.0)) == {2: [4]}


def test_blocks_outside_the_best_chain_are_not_served() -> None:
    node = ToyNode()
    node.mine(2)
    side = node.chain.template(parent=node.tree.genesis)
    asyncio.run(node.accept_block(side.raw))
    wanted = [headers_of(node.chain)[0].hash, side.header.hash, node.chain_id]
    found = [type(message).__name__ for message in block_messages(node, wanted)]
    assert found == ["BlockMessage", "NotFound", "BlockMessage"]
