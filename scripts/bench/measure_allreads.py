"""Every read that both answer, at eight connections, with many different questions where it has any."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from scripts.bench.benchmark import Benchmark, Kit
from scripts.bench.load import bodies_of, load
from scripts.bench.rows import OURS, READ, READ_P99, Quantity
from scripts.bench.server import BenchError, Server, wait_for
from scripts.bench.systems import PEER

CONNECTIONS = 8
BLOCKS = 8
"""Blocks that are asked for, and whose transactions are."""
TXS_PER_BLOCK = 250
UNLIMITED = 10**9
SENT_SHARE = 8
"""Of so many payments one waits in the mempool while others are decoded and tested."""


class Facts(NamedTuple):
    """What can be asked for."""

    hashes: list[str]
    """Of every block."""
    recent: list[str]
    """Of the last blocks; all but the last are full."""
    mined: list[tuple[str, str]]
    """Transactions of these blocks with the block's hash."""
    waiting: list[str]
    """Txids in the mempool."""
    unknown: list[str]
    """Signed payments in hex that were not sent."""
    addresses: list[str]


Params = Callable[[Facts], list[Any]]


class Read(NamedTuple):
    """One line of the table."""

    key: str
    """Of its quantities, behind `READ`."""
    method: str
    params: Params = lambda _: [[]]
    """Lists of parameters, one after the other."""
    told: str = ""
    """What is asked for, for people."""
    is_mixed: bool = True
    """Whether it is asked for while blocks are connected: not what fills the connection or needs a
    payment that waits."""

    @property
    def title(self) -> str:
        return f"{self.method}, {self.told}" if self.told else self.method


READS_OF_BOTH: tuple[Read, ...] = (
    Read("chaininfo", "getblockchaininfo"),
    Read("best", "getbestblockhash"),
    Read("hash", "getblockhash", lambda f: [[height] for height in range(len(f.hashes))]),
    Read("header", "getblockheader", lambda f: [[block] for block in f.hashes]),
    Read("header_raw", "getblockheader", lambda f: [[b, False] for b in f.hashes], "raw"),
    Read("block_raw", "getblock", lambda f: [[block, 0] for block in f.recent], "raw", False),
    Read("block_ids", "getblock", lambda f: [[block, 1] for block in f.recent], "ids"),
    Read(
        "block_full", "getblock", lambda f: [[block, 2] for block in f.recent], "everything", False
    ),
    Read("stats", "getblockstats", lambda f: [[block] for block in f.recent]),
    Read("tips", "getchaintips"),
    Read("difficulty", "getdifficulty"),
    Read("coin_set", "gettxoutsetinfo", is_mixed=False),
    Read("indexes", "getindexinfo"),
    Read("tx_raw", "getrawtransaction", lambda f: [[t, False, b] for t, b in f.mined], "raw"),
    Read("tx", "getrawtransaction", lambda f: [[t, True, b] for t, b in f.mined], "object"),
    Read(
        "tx_waiting",
        "getrawtransaction",
        lambda f: [[txid, True] for txid in f.waiting],
        "waiting",
        False,
    ),
    Read("decode", "decoderawtransaction", lambda f: [[raw] for raw in f.unknown]),
    Read("test", "testmempoolaccept", lambda f: [[[raw]] for raw in f.unknown]),
    Read("mempool", "getmempoolinfo"),
    Read("waiting", "getrawmempool", told="ids", is_mixed=False),
    Read("waiting_all", "getrawmempool", lambda _: [[True]], "everything", False),
    Read("entry", "getmempoolentry", lambda f: [[txid] for txid in f.waiting], is_mixed=False),
    Read(
        "ancestors", "getmempoolancestors", lambda f: [[txid] for txid in f.waiting], is_mixed=False
    ),
    Read(
        "descendants",
        "getmempooldescendants",
        lambda f: [[txid] for txid in f.waiting],
        is_mixed=False,
    ),
    Read("fee", "estimatesmartfee", lambda _: [[target] for target in range(2, 25)]),
    Read("address", "validateaddress", lambda f: [[address] for address in f.addresses]),
    Read("mining", "getmininginfo"),
    Read("hash_rate", "getnetworkhashps"),
    Read("peers", "getpeerinfo"),
    Read("connections", "getconnectioncount"),
    Read("network", "getnetworkinfo"),
    Read("totals", "getnettotals"),
    Read("help", "help"),
    Read("uptime", "uptime"),
)


def _addresses(server: Server, mined: list[tuple[str, str]]) -> list[str]:
    found = []
    for txid, block in mined[:: max(1, len(mined) // 100)]:
        for output in server.call("getrawtransaction", txid, True, block)["vout"]:
            script = output["scriptPubKey"]
            found.append(script["address"] if "address" in script else script["addresses"][0])
    return found


def gather(server: Server, kit: Kit, waiting: int) -> Facts:
    """Ask the node for what can be asked; `waiting` payments were sent to it."""
    hashes = [server.call("getblockhash", at) for at in range(server.call("getblockcount") + 1)]
    recent = hashes[-BLOCKS:]
    mined = [
        (txid, block)
        for block in recent
        for txid in server.call("getblock", block, 1)["tx"][1 : TXS_PER_BLOCK + 1]
    ]
    payments = kit.system.prepared.waiting()[: kit.sizes.reads]
    return Facts(
        hashes, recent, mined,
        [payment.txid for payment in payments[:waiting]],
        [payment.raw.hex() for payment in payments[waiting:]],
        _addresses(server, mined),
    )  # fmt: skip


def send_some(server: Server, kit: Kit) -> int:
    """Put payments into the mempool; how many."""
    count = kit.sizes.reads // SENT_SHARE
    payments = kit.system.prepared.waiting()[:count]
    load(
        server, kit.directory, bodies_of("sendrawtransaction", [[p.raw.hex()] for p in payments]), 8
    )
    if server.call("getmempoolinfo")["size"] != count:
        raise BenchError("not every payment waits")
    return count


def _run(kit: Kit) -> dict[str, float]:
    figures: dict[str, float] = {}
    with kit.node() as server:
        # Sent before there is a peer, which would be told of them all the while.
        facts = gather(server, kit, send_some(server, kit))
        with kit.node("peer", connect=(server,)):
            wait_for(lambda: server.call("getconnectioncount") or None, "the peer is there")
            for read in READS_OF_BOTH:
                bodies = bodies_of(read.method, read.params(facts))
                outcome = load(
                    server, kit.directory, bodies, CONNECTIONS, UNLIMITED, kit.sizes.read_s
                )
                figures[READ + read.key] = outcome.rate
                figures[READ + read.key + READ_P99] = outcome.p99_ms
    return figures


def _quantities() -> Iterator[Quantity]:
    for read in READS_OF_BOTH:
        yield Quantity(READ + read.key, read.title, "/s", True, {PEER: 1.0})
        yield Quantity(READ + read.key + READ_P99, f"{read.title}: p99", "ms")


ALL_READS = Benchmark("allreads", tuple(_quantities()), {OURS: _run, PEER: _run})
