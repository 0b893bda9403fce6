"""Calls of every method, in an order in which a node can answer them all."""

from __future__ import annotations

import http.client
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.clients.served import Served
from tests.support.daemon import RpcFailure, wait_for
from tests.support.stratum_miner import StratumMiner

CALLS: Sequence[tuple[str, *tuple[object, ...]]] = (
    ("getreadiness",),
    ("watchaddress", "{address}", "shop", 0),
    ("getblockchaininfo",),
    ("getblockcount",),
    ("getbestblockhash",),
    ("getblockhash", 0),
    ("getblockheader", "{block}"),
    ("getblockheader", "{first}"),
    ("getblockheader", "{block}", False),
    ("getblock", "{block}", 0),
    ("getblock", "{block}"),
    ("getblock", "{before}"),
    ("getblock", "{before}", 2),
    ("getblock", "{block}", 2),
    ("getblockstats",),
    ("getblockstats", "{block}", ["txs", "ins"]),
    ("getblockstats", 0),
    ("getchaintips",),
    ("getdifficulty",),
    ("gettxout", "{mined}", 0),
    ("gettxout", "{issued}", 0),
    ("gettxout", "{child}", 0),
    ("gettxout", "{child}", 2),
    ("gettxout", "{first}", 0),
    ("gettxoutsetinfo",),
    ("getindexinfo",),
    ("getindexinfo", "txindex"),
    ("getrawtransaction", "{mined}"),
    ("getrawtransaction", "{mined}", 1),
    ("getrawtransaction", "{issued}", 2),
    ("getrawtransaction", "{child}", 1),
    ("getrawtransaction", "{child}", 2),
    ("getrawtransaction", "{parent}", 2),
    ("getrawtransaction", "{coinbase}", 2),
    ("getrawtransaction", "{mined}", 2, "{block}"),
    ("decoderawtransaction", "{bare}"),
    ("decoderawtransaction", "{issue}"),
    ("testmempoolaccept", ["{bare}"]),
    ("testmempoolaccept", ["00", "{raw}"]),
    ("sendrawtransaction", "{raw}"),
    ("gettxoutproof", ["{mined}"]),
    ("verifytxoutproof", "{proof}"),
    ("getmempoolinfo",),
    ("getrawmempool",),
    ("getrawmempool", True),
    ("getrawmempool", False, True),
    ("getmempoolentry", "{parent}"),
    ("getmempoolentry", "{child}"),
    ("getmempoolancestors", "{child}"),
    ("getmempoolancestors", "{child}", True),
    ("getmempooldescendants", "{parent}"),
    ("getmempooldescendants", "{parent}", True),
    ("estimatesmartfee", 2),
    ("estimatesmartfee", 1008, "ECONOMICAL"),
    ("validateaddress", "{address}"),
    ("validateaddress", "nonsense"),
    ("getaddressbalance", "{address}"),
    ("getaddressbalance", ["{address}"]),
    ("getaddressbalance", {"addresses": ["{address}"]}),
    ("getaddressutxos", "{address}"),
    ("getaddressutxos", "{address}", 1),
    ("getaddressutxos", "{miner}", 2),
    ("getaddresstxids", "{address}"),
    ("getaddresstxids", "{address}", 1),
    ("getaddressdeltas", "{address}"),
    ("getaddressdeltas", "{address}", 1),
    ("getaddressmempool", "{address}"),
    ("getaddressmempool", "{address}", 1),
    ("listassets",),
    ("listassets", 1),
    ("getasset", "{gold}"),
    ("getasset", ""),
    ("getasset", "{authority}"),
    ("getmininginfo",),
    ("getnetworkhashps",),
    ("getnetworkhashps", 10, 5),
    ("getblocktemplate",),
    ("getblocktemplate", {"rules": ["segwit"], "address": "{address}"}),
    ("sendrawtransaction", "{dearer}"),
    ("submitblock", "{old}"),
    ("submitblock", "{next}"),
    ("submitblock", "{fork1}"),
    ("submitblock", "{fork2}"),
    ("submitblock", "{fork3}"),
    ("getstratuminfo",),
    ("generatetoaddress", 1, "{address}"),
    ("getpeerinfo",),
    ("getconnectioncount",),
    ("getnetworkinfo",),
    ("getnettotals",),
    ("addnode", "127.0.0.1:1", "onetry"),
    ("disconnectnode", "", 1),
    ("ping",),
    ("getzmqnotifications",),
    ("watchaddresses", ["{address}", "{miner}"]),
    ("listwatched",),
    ("listwatched", 1),
    ("ackevents", "shop", 1),
    ("listconsumers",),
    ("getevents", 0, 1000),
    ("getevents", None, 10, 1, ["payment_seen"], "shop"),
    ("geteventsinfo",),
    ("removeconsumer", "shop"),
    ("addwebhook", "{hook}", ["payment_seen"]),
    ("listwebhooks",),
    ("removewebhook", "none"),
    ("unwatchaddress", "{address}"),
    ("rpc.discover",),
    ("help",),
    ("help", "getblock"),
    ("backup", "{backup}"),
    ("getbackupinfo",),
    ("uptime",),
    ("stop",),
)  # fmt: skip
"""Method and parameters; `{…}` are names of what the node has. The last one stops it."""


def fill(value: Any, names: Mapping[str, str]) -> Any:
    """`value` with the names in it replaced."""
    match value:
        case str():
            return value.format(**names)
        case list():
            return [fill(each, names) for each in value]
        case dict():
            return {key: fill(each, names) for key, each in value.items()}
        case _:
            return value


@contextmanager
def calling(node: Served, folder: Path) -> Iterator[Iterator[tuple[str, list[Any]]]]:
    """Methods and parameters one after the other, while a miner is connected. `folder` is for a backup."""
    names = {**node.names, "backup": str(folder / "copy"), "hook": "http://127.0.0.1:9/"}
    names["proof"] = node.daemon.call("gettxoutproof", [names["mined"]])

    def each() -> Iterator[tuple[str, list[Any]]]:
        for method, *params in CALLS:
            yield method, fill(params, names)
            wait_for(lambda: not is_looking_back(node), "the event log has told what was")

    with StratumMiner(node.daemon.doors["stratum"], f"{node.names['address']}.rig"):
        yield each()


def is_looking_back(node: Served) -> bool:
    """Whether the event log still looks through the past of an address; not of a node that stops."""
    try:
        return bool(node.daemon.call("geteventsinfo")["scanning"])
    except (RpcFailure, OSError, http.client.HTTPException):
        return False
