"""A node as a peer meets it: the hub over a connection in memory, in a time that only events move.

An input is a row of steps. The first byte of each says what happens: a message of the stranger as it
stands in the input, a pause, a block that the node mines itself, or a new connection.
"""

from __future__ import annotations

import asyncio
import logging
import random
import selectors
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from consensus.params import COIN
from consensus.tx import NATIVE, Coin, Height, TxOut, outpoint
from p2p.config import NetworkConfig
from p2p.hub import Hub
from p2p.link import Link
from p2p.messages import Message, Ping, Pong, decode_message, encode_message
from p2p.ports import Accept, Endpoint
from scripts.fuzz.target import need
from tests.support.chain import ALICE, BOB
from tests.support.p2p_node import MemoryStore, ToyNode
from tests.support.raw_peer import hello_of
from tests.support.wires import MemoryTransport, MemoryWire

HERE, STRANGER, FRIEND = (Endpoint(f"{number}.1.1.1", 4_000) for number in (8, 9, 10))
CONFIG = NetworkConfig(listen=HERE, outbound_target=0)
FRAME, PAUSE, MINE, AGAIN = range(4)
STEPS_MAX = 64
BLOCKS_MAX = 8
COINS = 8
QUEUE_BYTES_MAX = CONFIG.send_queue_bytes_max
Step = tuple[int, bytes]


class _Selector(selectors.DefaultSelector):
    """Waits for nothing: time jumps to the next event."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout:
            self.now += timeout
        return ready


class Loop(asyncio.SelectorEventLoop):
    """An event loop with a time of its own."""

    def __init__(self) -> None:
        self._own = _Selector()
        super().__init__(self._own)

    def time(self) -> float:
        return self._own.now


class _Clock:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def now(self) -> int:
        return 1_800_000_000 + int(self._loop.time())

    def monotonic(self) -> float:
        return self._loop.time()


class Errors(logging.Handler):
    """What the node logged as its own errors."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(record)


ERRORS = Errors()
logging.getLogger("p2p").addHandler(ERRORS)


def fresh_node() -> ToyNode:
    """A node whose first coins are ALICE's."""
    node = ToyNode(now=lambda: 1_800_000_000)
    for index in range(COINS):
        coin = Coin(NATIVE, COIN, ALICE.lock, Height(0), False)
        node.chain.coins[outpoint(bytes(31) + b"\x07", index)] = coin
    return node


def read_steps(data: bytes) -> list[Step]:
    """The steps that an input stands for, whatever it is."""
    steps: list[Step] = []
    at = 0
    while at < len(data) and len(steps) < STEPS_MAX:
        kind = data[at] % 4
        if kind == FRAME:
            size = int.from_bytes(data[at + 1 : at + 3], "big")
            steps.append((kind, data[at + 3 : at + 3 + size]))
            at += 3 + size
        else:
            steps.append((kind, data[at + 1 : at + 2]))
            at += 2
    return steps


def write_steps(steps: Iterable[Step]) -> bytes:
    """Inverse of `read_steps`."""
    made = b""
    for kind, data in steps:
        made += bytes((kind,)) + (len(data).to_bytes(2, "big") if kind == FRAME else b"") + data
    return made


