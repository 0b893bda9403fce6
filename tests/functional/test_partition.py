"""Five real nodes over lines that are slow, are held up and are cut: in the end they agree."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

from consensus.params import COIN
from consensus.tx import NATIVE, Tx, TxOut
from tests.support.chain import ALICE, BOB, CAROL, DAVE, FEE, ToyChain, blocks_of
from tests.support.daemon import Daemon, feed, running, wait_for, wait_for_one_tip
from tests.support.proxy import Lines, lines

ROUNDS = int(os.environ.get("TAEL_PARTITION_ROUNDS", "1"))
"""Partitions, one after the other."""
SEED = int(os.environ.get("TAEL_PARTITION_SEED", "45"))
NODES = 5
PAYMENTS = 8
"""On each side while the network is parted."""
HEAL_S = 30
DELAY_S = (0.0, 0.03)
TO_WHOM = (BOB.address(), CAROL.address())


def payments_of(chain: ToyChain, count: int) -> list[Tx]:
    """Payments of Alice that do not depend on one another."""
    made = []
    for spent in chain.coins_of(ALICE)[:count]:
        rest = chain.coins[spent].amount - COIN - FEE
        made.append(
            chain.spend([spent], [TxOut(NATIVE, COIN, DAVE.lock), TxOut(NATIVE, rest, ALICE.lock)])
        )
    return made


def join_all(nodes: list[Daemon], network: Lines) -> None:
    """A ring with chords: every node has two lines of its own to others."""
    for number in range(NODES):
        for step in (1, 2):
            other = (number + step) % NODES
            to = nodes[other].p2p_host, nodes[other].p2p_port
            line = network.join((number, other), to, DELAY_S, SEED + 10 * number + step)
            nodes[number].call("addnode", f"127.0.0.1:{line.port}", "add")

    def all_joined() -> bool:
        return all(len(node.call("getpeerinfo")) == 4 for node in nodes)

    wait_for(all_joined, "all lines are in use")


def pay_and_mine(nodes: list[Daemon], side: int, waiting: list[Tx], blocks: int) -> None:
    """One side of a parted network goes on: payments before, between and after its blocks."""
    for number, tx in enumerate(waiting):
        nodes[number % len(nodes)].call("sendrawtransaction", tx.raw.hex())
        if number < blocks:
            nodes[-1 - number % len(nodes)].call("generatetoaddress", 1, TO_WHOM[side])
            # Two blocks at one height would be a draw, and the branch shorter than it says.
            wait_for_one_tip(nodes)


def test_five_nodes_agree_on_tip_coins_and_mempool_after_a_partition(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    chain = ToyChain()
    chain.fund(ALICE, 2 * PAYMENTS * ROUNDS)
    payments = payments_of(chain, 2 * PAYMENTS * ROUNDS)
    nodes = [
        Daemon(
            tmp_path / str(number), "--p2p", f"127.0.0.{number + 2}:0", "--outbound", "0",
            "--verify-processes", "0",
        )
        for number in range(NODES)
    ]  # fmt: skip
    with running(*nodes), lines() as network:
        for node in nodes:
            feed(node, blocks_of(chain))
        join_all(nodes, network)
        for _ in range(ROUNDS):
            side = frozenset(rng.sample(range(NODES), 2))
            few = [nodes[number] for number in side]
            many = [nodes[number] for number in range(NODES) if number not in side]
            parted = network.across(side)
            for line in parted:
                network.run(line.hold())
            before = nodes[0].call("getblockcount")
            first, payments = payments[:PAYMENTS], payments[PAYMENTS:]
            second, payments = payments[:PAYMENTS], payments[PAYMENTS:]
            pay_and_mine(few, 0, first, 2)
            pay_and_mine(many, 1, second, 4)
            # The partition is one: each side knows only its own branch.
            assert few[0].call("getblockcount") == before + 2
            assert many[0].call("getblockcount") == before + 4
            for line in rng.sample(parted, 2):
                network.run(line.cut())
            healed = time.monotonic()
            for line in parted:
                network.run(line.release())
            tip = wait_for_one_tip(nodes, HEAL_S)
            assert time.monotonic() - healed < HEAL_S
            assert nodes[0].call("getblockcount") == before + 4
            assert tip == many[0].tip

            def agree() -> bool:
                return len({tuple(sorted(node.call("getrawmempool"))) for node in nodes}) == 1

            wait_for(agree, "all mempools are the same", HEAL_S)
            check_what_is_left(nodes, few, many, first, second)


def check_what_is_left(
    nodes: list[Daemon], few: list[Daemon], many: list[Daemon], first: list[Tx], second: list[Tx]
) -> None:
    """Every payment waits or is confirmed, on every node; the coins are the same."""
    coins = [node.call("gettxoutsetinfo") for node in nodes]
    assert all(found["coinset"] == coins[0]["coinset"] for found in coins)
    waiting = set(few[0].call("getrawmempool"))
    assert waiting
    for tx in (*first, *second):
        txid = tx.txid[::-1].hex()
        found = many[0].call("getrawtransaction", txid, True)
        assert (txid in waiting) != bool(found.get("confirmations"))
    for node in nodes:
        assert not [line for line in node.log if "Traceback" in line]
