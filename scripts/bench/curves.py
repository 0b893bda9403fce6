"""How taeld grows: figures against the size of what it holds. Each point is one node, once started.

Blocks come over `submitblock`, unknown to the node, with every rule, every signature and all indexes;
the time is that of the call, its hex included.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from scripts.bench.benchmark import Kit
from scripts.bench.chains import Sizes, make_growth, make_ours, read_blocks
from scripts.bench.load import bodies_of, load
from scripts.bench.measure_balance import PAYEE
from scripts.bench.systems import Taeld

COINS = (10_000, 100_000, 1_000_000)
COIN_BLOCKS = (2_000,) * 5
INPUTS = (500, 1_000, 2_000, 4_000, 8_000)
HISTORY = (100, 1_000, 10_000, 100_000)
HISTORY_ASKED = 200
HISTORY_S = 10.0
MEMPOOL = (0, 5_000, 10_000, 20_000)


class Curve(msgspec.Struct, frozen=True):
    """Points of one curve."""

    title: str
    x: str
    y: str
    points: list[tuple[float, float]]


def _connect(directory: Path, coins: int, sizes: Sequence[int]) -> list[float]:
    """Seconds of each of the last blocks of a growth chain."""
    system = Taeld(make_growth(directory / "chain", coins, sizes))
    blocks = read_blocks(system.prepared.blocks)[-len(sizes) :]
    datadir = directory / "node"
    system.lay(datadir, leave=len(sizes))
    taken = []
    with system.start(datadir, replay=True) as server:
        server.wait_ready(system.prepared.height - len(sizes))
        for raw in blocks:
            text = raw.hex()
            began = time.perf_counter()
            assert server.call("submitblock", text) is None
            taken.append(time.perf_counter() - began)
    return taken


def coins_curve(kit: Kit) -> Curve:
    """Payments connected a second against the coins in the set."""
    points = []
    for coins in COINS:
        taken = _connect(kit.directory / f"coins-{coins}", coins, COIN_BLOCKS)
        points.append((float(coins), COIN_BLOCKS[0] / statistics.median(taken)))
    return Curve("blocks of 2 000 payments", "coins in the set", "tx/s", points)


def inputs_curve(kit: Kit) -> Curve:
    """Milliseconds of a block against its inputs. A small block comes first, to wake the node."""
    taken = _connect(kit.directory / "inputs", COINS[1], (100, *INPUTS))[1:]
    points = [(float(x), y * 1e3) for x, y in zip(INPUTS, taken, strict=True)]
    return Curve("connecting a block", "inputs", "ms", points)


def balance_curve(kit: Kit) -> Curve:
    """Milliseconds of a balance against the entries in the history of its address."""
    points = []
    for entries in HISTORY:
        directory = kit.directory / f"history-{entries}"
        sizes = Sizes(payments=entries, waiting=0)
        system = Taeld(make_ours(directory / "chain", sizes, PAYEE))
        system.lay(directory / "node")
        with system.start(directory / "node", replay=True) as server:
            server.wait_ready(system.prepared.height)
            bodies = bodies_of("getaddressbalance", [[{"addresses": [system.prepared.payee]}]])
            outcome = load(server, directory, bodies, 1, HISTORY_ASKED, HISTORY_S)
        points.append((float(entries), outcome.p50_ms))
    return Curve("balance of one address", "entries in its history", "ms, p50", points)


def memory_curve(kit: Kit) -> Curve:
    """Memory against the payments that wait."""
    payments = kit.system.prepared.waiting()
    bodies = bodies_of("sendrawtransaction", [[p.raw.hex()] for p in payments])
    points, sent = [], 0
    with kit.node() as server:
        for count in MEMPOOL:
            if part := bodies[sent:count]:
                load(server, kit.directory, part, 8)
            sent = count
            time.sleep(kit.sizes.rest_s)
            points.append((float(count), server.memory_mib()))
    return Curve("memory of the node", "payments waiting", "MiB", points)


CURVES: tuple[Callable[[Kit], Curve], ...] = (
    coins_curve,
    inputs_curve,
    balance_curve,
    memory_curve,
)


def show(curves: Sequence[Curve]) -> str:
    """Each curve as a small table."""
    parts = []
    for curve in curves:
        rows = "\n".join(f"| {x:,.0f} | {y:,.1f} |" for x, y in curve.points)
        parts.append(f"{curve.title}\n\n| {curve.x} | {curve.y} |\n| --- | --- |\n{rows}")
    return "\n\n".join(parts)
