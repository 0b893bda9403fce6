"""Three nodes in a row, A – B – C: blocks of known payments, and payments one by one.

Nodes relay payments without their deliberate delay (`tx_delay_s` here, `noban` there). A block's time
goes from A's log telling the new tip to C's, which comes first if A passes a block on before it has
connected it; then there is no ratio. A second time begins where A is asked for the block. A payment's
time goes from handing it to A until C's mempool has it, asked about every millisecond over JSON-RPC.
Our own are relayed with the delay too, as they are where nobody measures.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from scripts.bench.benchmark import Benchmark, Kit
from scripts.bench.load import bodies_of, load
from scripts.bench.rows import OURS, Quantity, percentile
from scripts.bench.server import Server, wait_for
from scripts.bench.systems import PEER
from scripts.bench.workload import SEED

LOOK_S = 0.001
PAUSE_S = (0.01, 0.12)
"""Between payments that are relayed one by one, drawn anew each time."""


@contextmanager
def row_of_nodes(kit: Kit, delay: bool = False) -> Iterator[tuple[Server, Server, Server]]:
    """A, B and C, connected in that order and all at the tip."""
    with ExitStack() as stack:
        a = stack.enter_context(kit.node("a", delay=delay))
        b = stack.enter_context(kit.node("b", delay=delay, connect=(a,)))
        c = stack.enter_context(kit.node("c", delay=delay, connect=(b,)))
        for server, peers in ((a, 1), (b, 2), (c, 1)):
            wait_for(partial(_has_peers, server, peers), "the nodes are connected")
        # What the handshakes are followed by is over then.
        time.sleep(kit.sizes.rest_s / 2)
        yield a, b, c


def _has_peers(server: Server, count: int) -> bool | None:
    return server.call("getconnectioncount") >= count or None


def wait_for_mempool(server: Server, count: int) -> float:
    """Wait until so many payments wait there; the time."""

    def look() -> float | None:
        return time.perf_counter() if server.call("getmempoolinfo")["size"] == count else None

    return wait_for(look, f"{count} payments wait", LOOK_S)


def _blocks(kit: Kit, a: Server, b: Server, c: Server) -> list[tuple[float, float]]:
    """Milliseconds of each block, tip to tip and with its making. The first wakes what sleeps."""
    system, size = kit.system, kit.sizes.relay_block
    sizes = [1] + [size] * kit.sizes.relay_blocks
    bodies = bodies_of("sendrawtransaction", [[p.raw.hex()] for p in system.prepared.waiting()])
    height, taken = system.prepared.height, []
    for count in sizes:
        part, bodies = bodies[:count], bodies[count:]
        load(a, kit.directory, part, 1)
        for server in (a, b, c):
            wait_for_mempool(server, count)
        time.sleep(0.2)
        height += 1
        began = time.perf_counter()
        a.call("generatetoaddress", 1, system.prepared.address)
        made = a.wait_line(system.tip_line(height))[0].at
        ended = c.wait_line(system.tip_line(height))[0].at
        taken.append(((ended - made) * 1e3, (ended - began) * 1e3))
        wait_for_mempool(c, 0)
    return taken[1:]


def _payments(kit: Kit, a: Server, c: Server) -> list[float]:
    """Milliseconds of each payment."""
    taken = []
    rng = random.Random(SEED)
    payments = kit.system.prepared.waiting()[-kit.sizes.relayed :]
    for number, payment in enumerate(payments, 1):
        # Sent as soon as the last one arrived, each would meet the same turn of the nodes' loops.
        time.sleep(rng.uniform(*PAUSE_S))
        began = time.perf_counter()
        a.call("sendrawtransaction", payment.raw.hex())
        taken.append((wait_for_mempool(c, number) - began) * 1e3)
    return taken


def _run(kit: Kit) -> dict[str, float]:
    with row_of_nodes(kit) as (a, b, c):
        blocks = _blocks(kit, a, b, c)
        payments = _payments(kit, a, c)
    return {
        "block_relay": percentile([tips for tips, _ in blocks], 0.5),
        "block_relay_most": max(tips for tips, _ in blocks),
        "block_made": percentile([whole for _, whole in blocks], 0.5),
        "payment_relay": percentile(payments, 0.5),
        "payment_relay_p99": percentile(payments, 0.99),
    }


def _run_ours(kit: Kit) -> dict[str, float]:
    taken = _run(kit)
    with row_of_nodes(kit, delay=True) as (a, _, c):
        payments = _payments(kit, a, c)
    return taken | {
        "payment_delayed": percentile(payments, 0.5),
        "payment_delayed_p99": percentile(payments, 0.99),
    }


RELAY = Benchmark(
    "relay",
    (
        Quantity("block_relay", "block of known payments A–B–C", "ms", goals={PEER: 1.0}),
        Quantity("block_relay_most", "the slowest of them", "ms"),
        Quantity("block_made", "from asking A for it to C's tip", "ms"),
        Quantity("payment_relay", "payment A–B–C: p50", "ms", goals={PEER: 1.0}),
        Quantity("payment_relay_p99", "payment A–B–C: p99", "ms", goals={PEER: 1.0}),
        Quantity("payment_delayed", "payment A–B–C, with the delay: p50", "ms"),
        Quantity("payment_delayed_p99", "payment A–B–C, with the delay: p99", "ms"),
    ),
    {OURS: _run_ours, PEER: _run},
)