class Scene:
    """One input."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.node = fresh_node()
        self.world: dict[Endpoint, Accept] = {}
        self.failures: list[BaseException] = []
        self.hub = Hub(
            self.node, MemoryTransport(HERE, self.world), CONFIG, _Clock(loop), random.Random(1),
            MemoryStore(), self.failures.append,
        )  # fmt: skip
        self.node.network = self.hub
        self.links: list[Link] = []
        self.mined = 0

    async def dial(self, source: Endpoint) -> MemoryWire:
        wire = await MemoryTransport(source, self.world).dial(HERE)
        assert isinstance(wire, MemoryWire)
        return wire

    async def step(self, wire: MemoryWire, step: Step) -> MemoryWire:
        """Do one step of the stranger; the connection it has then."""
        kind, data = step
        amount = data[0] if data else 0
        if kind == FRAME:
            try:
                await wire.send(data)
            except ConnectionError:
                return wire  # it was dropped; others of its messages come after it dials again
        elif kind == PAUSE:
            await asyncio.sleep(amount / 16)
        elif kind == MINE and self.mined < BLOCKS_MAX:
            self.mined += 1
            self.node.mine()
        elif kind == AGAIN:
            await wire.close("again")
            return await self.dial(STRANGER._replace(host=f"9.1.1.{1 + amount % 4}"))
        return wire

    async def settle(self) -> None:
        """Until every message that came was worked on: some turns, as nothing here blocks."""
        for _ in range(40):
            await asyncio.sleep(0)


async def greet(wire: MemoryWire, node: ToyNode) -> None:
    await wire.say(hello_of(node, b"a friend"))
    await wire.hear()


async def is_answered(wire: MemoryWire) -> bool:
    """Whether the node answers a ping, among whatever else it has to say."""
    await wire.say(Ping(77))
    async with asyncio.timeout(CONFIG.pong_timeout_s):
        while True:
            message = await wire.hear()
            if isinstance(message, Ping):
                await wire.say(Pong(message.nonce))
            elif message == Pong(77):
                return True


async def drain(wire: MemoryWire) -> None:
    """Read what comes, as frames that are messages. Raises: DecodeError if one is not."""
    while (frame := await wire.receive()) is not None:
        decode_message(frame)


class Seen(NamedTuple):
    """What a stranger brought the node to do."""

    blocks: int
    """That it took over from the stranger."""
    rebuilt: int
    """Of these, from compact blocks."""
    waiting: int
    """Most transactions that waited at once."""


async def play(data: bytes) -> Seen:
    """Raises: Broken."""
    ERRORS.found.clear()
    scene = Scene(asyncio.get_running_loop())
    await scene.hub.start()
    friend = await scene.dial(FRIEND)
    await greet(friend, scene.node)
    before = scene.node.tip
    waiting = 0
    stranger = await scene.dial(STRANGER)
    readers = [asyncio.ensure_future(drain(stranger))]
    try:
        for step in read_steps(data):
            again = await scene.step(stranger, step)
            if again is not stranger:
                stranger = again
                readers.append(asyncio.ensure_future(drain(stranger)))
            await scene.settle()
            waiting = max(waiting, len(scene.node.mempool))
            if step[0] == PAUSE:
                need(await is_answered(friend), "whoever does nothing wrong is served")
        need(await is_answered(friend), "whoever does nothing wrong is served")
        peers = scene.hub.peers()
        need(any(peer.address.startswith(FRIEND.host) for peer in peers), "a friend stays")
        need(len(peers) <= 2, "a connection that ended is forgotten")
        need(scene.node.tip.work >= before.work, "work never shrinks")
    finally:
        await stranger.close("done")
        await friend.close("done")
        await scene.hub.close()
        await asyncio.gather(*readers)
    for record in ERRORS.found:
        if record.exc_info and record.exc_info[1]:
            raise record.exc_info[1]
        need(False, record.getMessage())
    need(not scene.failures, f"the network failed: {scene.failures}")
    return Seen(len(scene.node.accepted), len(scene.node.rebuilt), waiting)


def frames_of(node: ToyNode, *messages: Message) -> list[Step]:
    """Hello and messages, as a stranger with the chain of `node` sends them."""
    said = (msgspec.structs.replace(hello_of(node), port=9), *messages)
    return [(FRAME, encode_message(message)) for message in said]


def payments(node: ToyNode, count: int) -> Sequence[bytes]:
    """Payments of ALICE's first coins."""
    output = TxOut(NATIVE, COIN - 50_000, BOB.lock)
    spots = node.chain.coins_of(ALICE)[:count]
    return [node.chain.spend([spot], [output]).raw for spot in spots]
