"""The life of one connection: hello, then anything, with pings in between.

Pure: messages and the time go in, actions come out. Every transition stands in one table.

Source: docs/p2p.md, "hello" and "ping, pong".
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping

from consensus.hashes import BlockHash
from p2p.actions import Action, Blame, Close, Send
from p2p.config import NetworkConfig
from p2p.messages import Hello, Message, Ping, Pong
from p2p.peer import Fault, Reason


class State(enum.Enum):
    """Where a connection stands."""

    DIALED = enum.auto()
    """We opened it and sent our hello; theirs is to come."""
    ACCEPTED = enum.auto()
    """They opened it; their hello is to come, ours goes after it."""
    READY = enum.auto()
    CLOSED = enum.auto()


class Input(enum.Enum):
    """What can happen to a connection."""

    HELLO = enum.auto()
    """A hello that fits."""
    UNFIT = enum.auto()
    """A hello of a node that we cannot speak with."""
    OTHER = enum.auto()
    """Any other message."""
    TIMEOUT = enum.auto()


class Step(enum.Enum):
    """What is done on a transition."""

    NOTHING = enum.auto()
    GREET = enum.auto()
    """Send our hello."""
    DELIVER = enum.auto()
    """Act on the message."""
    REFUSE = enum.auto()
    """Close, with the reason why the hello does not fit."""
    ACCUSE = enum.auto()
    """Close: messages came in an order that no honest node sends."""
    GIVE_UP = enum.auto()
    """Close: time is up."""


TRANSITIONS: Mapping[tuple[State, Input], tuple[State, Step]] = {
    (State.DIALED, Input.HELLO): (State.READY, Step.NOTHING),
    (State.DIALED, Input.UNFIT): (State.CLOSED, Step.REFUSE),
    (State.DIALED, Input.OTHER): (State.CLOSED, Step.ACCUSE),
    (State.DIALED, Input.TIMEOUT): (State.CLOSED, Step.GIVE_UP),
    (State.ACCEPTED, Input.HELLO): (State.READY, Step.GREET),
    (State.ACCEPTED, Input.UNFIT): (State.CLOSED, Step.REFUSE),
    (State.ACCEPTED, Input.OTHER): (State.CLOSED, Step.ACCUSE),
    (State.ACCEPTED, Input.TIMEOUT): (State.CLOSED, Step.GIVE_UP),
    (State.READY, Input.HELLO): (State.CLOSED, Step.ACCUSE),
    (State.READY, Input.UNFIT): (State.CLOSED, Step.ACCUSE),
    (State.READY, Input.OTHER): (State.READY, Step.DELIVER),
    (State.READY, Input.TIMEOUT): (State.CLOSED, Step.GIVE_UP),
    (State.CLOSED, Input.HELLO): (State.CLOSED, Step.NOTHING),
    (State.CLOSED, Input.UNFIT): (State.CLOSED, Step.NOTHING),
    (State.CLOSED, Input.OTHER): (State.CLOSED, Step.NOTHING),
    (State.CLOSED, Input.TIMEOUT): (State.CLOSED, Step.NOTHING),
}


class Session:
    """Handshake and keep-alive of one connection."""

    def __init__(
        self,
        peer: int,
        opened: bool,
        chain: BlockHash,
        greet: Callable[[], Hello],
        is_own_nonce: Callable[[bytes], bool],
        draw_nonce: Callable[[], int],
        config: NetworkConfig,
        now: float,
    ) -> None:
        """`opened`: whether we opened the connection. `greet` makes our hello when it is sent."""
        self.peer = peer
        self.state = State.DIALED if opened else State.ACCEPTED
        self.hello: Hello | None = None
        """Theirs."""
        self.ping_s: float | None = None
        """Round trip of the last ping."""
        self.ping_least_s: float | None = None
        """The shortest of all."""
        self._chain = chain
        self._greet = greet
        self._is_own_nonce = is_own_nonce
        self._draw_nonce = draw_nonce
        self._config = config
        self._deadline = now + config.handshake_s
        self._next_ping = 0.0
        self._ping: tuple[int, float] | None = None
        self._heard_at = now

    def start(self) -> list[Action]:
        """What to send before anything was received."""
        return [Send(self.peer, self._greet())] if self.state is State.DIALED else []

    def on_message(self, message: Message, now: float) -> tuple[bool, list[Action]]:
        """Whether to act on `message` beyond what is returned, and what to do."""
        self._heard_at = now
        refusal: Reason | None = None
        if isinstance(message, Hello):
            refusal = self._refusal(message)
            happened = Input.UNFIT if refusal else Input.HELLO
        else:
            happened = Input.OTHER
        before = self.state
        self.state, step = TRANSITIONS[before, happened]
        if self.state is State.READY and before is not State.READY:
            assert isinstance(message, Hello)
            self.hello = message
            self._next_ping = now
        match step:
            case Step.GREET:
                return True, [Send(self.peer, self._greet())]
            case Step.REFUSE:
                assert refusal is not None
                return False, [Close(self.peer, refusal)]
            case Step.ACCUSE:
                return False, [Blame(self.peer, Fault.OUT_OF_ORDER)]
            case Step.DELIVER:
                return self._deliver(message, now)
            case _:
                return self.state is State.READY, []

    def _refusal(self, hello: Hello) -> Reason | None:
        if hello.chain != self._chain:
            return Reason.WRONG_CHAIN
        if hello.version < 1:
            return Reason.OLD_VERSION
        return Reason.SELF if self._is_own_nonce(hello.nonce) else None

    def _deliver(self, message: Message, now: float) -> tuple[bool, list[Action]]:
        match message:
            case Ping(nonce):
                return False, [Send(self.peer, Pong(nonce))]
            case Pong(nonce):
                if self._ping is not None and self._ping[0] == nonce:
                    self.ping_s = took = now - self._ping[1]
                    self.ping_least_s = min(took, self.ping_least_s or took)
                    self._ping = None
                return False, []
            case _:
                return True, []

    def ping_soon(self) -> None:
        """Ping on the next tick, unless a ping is under way."""
        self._next_ping = 0.0

    def heard(self, now: float) -> None:
        """The time until now was ours: a message of the peer was worked on, none was read."""
        self._heard_at = now

    def on_tick(self, now: float) -> list[Action]:
        """Ping when due; close when the peer let a deadline pass."""
        if self.state is not State.READY:
            return self._give_up() if now >= self._deadline else []
        if self._ping is not None:
            waited_since = max(self._ping[1], self._heard_at)
            config = self._config
            # Before the first pong nothing else of ours can hold the answer up for long.
            limit = config.pong_timeout_s if self.ping_s is not None else config.first_pong_s
            return self._give_up() if now - waited_since >= limit else []
        if now < self._next_ping:
            return []
        nonce = self._draw_nonce()
        self._ping = nonce, now
        self._next_ping = now + self._config.ping_interval_s
        return [Send(self.peer, Ping(nonce))]

    def _give_up(self) -> list[Action]:
        self.state, step = TRANSITIONS[self.state, Input.TIMEOUT]
        return [Close(self.peer, Reason.TIMEOUT)] if step is Step.GIVE_UP else []

    def close(self) -> None:
        """The connection has ended."""
        self.state = State.CLOSED
