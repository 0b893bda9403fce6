"""The balance of an address with a long history. Nodes without an address index have no such answer."""

from __future__ import annotations

import msgspec

from scripts.bench.benchmark import Benchmark, Kit
from scripts.bench.chains import make_ours
from scripts.bench.load import bodies_of, load, outcome_figures
from scripts.bench.measure_reads import CONNECTIONS, load_quantities
from scripts.bench.rows import OURS, Quantity
from scripts.bench.systems import Taeld

PAYEE = 1
"""The person who is paid every time. Not the one who gets what blocks create."""
ASKED_MAX = 4_000
_KEPT: dict[str, Taeld] = {}


def _run(kit: Kit) -> dict[str, float]:
    """On a chain of its own, which is made and connected once for all runs."""
    directory = kit.base.parent / "history"
    datadir = directory / "node"
    if not datadir.exists():
        sizes = msgspec.structs.replace(kit.sizes, payments=kit.sizes.history, waiting=0)
        system = Taeld(make_ours(directory / "chain", sizes, PAYEE))
        system.lay(datadir)
        _KEPT[str(directory)] = system
    system = _KEPT[str(directory)]
    figures: dict[str, float] = {}
    with system.start(datadir) as server:
        server.wait_ready(system.prepared.height)
        bodies = bodies_of("getaddressbalance", [[{"addresses": [system.prepared.payee]}]])
        for connections in CONNECTIONS:
            outcome = load(server, kit.directory, bodies, connections, ASKED_MAX, kit.sizes.load_s)
            figures |= outcome_figures(f"balance_{connections}", outcome)
    return figures


def _quantities() -> tuple[Quantity, ...]:
    """The goals here are figures, since there is nobody to compare with."""
    wanted = {"balance_1_p50": 2.0, "balance_8_rate": 4_000.0}
    return tuple(
        msgspec.structs.replace(quantity, limit=wanted.get(quantity.key))
        for quantity in load_quantities("balance", "balance of a long history", {})
    )


BALANCE = Benchmark("balance", _quantities(), {OURS: _run})
