"""`/metrics`: figures of the node for Prometheus.

They name no peer, no address and no payment, but tell how busy the node is. So programs on this machine
read them as they are, and others show the name and password of a user of the JSON-RPC; `readonly` will
do. What a proxy on this machine passes on is not from this machine, if the proxy says so as it should.
"""

from __future__ import annotations

import ipaddress
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from node.events import Removal
from node.histogram import Histogram
from node.rpc.ports import Node
from node.web.site import SITE, Route, Site

FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")
"""Headers by which a proxy says that the request is another's."""
_COINS = 100_000_000
"""Base units of the native coin in one coin, as people and dashboards read it."""


class _Figure(NamedTuple):
    """One number."""

    kind: type[CounterMetricFamily] | type[GaugeMetricFamily]
    name: str
    help: str
    value: Callable[[Node], float]


_COUNT, _GAUGE = CounterMetricFamily, GaugeMetricFamily

FIGURES: Sequence[_Figure] = (
    _Figure(_GAUGE, "tael_chain_height", "Height of the tip.", lambda n: n.ledger.tip.height),
    _Figure(
        _GAUGE, "tael_chain_headers", "Height of the best header known.",
        lambda n: n.ledger.tree.best_header.height,
    ),
    _Figure(
        _GAUGE, "tael_chain_tip_timestamp_seconds", "Time in the tip's header, since 1970.",
        lambda n: n.ledger.tip.header.time,
    ),
    _Figure(
        _GAUGE, "tael_chain_tip_age_seconds", "Time since that in the tip's header.",
        lambda n: n.clock() - n.ledger.tip.header.time,
    ),
    _Figure(
        _GAUGE, "tael_chain_syncing", "1 while the node catches up with its peers.",
        lambda n: n.ledger.is_syncing,
    ),
    _Figure(
        _COUNT, "tael_chain_blocks_connected", "Blocks put on the best chain.",
        lambda n: n.watch.happened.connected,
    ),
    _Figure(
        _COUNT, "tael_chain_blocks_disconnected", "Blocks taken off the best chain.",
        lambda n: n.watch.happened.disconnected,
    ),
    _Figure(
        _COUNT, "tael_chain_blocks_invalid", "Blocks that broke a rule when they were to be connected.",
        lambda n: n.watch.happened.invalid,
    ),
    _Figure(
        _COUNT, "tael_chain_reorganisations", "Times that blocks were taken off for others.",
        lambda n: n.watch.happened.reorganisations,
    ),
    _Figure(
        _GAUGE, "tael_mempool_transactions", "Transactions that wait.",
        lambda n: len(n.ledger.mempool),
    ),
    _Figure(
        _GAUGE, "tael_mempool_bytes", "Memory that they take.",
        lambda n: n.ledger.mempool.size_bytes,
    ),
    _Figure(
        _GAUGE, "tael_mempool_bytes_max", "Memory that they may take.",
        lambda n: n.ledger.mempool.policy.size_bytes_max,
    ),
    _Figure(_GAUGE, "tael_mempool_cost", "Their cost.", lambda n: n.ledger.mempool.cost),
    _Figure(
        _GAUGE, "tael_mempool_fees_coins", "Fees that they pay.",
        lambda n: n.ledger.mempool.fees / _COINS,
    ),
    _Figure(
        _GAUGE, "tael_mempool_floor_rate", "Least fee rate to get in, base units per 1000 of cost.",
        lambda n: n.ledger.mempool.floor_rate,
    ),
    _Figure(
        _COUNT, "tael_mempool_added", "Transactions that entered the mempool.",
        lambda n: n.watch.happened.added,
    ),
    _Figure(
        _COUNT, "tael_store_flushes", "Times that the state was written to the database.",
        lambda n: n.ledger.chain.store.flushes.count,
    ),
    _Figure(
        _GAUGE, "tael_store_rows_waiting", "Rows in memory that the next flush writes.",
        lambda n: n.ledger.chain.store.waiting,
    ),
    _Figure(
        _GAUGE, "tael_store_coins_kept", "Coins of the database that are kept in memory.",
        lambda n: n.ledger.chain.store.kept,
    ),
    _Figure(
        _GAUGE, "tael_store_block_bytes", "Size of the block files.",
        lambda n: n.ledger.chain.store.blocks.size_bytes,
    ),
    _Figure(
        _GAUGE, "tael_store_undo_bytes", "Size of the undo files.",
        lambda n: n.ledger.chain.store.undo.size_bytes,
    ),
    _Figure(
        _GAUGE, "tael_store_database_bytes", "Size of the database on the disk, about.",
        lambda n: n.ledger.chain.store.database_size.disk_bytes,
    ),
    _Figure(
        _GAUGE, "tael_store_database_memory_bytes", "Memory that the database takes, about.",
        lambda n: n.ledger.chain.store.database_size.memory_bytes,
    ),
    _Figure(
        _GAUGE, "tael_disk_free_bytes", "Room on the disk of the data directory; -1: unknown.",
        lambda n: free if (free := n.watch.free_bytes()) is not None else -1,
    ),
    _Figure(_COUNT, "tael_peers_banned", "Peers sent away for misbehaving.",
            lambda n: n.network.totals().banned),
    _Figure(
        _GAUGE, "tael_uptime_seconds", "Time since the start.", lambda n: n.clock() - n.started
    ),
)  # fmt: skip


