"""The hub and its router over connections in memory, with addresses from the outside world."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress

import msgspec
import pytest

from consensus.hashes import Wtxid
from consensus.params import COIN
from consensus.tx import NATIVE, OutPoint, Tx, TxOut
from p2p.actions import Blame, Send
from p2p.addrbook import AddressBook
from p2p.config import NetworkConfig
from p2p.hub import DEFERRED_MAX, Hub
from p2p.messages import Addr, AddrEntry, GetAddr, GetTxs, Inv, Message, Ping, Txs, encode_work
from p2p.peer import ConnectionType, Fault, Peer
from p2p.ports import Accept, Endpoint
from p2p.router import Router
from tests.support.chain import ALICE, BOB, FEE, coins_made
from tests.support.p2p_node import QUICK, MemoryStore, ToyNode, WallClock, until
from tests.support.planning import only, sent
from tests.support.raw_peer import hello_of
from tests.support.wires import MemoryTransport, MemoryWire

HERE = Endpoint("8.1.1.1", 4_000)
THERE = Endpoint("9.1.1.1", 5_000)
NEAR = Endpoint("127.0.0.1", 5_000)


class CountingNode(ToyNode):
    """Counts the payments that it is given."""

    tries = 0

    def submit_tx(self, raw: bytes) -> Tx:
        self.tries += 1
        return super().submit_tx(raw)


def family(node: ToyNode, coin: OutPoint) -> tuple[Tx, Tx]:
    """A payment, and one that spends what it pays."""
    parent = node.chain.spend([coin], [TxOut(NATIVE, COIN, ALICE.lock)])
    made = coins_made(parent, node.tip.height + 1)
    child = node.chain.spend([*made], [TxOut(NATIVE, COIN - FEE, BOB.lock)], extra_coins=made)
    return parent, child


def make_hub(
    world: dict[Endpoint, Accept],
    here: Endpoint = HERE,
    config: NetworkConfig = QUICK,
    node: ToyNode | None = None,
) -> tuple[ToyNode, Hub]:
    def fail(error: BaseException) -> None:
        raise AssertionError("the network failed") from error

    node = node or ToyNode()
    node.network = hub = Hub(
        node, MemoryTransport(here, world), config, WallClock(), random.Random(here.host),
        MemoryStore(), fail,
    )  # fmt: skip
    return node, hub


async def come_from(world: dict[Endpoint, Accept], source: Endpoint) -> MemoryWire:
    """A connection of a stranger to the hub."""
    wire = await MemoryTransport(source, world).dial(HERE)
    assert isinstance(wire, MemoryWire)
    return wire


async def misbehave(wire: MemoryWire, node: ToyNode) -> str:
    """Say hello twice; the reason for which the hub ends the connection."""
    for _ in range(2):
        await wire.say(hello_of(node))
    while await wire.receive() is not None:
        pass
    return wire.farewell


def test_who_misbehaves_is_not_let_in_again_and_others_are() -> None:
    async def scenario() -> None:
        world: dict[Endpoint, Accept] = {}
        node, hub = make_hub(world)
        await hub.start()
        assert await misbehave(await come_from(world, THERE), node) == "misbehaving"
        again = await come_from(world, THERE._replace(port=6_000))
        assert await again.receive() is None
        assert again.farewell == "discouraged"
        other = await come_from(world, Endpoint("9.1.1.2", 5_000))
        await other.say(hello_of(node))
        await until(lambda: len(hub.peers()) == 1)
        await hub.close()

    asyncio.run(scenario())


class DeafWire(MemoryWire):
    """One end of a connection whose other end takes the greeting and nothing more."""

    has_greeted = False

    async def send(self, frame: bytes) -> None:
        if self.has_greeted:
            await asyncio.Event().wait()
        self.has_greeted = True
        await super().send(frame)


def test_what_is_queued_for_a_peer_that_takes_nothing_is_bounded() -> None:
    async def scenario() -> None:
        world: dict[Endpoint, Accept] = {}
        config = msgspec.structs.replace(QUICK, send_queue_bytes_max=300)
        node, hub = make_hub(world, config=config)
        await hub.start()
        near, far = MemoryWire(THERE, HERE), DeafWire(HERE, THERE)
        near.other, far.other = far, near
        serving = asyncio.ensure_future(world[HERE](far))
        await near.say(hello_of(node))
        await until(lambda: len(hub.peers()) == 1)
        with suppress(ConnectionError):
            for number in range(50):
                await near.say(Ping(1 << 32 | number))
        await until(lambda: not hub.peers())
        assert near.farewell == "slow"
        await hub.close()
        await serving

    asyncio.run(scenario())


def test_orphans_that_wait_for_their_turn_are_bounded_and_none_is_forgotten() -> None:
    async def scenario() -> None:
        world: dict[Endpoint, Accept] = {}
        node = CountingNode()
        _, hub = make_hub(world, node=node)
        (old, child), (parent, waiting) = (family(node, coin) for coin in node.chain.fund(ALICE, 2))
        await hub.start()
        wire = await come_from(world, THERE)
        await wire.say(hello_of(node))
        await wire.say(Inv((child.wtxid, waiting.wtxid)))
        while not isinstance(await wire.hear(), GetTxs):
            pass
        await wire.say(Txs((child.raw, waiting.raw)))
        await until(lambda: node.tries == 2)
        # As a reorganisation does, which brings back many payments at once.
        for _ in range(3 * DEFERRED_MAX):
            hub.on_tx_added(old)
        node.submit_tx(parent.raw)
        await until(lambda: waiting.wtxid in node.mempool, "though there was no room for it")
        assert DEFERRED_MAX < node.tries < DEFERRED_MAX + 10
        await hub.close()

    asyncio.run(scenario())


def test_loopback_is_never_discouraged() -> None:
    async def scenario() -> None:
        world: dict[Endpoint, Accept] = {}
        node, hub = make_hub(world)
        await hub.start()
        for _ in range(2):
            assert await misbehave(await come_from(world, NEAR), node) == "misbehaving"
        await hub.close()

    asyncio.run(scenario())


def test_a_peer_that_the_operator_named_is_dropped_but_tried_again() -> None:
    async def scenario() -> None:
        world: dict[Endpoint, Accept] = {}
        config = msgspec.structs.replace(QUICK, connect=(THERE,))
        node, hub = make_hub(world, config=config)
        said = []

        async def accept(wire: object) -> None:
            assert isinstance(wire, MemoryWire)
            said.append(await misbehave(wire, node))

        world[THERE] = accept
        await hub.start()
        await until(lambda: len(said) == 2)
        assert said == ["misbehaving"] * 2
        await hub.close()

    asyncio.run(scenario())


def test_a_network_stands_by_itself_in_memory() -> None:
    async def scenario() -> None:
        world: dict[Endpoint, Accept] = {}
        config = msgspec.structs.replace(QUICK, outbound_target=2, connect=(HERE,))
        made = [make_hub(world)] + [
            make_hub(world, Endpoint(f"9.{number}.1.1", 4_000), config) for number in range(3)
        ]
        for _, hub in made:
            await hub.start()
        await until(lambda: all(len(hub.peers()) >= 2 for _, hub in made))
        made[3][0].mine(40)
        await until(lambda: all(node.tip.height == 40 for node, _ in made))
        for _, hub in made:
            await hub.close()

    asyncio.run(scenario())


class Scene:
    """A router, and a peer of it."""

    def __init__(self, kind: ConnectionType) -> None:
        self.node = ToyNode()
        self.book = AddressBook(random.Random(1))
        clock = WallClock()
        self.router = Router(self.node, NetworkConfig(), self.book, clock, random.Random(2))
        self.peer = Peer(1, THERE, kind, clock.now(), clock.monotonic())
        self.now = clock.now()

    def join(self, port: int = 0, **changes: object) -> list[Message]:
        hello = msgspec.structs.replace(hello_of(self.node), port=port, **changes)
        self.peer.hello = hello
        return [a.message for a in only(Send, self.router.on_ready(self.peer, hello))]


ADDRESSES = Addr((AddrEntry(bytes((9, 2, 2, 2)), 4_000, 2**31 - 1),))


def test_addresses_are_asked_of_whom_we_dialled_and_taken_once() -> None:
    scene = Scene(ConnectionType.OUTBOUND)
    assert GetAddr() in scene.join()
    assert scene.router.on_message(scene.peer, ADDRESSES) == []
    assert len(scene.book) == 1
    (blame,) = only(Blame, scene.router.on_message(scene.peer, ADDRESSES))
    assert blame.fault is Fault.UNREQUESTED


def test_addresses_are_told_once_and_only_to_who_dialled_us() -> None:
    scene = Scene(ConnectionType.INBOUND)
    assert GetAddr() not in scene.join()
    ((_, told),) = sent(Addr, scene.router.on_message(scene.peer, GetAddr()))
    assert told == Addr(())
    assert scene.router.on_message(scene.peer, GetAddr()) == []
    dialled = Scene(ConnectionType.MANUAL)
    dialled.join()
    assert dialled.router.on_message(dialled.peer, GetAddr()) == []


def test_where_an_incoming_peer_listens_is_learned() -> None:
    scene = Scene(ConnectionType.INBOUND)
    scene.join(port=4_100)
    assert Endpoint(THERE.host, 4_100) in scene.book


def test_transactions_are_not_asked_for_while_blocks_are_caught_up_with() -> None:
    scene = Scene(ConnectionType.OUTBOUND)
    ahead = ToyNode()
    ahead.mine(40)
    for height in range(1, 41):
        scene.node.add_headers([ahead.tip.ancestor(height).header])
    inv = Inv((Wtxid(bytes(32)),))
    scene.join()
    assert sent(GetTxs, scene.router.on_message(scene.peer, inv))
    scene = Scene(ConnectionType.OUTBOUND)
    for height in range(1, 41):
        scene.node.add_headers([ahead.tip.ancestor(height).header])
    scene.join(tip=ahead.tip.hash, work=encode_work(ahead.tip.work))
    assert scene.router.download.is_catching_up
    assert scene.router.on_message(scene.peer, inv) == []


def test_what_the_session_answers_goes_no_further() -> None:
    scene = Scene(ConnectionType.OUTBOUND)
    scene.join()
    assert scene.router.on_message(scene.peer, Ping(1)) == []


def test_faults_that_come_in_numbers_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        world: dict[Endpoint, Accept] = {}
        node, hub = make_hub(world)
        await hub.start()
        with caplog.at_level("INFO"):
            for _ in range(300):
                assert await misbehave(await come_from(world, NEAR), node) == "misbehaving"
        await hub.close()

    started = time.monotonic()
    asyncio.run(scenario())
    allowed = 100 + (time.monotonic() - started) + 1
    assert 50 < len([line for line in caplog.messages if "score" in line]) <= allowed
