"""The state machine of one connection, in virtual time."""

from __future__ import annotations

from itertools import product

import msgspec

from consensus.hashes import BlockHash
from p2p.actions import Action, Blame, Close, Send
from p2p.config import NetworkConfig
from p2p.messages import GetAddr, GetHeaders, Hello, Ping, Pong
from p2p.peer import Fault, Reason
from p2p.session import TRANSITIONS, Input, Session, State, Step

CHAIN = BlockHash(bytes(range(32)))
CONFIG = NetworkConfig(first_pong_s=60.0)
HELLO = Hello(1, 0, CHAIN, b"nonce 01", b"regtest", b"/x/", 0, 0, CHAIN, b"\x02")
THEIRS = msgspec.structs.replace(HELLO, nonce=b"nonce 02")
PEER = 7


def session(opened: bool = True, config: NetworkConfig = CONFIG) -> Session:
    return Session(
        PEER, opened, CHAIN, lambda: HELLO, lambda nonce: nonce == HELLO.nonce, lambda: 99,
        config, 0.0,
    )  # fmt: skip


def ready(config: NetworkConfig = CONFIG) -> Session:
    made = session(config=config)
    made.on_message(THEIRS, 0.0)
    return made


def test_every_state_has_an_answer_to_every_input() -> None:
    assert set(TRANSITIONS) == set(product(State, Input))


def test_a_closed_connection_stays_closed() -> None:
    assert all(TRANSITIONS[State.CLOSED, i] == (State.CLOSED, Step.NOTHING) for i in Input)


def test_who_opens_greets_first_and_is_ready_after_the_answer() -> None:
    opener = session()
    assert opener.start() == [Send(PEER, HELLO)]
    assert opener.on_message(THEIRS, 1.0) == (True, [])
    assert opener.state is State.READY
    assert opener.hello == THEIRS


def test_who_accepts_greets_only_after_a_hello_that_fits() -> None:
    acceptor = session(opened=False)
    assert acceptor.start() == []
    assert acceptor.on_message(THEIRS, 1.0) == (True, [Send(PEER, HELLO)])
    assert acceptor.state is State.READY


def refused(**changes: object) -> list[Action]:
    acceptor = session(opened=False)
    deliver, actions = acceptor.on_message(msgspec.structs.replace(THEIRS, **changes), 1.0)
    assert not deliver
    assert acceptor.state is State.CLOSED
    return actions


def test_a_hello_that_does_not_fit_is_refused_with_its_reason() -> None:
    assert refused(chain=bytes(32)) == [Close(PEER, Reason.WRONG_CHAIN)]
    assert refused(version=0) == [Close(PEER, Reason.OLD_VERSION)]
    assert refused(nonce=HELLO.nonce) == [Close(PEER, Reason.SELF)]


def test_a_newer_version_and_unknown_services_are_accepted() -> None:
    newer = msgspec.structs.replace(THEIRS, version=9, services=2**63)
    assert session().on_message(newer, 1.0) == (True, [])


def test_a_message_before_hello_is_out_of_order() -> None:
    for opened in (True, False):
        assert session(opened).on_message(GetAddr(), 1.0) == (
            False, [Blame(PEER, Fault.OUT_OF_ORDER)],
        )  # fmt: skip


def test_a_second_hello_is_out_of_order() -> None:
    assert ready().on_message(THEIRS, 1.0) == (False, [Blame(PEER, Fault.OUT_OF_ORDER)])


def test_after_the_end_nothing_is_delivered() -> None:
    ended = ready()
    ended.close()
    assert ended.on_message(GetAddr(), 1.0) == (False, [])
    assert ended.on_tick(1_000.0) == []


def test_no_hello_in_time_ends_the_connection() -> None:
    waiting = session()
    assert waiting.on_tick(9.9) == []
    assert waiting.on_tick(10.0) == [Close(PEER, Reason.TIMEOUT)]


def test_a_ping_is_answered_with_its_nonce() -> None:
    assert ready().on_message(Ping(5), 1.0) == (False, [Send(PEER, Pong(5))])


def test_pings_are_sent_at_intervals_and_measure_the_round_trip() -> None:
    made = ready()
    assert made.on_tick(0.5) == [Send(PEER, Ping(99))]
    assert made.on_tick(5.0) == []
    made.on_message(Pong(98), 0.6)
    assert made.ping_s is None
    made.on_message(Pong(99), 0.75)
    assert made.ping_s == 0.25
    assert made.on_tick(30.0) == []
    assert made.on_tick(30.5) == [Send(PEER, Ping(99))]
    made.on_message(Pong(99), 31.5)
    assert made.ping_least_s == 0.25


def test_a_peer_that_does_not_answer_is_given_up() -> None:
    made = ready()
    made.on_tick(0.0)
    assert made.on_tick(59.9) == []
    assert made.on_tick(60.0) == [Close(PEER, Reason.TIMEOUT)]


def test_a_peer_that_never_answered_is_given_up_sooner() -> None:
    made = ready(NetworkConfig())
    made.on_tick(0.0)
    assert made.on_tick(19.9) == []
    assert made.on_tick(20.0) == [Close(7, Reason.TIMEOUT)]


def test_a_peer_that_sends_other_things_is_not_given_up() -> None:
    made = ready()
    made.on_tick(0.0)
    made.on_message(GetHeaders(()), 50.0)
    assert made.on_tick(100.0) == []
    assert made.on_tick(110.0) == [Close(PEER, Reason.TIMEOUT)]


def test_time_that_we_spend_on_a_message_does_not_count_against_the_peer() -> None:
    made = ready()
    made.on_tick(0.0)
    made.heard(70.0)
    assert made.on_tick(100.0) == []
