"""An attacker with many addresses neither takes every place nor chooses every peer."""

from __future__ import annotations

import asyncio
import random
from functools import partial

import msgspec

from p2p.addrbook import AddressBook, group_of, network_of
from p2p.config import NetworkConfig
from p2p.dialer import Dialer
from p2p.eviction import Candidate, choose_victim
from p2p.hub import Hub
from p2p.messages import Ping, encode_message
from p2p.ports import Accept, Endpoint
from tests.support.p2p_node import QUICK, MemoryStore, ToyNode, WallClock, until
from tests.support.raw_peer import hello_of
from tests.support.wires import MemoryTransport, MemoryWire

HERE = Endpoint("8.1.1.1", 4_000)
NOW = 1_800_000_000
ATTACKERS = [Endpoint(f"66.{6 + n % 2}.{n >> 8}.{n & 255}", 4_000) for n in range(1_000)]
HONEST = [Endpoint(f"{50 + number}.1.1.1", 4_000) for number in range(8)]


def crowd(count: int, network: str) -> list[Candidate]:
    base = Candidate(0, network, 100.0, 0.05, 0, 0)
    return [
        msgspec.structs.replace(base, peer=number, ready_at=100.0 + number)
        for number in range(count)
    ]


def renumbered(*groups: list[Candidate]) -> list[Candidate]:
    merged = [candidate for group in groups for candidate in group]
    return [msgspec.structs.replace(c, peer=number) for number, c in enumerate(merged)]


def test_the_youngest_of_the_largest_network_has_to_go() -> None:
    many, few = crowd(60, "66.6.0.0/16"), crowd(10, "9.9.0.0/16")
    few = [msgspec.structs.replace(c, ready_at=1_000.0 + n) for n, c in enumerate(few)]
    assert choose_victim(renumbered(few, many)) == 69


def test_who_was_of_use_stays_though_it_came_last() -> None:
    made = renumbered(crowd(60, "66.6.0.0/16"))
    made[59] = msgspec.structs.replace(made[59], last_tx=NOW)
    made[58] = msgspec.structs.replace(made[58], last_block=NOW)
    made[57] = msgspec.structs.replace(made[57], ping_s=0.001)
    assert choose_victim(made) == 56


def test_honest_peers_that_were_here_first_are_never_all_evicted() -> None:
    honest = [
        Candidate(n, network_of(e.host), float(n), 0.05, NOW, NOW) for n, e in enumerate(HONEST)
    ]
    present = honest + [
        Candidate(100 + n, network_of(e.host), 100.0 + n, 0.001, 0, 0)
        for n, e in enumerate(ATTACKERS[:109])
    ]
    for number in range(1_000, 3_000):
        victim = choose_victim(present)
        assert victim is not None
        present = [c for c in present if c.peer != victim]
        host = ATTACKERS[number % 1_000].host
        present.append(Candidate(number, network_of(host), float(number), 0.001, 0, 0))
    assert len({c.peer for c in present} & {c.peer for c in honest}) >= 6


def make_hub(world: dict[Endpoint, Accept], config: NetworkConfig, store: MemoryStore) -> Hub:
    def fail(error: BaseException) -> None:
        raise AssertionError("the network failed") from error

    node = ToyNode()
    node.network = hub = Hub(
        node, MemoryTransport(HERE, world), config, WallClock(), random.Random(4), store, fail
    )
    return hub


def hosts_of(hub: Hub) -> dict[str, int]:
    """Of every peer, and how many bytes came from there."""
    return {peer.address.rpartition(":")[0]: peer.bytes_received for peer in hub.peers()}


def is_in(hub: Hub, peer: Endpoint) -> bool:
    return peer.host in hosts_of(hub)


async def come_from(world: dict[Endpoint, Accept], source: Endpoint) -> MemoryWire:
    wire = await MemoryTransport(source, world).dial(HERE)
    assert isinstance(wire, MemoryWire)
    await wire.say(hello_of(ToyNode()))
    return wire


def test_one_network_has_a_bounded_number_of_places() -> None:
    async def scenario() -> None:
        world: dict[Endpoint, Accept] = {}
        config = msgspec.structs.replace(QUICK, per_network_max=4)
        hub = make_hub(world, config, MemoryStore())
        await hub.start()
        for attacker in ATTACKERS[:20:2]:
            await come_from(world, attacker)
        await until(lambda: len(hub.peers()) == 4)
        surplus = await come_from(world, ATTACKERS[40])
        while await surplus.receive() is not None:
            pass
        assert surplus.farewell == "full"
        await come_from(world, HONEST[0])
        await until(lambda: len(hub.peers()) == 5)
        await hub.close()

    asyncio.run(scenario())


