"""Three nodes in a row: payments handed to A as fast as it takes them, a block from A every 2 s.

The rate counts what C has confirmed: all payments, over the time from the first one sent to the block
at C that holds the last.
"""

from __future__ import annotations

import time

from scripts.bench.benchmark import Benchmark, Kit
from scripts.bench.load import begin_load, bodies_of, end_load
from scripts.bench.measure_relay import row_of_nodes
from scripts.bench.rows import OURS, Quantity
from scripts.bench.systems import PEER

CONNECTIONS = 8


def _run(kit: Kit) -> dict[str, float]:
    system, count = kit.system, kit.sizes.confirmed
    payments = system.prepared.waiting()[:count]
    bodies = bodies_of("sendrawtransaction", [[p.raw.hex()] for p in payments])
    height = system.prepared.height
    with row_of_nodes(kit) as (a, _, c):
        began = time.perf_counter()
        generator = begin_load(a, kit.directory, bodies, CONNECTIONS)
        due, is_last = began, False
        while not is_last:
            due += kit.sizes.block_every_s
            time.sleep(max(0.0, due - time.perf_counter()))
            is_last = generator.poll() is not None
            a.call("generatetoaddress", 1, system.prepared.address)
            height += 1
            is_last = is_last and not a.call("getmempoolinfo")["size"]
        outcome = end_load(generator)
        ended = c.wait_line(system.tip_line(height))[0].at
    return {"confirmed": count / (ended - began), "confirmed_sent": outcome.rate}


CONFIRMED = Benchmark(
    "confirmed",
    (
        Quantity("confirmed", "confirmed at the third node", "tx/s", True,
                 {PEER: 1.25}),
        Quantity("confirmed_sent", "taken by the first node meanwhile", "tx/s", True),
    ),
    {OURS: _run, PEER: _run},
)  # fmt: skip