class NodeCollector(Collector):
    """Asks a node for its figures when they are read."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def collect(self) -> Iterator[Metric]:
        node = self._node
        for figure in FIGURES:
            yield figure.kind(figure.name, figure.help, value=float(figure.value(node)))
        yield from self._readiness()
        yield from self._peers()
        yield from self._calls()
        removed = CounterMetricFamily(
            "tael_mempool_removed", "Transactions that left the mempool.", labels=["reason"]
        )
        for reason in Removal:
            removed.add_metric([reason.value], node.watch.happened.removed[reason])
        yield removed
        yield _histogram(
            "tael_event_loop_lag_seconds", "How late the event loop is with what is due.",
            node.watch.pulse.lag,
        )  # fmt: skip
        yield _histogram(
            "tael_store_flush_seconds", "Time that a flush takes.", node.ledger.chain.store.flushes
        )
        build = GaugeMetricFamily(
            "tael_build_info", "What runs.", labels=["version", "network", "python"]
        )
        name = node.ledger.params.name.decode()
        build.add_metric([node.version, name, platform.python_version()], 1)
        yield build

    def _readiness(self) -> Iterator[Metric]:
        reasons = self._node.watch.reasons()
        yield GaugeMetricFamily(
            "tael_ready", "1 if users can be sent here.", value=float(not reasons)
        )
        family = GaugeMetricFamily(
            "tael_not_ready", "1 for each reason why not.", labels=["reason"]
        )  # fmt: skip
        for reason in reasons:
            family.add_metric([reason.name], 1)
        yield family

    def _peers(self) -> Iterator[Metric]:
        found = self._node.network.peers()
        family = GaugeMetricFamily(
            "tael_peers", "Peers connected.", labels=["direction", "encrypted"]
        )
        for direction, is_inbound in (("in", True), ("out", False)):
            for encrypted, is_encrypted in (("yes", True), ("no", False)):
                number = sum(
                    peer.inbound is is_inbound and peer.is_encrypted is is_encrypted
                    for peer in found
                )
                family.add_metric([direction, encrypted], number)
        yield family
        traffic = CounterMetricFamily(
            "tael_peers_traffic_bytes", "Bytes to and from peers.", labels=["direction"]
        )
        totals = self._node.network.totals()
        traffic.add_metric(["in"], totals.received)
        traffic.add_metric(["out"], totals.sent)
        yield traffic

    def _calls(self) -> Iterator[Metric]:
        calls = self._node.watch.calls
        seconds = HistogramMetricFamily(
            "tael_rpc_seconds", "Time that calls of the JSON-RPC took.", labels=["method"]
        )
        for method, found in calls.seconds.items():
            if any(found.counts):
                seconds.add_metric([method], _buckets(found), found.sum)
        yield seconds
        errors = CounterMetricFamily(
            "tael_rpc_errors", "Calls of the JSON-RPC that failed.", labels=["method", "code"]
        )
        for (method, code), number in calls.errors.items():
            errors.add_metric([method, str(code)], number)
        yield errors


def _histogram(name: str, text: str, found: Histogram) -> HistogramMetricFamily:
    return HistogramMetricFamily(name, text, _buckets(found), found.sum)


def _buckets(found: Histogram) -> list[tuple[str, float]]:
    """Values up to each bound, as Prometheus counts them: those of the bounds before too."""
    buckets, below = [], 0
    for bound, number in zip((*found.bounds, "+Inf"), found.counts, strict=True):
        below += number
        buckets.append((str(bound), float(below)))
    return buckets


def registry_of(node: Node) -> CollectorRegistry:
    """Everything that is shown of a node and its process."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(NodeCollector(node))
    ProcessCollector(registry=registry)
    return registry


def _is_of_this_machine(request: web.Request) -> bool:
    if any(name in request.headers for name in FORWARDED):
        return False
    try:
        address = ipaddress.ip_address(request.remote or "")
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _check_user(request: web.Request, site: Site) -> None:
    """Raises: HTTPUnauthorized."""
    if site.users.check(request.headers.get("Authorization")) is None:
        raise web.HTTPUnauthorized(
            text="metrics are for users of the JSON-RPC",
            headers={"WWW-Authenticate": 'Basic realm="tael"'},
        )


async def metrics(request: web.Request) -> web.Response:
    """In the format that the reader asks for."""
    site = request.app[SITE]
    if not _is_of_this_machine(request):
        _check_user(request, site)
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    body = encode(registry_of(site.node))
    return web.Response(body=body, headers={"Content-Type": content_type})


def names(collected: Iterable[Metric]) -> set[str]:
    """The names that a query may use."""
    found = set()
    for metric in collected:
        suffixes = {
            "counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")
        }.get(metric.type, ("",))  # fmt: skip
        found |= {metric.name + suffix for suffix in suffixes}
    return found


ROUTES = (Route("GET", "/metrics", metrics),)
