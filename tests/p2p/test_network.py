"""Whole networks over real sockets on the loopback interface."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from consensus.params import REGTEST
from p2p.addrbook import AddressBook
from p2p.peer import ConnectionType
from p2p.ports import Endpoint
from tests.support.chain import ALICE, BOB, FEE, coins_made
from tests.support.network import Network
from tests.support.p2p_node import QUICK, MemoryStore, ToyNode, WallClock, make_network, until


@asynccontextmanager
async def running(*networks: Network) -> AsyncIterator[None]:
    """Networks that are started, and closed whatever happens."""
    try:
        for network in networks:
            await network.start()
        yield
    finally:
        for network in networks:
            await network.close()


def address_of(network: Network) -> Endpoint:
    assert network.local_address is not None
    return network.local_address


def join(network: Network, *others: Network) -> None:
    for other in others:
        network.add_node(*address_of(other))


def copy_chain(source: ToyNode, target: ToyNode) -> None:
    for height in range(1, source.tip.height + 1):
        target.chain.connect(source.chain.blocks[source.tip.ancestor(height).hash].raw)


def test_blocks_are_fetched_from_two_peers_at_once() -> None:
    async def scenario() -> None:
        first, second, fresh = ToyNode(), ToyNode(), ToyNode()
        first.mine(500)
        copy_chain(first, second)
        networks = [make_network(node) for node in (first, second, fresh)]
        async with running(*networks):
            join(networks[2], *networks[:2])
            await until(lambda: fresh.tip.height == 500)
            assert fresh.tip.hash == first.tip.hash
            received = [info.bytes_received for info in networks[2].peers()]
            assert len(received) == 2
            assert min(received) * 5 > max(received)
            assert len(fresh.accepted) == 500

    asyncio.run(scenario())


def connected(*networks: Network) -> bool:
    return all(network.peers() for network in networks)


def test_a_transaction_and_its_child_travel_over_three_nodes() -> None:
    async def scenario() -> None:
        nodes = [ToyNode() for _ in range(3)]
        nodes[0].chain.fund(ALICE)
        copy_chain(nodes[0], nodes[1])
        copy_chain(nodes[0], nodes[2])
        networks = [make_network(node) for node in nodes]
        async with running(*networks):
            join(networks[1], networks[0])
            join(networks[2], networks[1])
            await until(lambda: connected(*networks) and len(networks[1].peers()) == 2)
            chain = nodes[0].chain
            parent = chain.pay(ALICE, BOB, 1_000_000)
            coins = coins_made(parent, chain.tip.height + 1)
            first = next(iter(coins))
            output = msgspec.structs.replace(parent.body.outputs[0], amount=1_000_000 - FEE)
            child = chain.spend([first], [output], extra_coins=coins)
            nodes[0].submit_tx(parent.raw)
            nodes[0].submit_tx(child.raw)
            await until(lambda: len(nodes[2].mempool) == 2)
            assert set(nodes[2].mempool) == {parent.wtxid, child.wtxid}

    asyncio.run(scenario())


def test_a_transaction_from_before_the_connection_is_announced_too() -> None:
    async def scenario() -> None:
        first, second = ToyNode(), ToyNode()
        first.chain.fund(ALICE)
        copy_chain(first, second)
        networks = [make_network(first), make_network(second)]
        async with running(*networks):
            tx = first.submit_tx(first.chain.pay(ALICE, BOB, 5).raw)
            join(networks[1], networks[0])
            await until(lambda: tx.wtxid in second.mempool)

    asyncio.run(scenario())


def test_a_block_reaches_every_node_of_a_line() -> None:
    async def scenario() -> None:
        nodes = [ToyNode() for _ in range(3)]
        networks = [make_network(node) for node in nodes]
        async with running(*networks):
            join(networks[1], networks[0], networks[2])
            await until(lambda: len(networks[1].peers()) == 2 and connected(*networks))
            for _ in range(3):
                nodes[0].mine()
                await until(lambda: nodes[2].tip.hash == nodes[0].tip.hash)
            nodes[2].mine(2)
            await until(lambda: nodes[0].tip.height == 5)
            # Each block was sent once: nobody fetches what it has.
            assert len(nodes[1].accepted) == 5

    asyncio.run(scenario())


def test_two_branches_become_the_one_with_more_work() -> None:
    async def scenario() -> None:
        short, long = ToyNode(), ToyNode()
        short.mine(12)
        long.chain.mine_empty(1, ALICE.lock)
        long.mine(29)
        networks = [make_network(short), make_network(long)]
        async with running(*networks):
            join(networks[0], networks[1])
            await until(lambda: short.tip.hash == long.tip.hash)
            assert short.tip.height == 30

    asyncio.run(scenario())


def test_a_peer_of_another_network_is_refused_by_name_and_harms_nobody() -> None:
    async def scenario() -> None:
        other_params = msgspec.structs.replace(REGTEST, name=b"elsewhere")
        first, second, stranger = ToyNode(), ToyNode(), ToyNode(other_params)
        networks = [make_network(node) for node in (first, second, stranger)]
        async with running(*networks):
            join(networks[1], networks[0])
            join(networks[2], networks[0])
            await until(lambda: connected(*networks[:2]))
            first.mine(3)
            await until(lambda: second.tip.height == 3)
            assert not networks[2].peers()
            assert len(networks[0].peers()) == 1

    asyncio.run(scenario())


def test_a_peer_is_found_again_after_its_restart() -> None:
    async def scenario() -> None:
        first, second = ToyNode(), ToyNode()
        keeper, restarted = make_network(first), make_network(second)
        async with running(keeper, restarted):
            address = address_of(restarted)
            join(keeper, restarted)
            await until(lambda: connected(keeper))
            await restarted.close()
            await until(lambda: not keeper.peers())
            first.mine(4)
            again = make_network(second, msgspec.structs.replace(QUICK, listen=address))
            async with running(again):
                await until(lambda: second.tip.height == 4)

    asyncio.run(scenario())


def test_nodes_learn_of_each_other_by_address_exchange() -> None:
    async def scenario() -> None:
        nodes = [ToyNode() for _ in range(3)]
        config = msgspec.structs.replace(QUICK, outbound_target=2)
        networks = [make_network(node, config) for node in nodes]
        async with running(*networks):
            join(networks[1], networks[0])
            await until(lambda: connected(*networks[:2]))
            join(networks[2], networks[0])
            await until(lambda: all(len(network.peers()) == 2 for network in networks))
            kinds = {info.kind for info in networks[2].peers() + networks[1].peers()}
            assert ConnectionType.OUTBOUND in kinds

    asyncio.run(scenario())


def test_known_addresses_outlive_a_restart() -> None:
    async def scenario() -> None:
        nodes, store = [ToyNode(), ToyNode()], MemoryStore()
        config = msgspec.structs.replace(QUICK, outbound_target=1)
        listening = make_network(nodes[0])
        async with running(listening):
            before = make_network(nodes[1], config, store)
            async with running(before):
                join(before, listening)
                await until(lambda: connected(before))
            after = make_network(nodes[1], config, store)
            async with running(after):
                await until(lambda: connected(after))
                assert after.peers()[0].kind is ConnectionType.OUTBOUND

    asyncio.run(scenario())


def test_an_address_is_felt_for_and_let_go() -> None:
    async def scenario() -> None:
        nodes, store = [ToyNode() for _ in range(3)], MemoryStore()
        others = [make_network(node) for node in nodes[:2]]
        config = msgspec.structs.replace(QUICK, outbound_target=1, feeler_interval_s=0.2)
        async with running(*others):
            clock = WallClock()
            book = AddressBook(random.Random(1))
            for network in others:
                place = address_of(network)
                book.add(place, place, clock.now(), clock.now())
            store.data = book.dump()
            feeling = make_network(nodes[2], config, store)
            async with running(feeling):
                # Both were written to; only one was to stay.
                await until(lambda: all(network.totals().bytes_sent > 0 for network in others))
                await until(lambda: len(feeling.peers()) == 1)
                await until(lambda: sum(len(network.peers()) for network in others) == 1)
                assert feeling.peers()[0].kind is ConnectionType.OUTBOUND
                ours = address_of(feeling)
        found = AddressBook(random.Random(1), store.data)
        assert all(address_of(network) in found for network in others)
        assert found.feeler(clock.now() + 100, {ours}) is None

    asyncio.run(scenario())


def test_a_node_that_is_told_to_connect_to_itself_does_so_once() -> None:
    async def scenario() -> None:
        network = make_network(ToyNode())
        async with running(network):
            join(network, network)
            await until(lambda: not network.added_nodes)
            assert not network.peers()

    asyncio.run(scenario())


def test_a_peer_that_is_disconnected_on_request_is_gone_on_both_sides() -> None:
    async def scenario() -> None:
        networks = [make_network(ToyNode()), make_network(ToyNode())]
        async with running(*networks):
            networks[0].connect(*address_of(networks[1]))
            await until(lambda: connected(*networks))
            assert networks[1].disconnect(networks[1].peers()[0].id)
            await until(lambda: not networks[0].peers() and not networks[1].peers())
            assert not networks[1].disconnect(99)

    asyncio.run(scenario())


def test_peers_are_described_with_what_they_have_and_what_they_sent() -> None:
    async def scenario() -> None:
        first, second = ToyNode(), ToyNode()
        first.mine(7)
        networks = [make_network(first), make_network(second)]
        async with running(*networks):
            join(networks[1], networks[0])
            await until(lambda: second.tip.height == 7)
            await until(lambda: networks[1].peers()[0].ping_s is not None)
            info = networks[1].peers()[0]
            assert (info.kind, info.inbound) == (ConnectionType.MANUAL, False)
            assert (info.starting_height, info.best_height) == (7, 7)
            assert (info.synced_headers, info.synced_blocks) == (7, 7)
            assert info.best_work == first.tip.work
            assert info.last_block > 0
            assert info.blocks_in_flight == 0
            assert info.address == str(address_of(networks[0]))
            totals = networks[1].totals()
            assert totals.bytes_received >= info.bytes_received > 7 * 200
            assert networks[0].peers()[0].inbound

    asyncio.run(scenario())


def test_closing_leaves_no_task_behind() -> None:
    async def scenario() -> None:
        first, second = ToyNode(), ToyNode()
        first.mine(50)
        networks = [make_network(first), make_network(second)]
        async with running(*networks):
            join(networks[1], networks[0])
            networks[1].add_node("127.0.0.1", 9)
            await until(lambda: second.tip.height > 5)
        await until(lambda: len(asyncio.all_tasks()) == 1)

    asyncio.run(scenario())


def test_a_missing_peer_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    def told() -> int:
        return caplog.text.count("cannot be reached")

    async def scenario() -> None:
        network, other = make_network(ToyNode()), make_network(ToyNode())
        async with running(network, other):
            place = address_of(other)
            await other.close()
            network.add_node(*place)
            await until(lambda: caplog.text.count("cannot connect") >= 2)
            assert told() == 1
            assert f"peer {place}" in caplog.text

    with caplog.at_level(logging.DEBUG):
        asyncio.run(scenario())
