"""Payments handed in over JSON-RPC, then a template and a block of those that wait."""

from __future__ import annotations

import socket
import time

from scripts.bench.benchmark import Benchmark, Kit
from scripts.bench.load import bodies_of, load, outcome_figures
from scripts.bench.measure_reads import CONNECTIONS, load_quantities
from scripts.bench.rows import OURS, Quantity
from scripts.bench.server import BenchError, Server, result_of
from scripts.bench.systems import PEER

ALONE_SHARE = 0.3
"""Share of the payments that is sent on one connection, one after the other."""

ACCEPT_S = 0.2
"""Time that a node takes to notice a connection."""


def _templates(kit: Kit, server: Server) -> dict[str, float]:
    """Milliseconds of the first template and of one more."""
    figures = {}
    # Litecoin Core gives templates to whoever has a peer. This one never says a word.
    with socket.create_connection(("127.0.0.1", server.p2p_port)):
        time.sleep(ACCEPT_S)
        for key in ("template", "template_again"):
            began = time.perf_counter()
            answer = server.fetch("getblocktemplate", *kit.system.template_params())
            figures[key] = (time.perf_counter() - began) * 1e3
            shown = result_of("getblocktemplate", answer)
            if len(shown["transactions"]) != kit.sizes.template:
                raise BenchError("the template leaves payments out")
    return figures


def _run(kit: Kit) -> dict[str, float]:
    prepared, template = kit.system.prepared, kit.sizes.template
    bodies = bodies_of("sendrawtransaction", [[p.raw.hex()] for p in prepared.waiting()[:template]])
    alone = int(template * ALONE_SHARE)
    figures: dict[str, float] = {}
    with kit.node() as server:
        for connections, part in zip(CONNECTIONS, (bodies[:alone], bodies[alone:]), strict=True):
            outcome = load(server, kit.directory, part, connections)
            figures |= outcome_figures(f"send_{connections}", outcome)
        if server.call("getmempoolinfo")["size"] != template:
            raise BenchError("not every payment waits")
        figures |= _templates(kit, server)
        began = time.perf_counter()
        server.call("generatetoaddress", 1, prepared.address)
        figures["generate"] = (time.perf_counter() - began) * 1e3
        if server.call("getmempoolinfo")["size"]:
            raise BenchError("the block leaves payments out")
    return figures


PAYMENTS = Benchmark(
    "payments",
    (
        *load_quantities("send", "sendrawtransaction", {1: 1.5, 8: 1.5}),
        Quantity("template", "getblocktemplate, first", "ms", goals={PEER: 0.1}),
        Quantity("template_again", "getblocktemplate, again", "ms", goals={PEER: 0.1}),
        Quantity("generate", "generate a block of all that wait", "ms"),
    ),
    {OURS: _run, PEER: _run},
)