def test_a_new_honest_peer_gets_in_when_every_place_is_taken() -> None:
    async def scenario() -> None:
        world: dict[Endpoint, Accept] = {}
        config = msgspec.structs.replace(QUICK, inbound_max=20, per_network_max=100)
        hub = make_hub(world, config, MemoryStore())
        await hub.start()
        for attacker in ATTACKERS[:60]:
            await come_from(world, attacker)
        await until(lambda: len(hub.peers()) == 20)
        for honest in HONEST[:3]:
            await come_from(world, honest)
            async with asyncio.timeout(2):
                await until(partial(is_in, hub, honest))
        assert len(hub.peers()) == 20
        await hub.close()

    asyncio.run(scenario())


def test_a_thousand_addresses_of_two_networks_do_not_choose_our_peers() -> None:
    rng = random.Random(12)
    made = AddressBook(rng)
    for honest in HONEST:
        made.add(honest, honest, NOW, NOW)
    for attacker in ATTACKERS:
        made.add(attacker, attacker, NOW, NOW)
        made.on_success(attacker, NOW)
    again = AddressBook(rng, made.dump())
    dialer = Dialer(NetworkConfig(), again, rng)
    dialled = [dial.endpoint for _ in range(20) for dial in dialer.plan((), 0.0, NOW)]
    assert len(dialled) == 8
    assert len(set(dialled) & set(HONEST)) >= 6
    assert len({group_of(endpoint) for endpoint in dialled}) == 8


def test_the_peers_from_before_a_restart_are_dialled_first() -> None:
    async def scenario() -> None:
        world: dict[Endpoint, Accept] = {}
        others = []
        for honest in HONEST[:3]:
            node = ToyNode()
            node.network = other = Hub(
                node, MemoryTransport(honest, world), QUICK, WallClock(), random.Random(1),
                MemoryStore(), lambda error: None,
            )  # fmt: skip
            await other.start()
            others.append(other)
        store, clock = MemoryStore(), WallClock()
        config = msgspec.structs.replace(QUICK, outbound_target=3)
        book = AddressBook(random.Random(1))
        for honest in HONEST[:3]:
            book.add(honest, honest, clock.now(), clock.now())
        store.data = book.dump()
        hub = make_hub(world, config, store)
        await hub.start()
        await until(lambda: len(hub.peers()) == 3)
        await hub.close()
        for other in others:
            await other.close()
        found = AddressBook(random.Random(1), store.data)
        assert set(found.anchors) == set(HONEST[:3])
        for attacker in ATTACKERS:
            found.add(attacker, attacker, clock.now(), clock.now())
        data = found.dump(found.anchors)
        for seed in range(8):
            again = AddressBook(random.Random(seed), data)
            dialer = Dialer(config, again, random.Random(seed))
            dials = [dialer.plan((), 0.0, clock.now()) for _ in range(3)]
            assert {dial.endpoint for each in dials for dial in each} == set(HONEST[:3])

    asyncio.run(scenario())


def test_who_keeps_us_busy_for_nothing_waits_and_others_do_not() -> None:
    class Ticking(WallClock):
        """Every look at the clock takes 20 ms."""

        time = 100.0

        def monotonic(self) -> float:
            self.time += 0.02
            return self.time

    async def scenario() -> None:
        world: dict[Endpoint, Accept] = {}
        config = msgspec.structs.replace(QUICK, work_burst_s=0.2)
        node = ToyNode()
        node.network = hub = Hub(
            node, MemoryTransport(HERE, world), config, Ticking(), random.Random(4), MemoryStore(),
            lambda error: None,
        )  # fmt: skip
        await hub.start()
        busy = await come_from(world, ATTACKERS[0])
        for number in range(55):
            await busy.say(Ping(100 + number % 20))
        other = await come_from(world, HONEST[0])
        await other.say(Ping(5))
        async with asyncio.timeout(2):
            while True:
                message = await other.hear()
                if type(message).__name__ == "Pong":
                    break
        heard = hosts_of(hub)[ATTACKERS[0].host] - len(encode_message(hello_of(node)))
        assert heard < 50 * len(encode_message(Ping(100)))
        await hub.close()

    asyncio.run(scenario())
