"""What is told of two looks at the payments to an address."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from consensus.hashes import Txid
from consensus.params import COIN
from consensus.tx import NATIVE
from tests.support.chain import BOB
from tests.support.rpc_node import ToyNode, pay_from
from wallet.scan import Incoming
from wallet.watching import Happening, Poll, Snapshot, Watcher


def at(height: int | None, number: int = 1) -> Incoming:
    return Incoming(Txid(bytes([number]) * 32), "a", NATIVE, 5, height)


def told(*looks: list[Incoming], since: int = 0) -> list[list[tuple[Happening, int | None]]]:
    """What each look tells."""
    watcher = Watcher(since)
    return [
        [(c.what, c.payment.height) for c in watcher.look(Snapshot(100, "", payments))]
        for payments in looks
    ]


def test_payment_is_seen_then_confirmed_then_nothing_more() -> None:
    assert told([], [at(None)], [at(50)], [at(50)]) == [
        [], [(Happening.SEEN, None)], [(Happening.CONFIRMED, 50)], []
    ]  # fmt: skip


def test_reorganisation_reverses_and_confirms_anew() -> None:
    assert told([at(50)], [at(None)], [at(51)])[1:] == [
        [(Happening.REVERSED, 50)], [(Happening.CONFIRMED, 51)]
    ]  # fmt: skip


def test_payment_that_vanishes_is_gone() -> None:
    assert told([at(50)], [])[1] == [(Happening.GONE, 50)]
    assert told([at(None)], [])[1] == [(Happening.GONE, None)]


def test_what_was_mined_up_to_the_start_is_not_told() -> None:
    assert told([at(50), at(51, 2)], since=50) == [[(Happening.CONFIRMED, 51)]]


def test_what_is_undone_is_told_before_what_is_done_in_order() -> None:
    first = told([at(50)], [at(None, 1), at(60, 2), at(55, 3), at(None, 4)])[1]
    assert [height for _, height in first] == [50, 55, 60, None]


payments = st.lists(
    st.builds(at, st.none() | st.integers(1, 5), st.integers(1, 4)), unique_by=lambda p: p.txid
)


@given(st.lists(payments, max_size=6))
def test_whoever_follows_the_changes_knows_what_the_last_look_shows(
    looks: list[list[Incoming]],
) -> None:
    watcher, known = Watcher(0), dict[bytes, int | None]()
    for look in looks:
        for change in watcher.look(Snapshot(9, "", look)):
            match change.what:
                case Happening.GONE:
                    del known[change.payment.txid]
                case Happening.REVERSED:
                    known[change.payment.txid] = None
                case _:
                    known[change.payment.txid] = change.payment.height
    assert known == {p.txid: p.height for p in (looks[-1] if looks else [])}


class Asked:
    """A node that is asked without a socket; `between` is done before it answers `at`."""

    def __init__(self, node: ToyNode) -> None:
        self._node = node
        self.at = ""

    async def call(self, method: str, *params: Any) -> Any:
        answer = self._node.answer(method, params)
        if method == self.at:
            self.at = ""
            self._node.mine()
        return answer


def test_polling_tells_of_a_reorganisation_and_asks_for_blocks_only_at_a_new_tip(
    node: ToyNode,
) -> None:
    poll, watcher, asked = Poll([BOB.address()], lambda *said: None), Watcher(0), Asked(node)

    def look() -> list[Happening]:
        return [change.what for change in watcher.look(asyncio.run(poll.snapshot(asked)))]

    assert look() == []
    tx = pay_from(node, BOB.address(), COIN)
    before = node.calls.count("getaddressdeltas")
    assert look() == [Happening.SEEN]
    assert node.calls.count("getaddressdeltas") == before
    node.mine()
    assert look() == [Happening.CONFIRMED]
    node.chain.disconnect()
    node.submit(tx)
    assert look() == [Happening.REVERSED]
    node.mempool.clear()
    assert look() == [Happening.GONE]
    node.submit(tx)
    node.mine()
    assert look() == [Happening.CONFIRMED]


def test_payment_that_is_mined_between_two_questions_is_missed_by_neither(node: ToyNode) -> None:
    for question in ("getaddressmempool", "getblockchaininfo", "getaddressdeltas"):
        asked = Asked(node)
        poll, watcher = Poll([BOB.address()], lambda *said: None), Watcher(node.chain.tip.height)
        watcher.look(asyncio.run(poll.snapshot(asked)))
        pay_from(node, BOB.address(), COIN)
        asked.at = question
        node.chain.mine_empty(1)  # so that the blocks are asked for
        told = [change.what for change in watcher.look(asyncio.run(poll.snapshot(asked)))]
        told += [change.what for change in watcher.look(asyncio.run(poll.snapshot(asked)))]
        assert told in (
            [Happening.CONFIRMED], [Happening.SEEN, Happening.CONFIRMED]
        ), question  # fmt: skip
