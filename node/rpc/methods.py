"""Every method, in one table.

To add one: write a function whose first parameter is the node and whose docstring says what it
answers, and add its row: name, function, role, category, and the errors that are its own. Parameters,
results, their checks, help, docs/rpc.md, `rpc.discover` and the wallet's typed client follow from it.
"""

from __future__ import annotations

from node.rpc import (
    methods_address,
    methods_asset,
    methods_chain,
    methods_control,
    methods_events,
    methods_mempool,
    methods_mining,
    methods_network,
    methods_proof,
    methods_tx,
)
from node.rpc.errors import Code
from node.rpc.method import Method, Role, table

READ, ADMIN = Role.READ, Role.ADMIN

UNKNOWN = (Code.ADDRESS_OR_KEY,)
IMPOSSIBLE = (Code.PARAMETER,)
NOT_HERE = (Code.MISC,)
GARBLED = (Code.DESERIALIZATION,)
STALE = (Code.REJECTED,)
REFUSED = (Code.VERIFY, Code.REJECTED, Code.ALREADY_CONFIRMED)
LISTED = (Code.NODE_ALREADY_ADDED, Code.NODE_NOT_ADDED)
LOST = (Code.EVENTS_LOST,)
UNCONNECTED = (Code.NODE_NOT_CONNECTED,)
NO_METHOD = (Code.METHOD_NOT_FOUND,)

METHODS = table(
    [
        Method("getblockchaininfo", methods_chain.getblockchaininfo, READ, "chain"),
        Method("getblockcount", methods_chain.getblockcount, READ, "chain"),
        Method("getbestblockhash", methods_chain.getbestblockhash, READ, "chain"),
        Method("getblockhash", methods_chain.getblockhash, READ, "chain", IMPOSSIBLE),
        Method("getblockheader", methods_chain.getblockheader, READ, "chain", UNKNOWN),
        Method("getblock", methods_chain.getblock, READ, "chain", UNKNOWN + NOT_HERE),
        Method("getblockstats", methods_chain.getblockstats, READ, "chain", UNKNOWN + IMPOSSIBLE + NOT_HERE),
        Method("getchaintips", methods_chain.getchaintips, READ, "chain"),
        Method("getdifficulty", methods_chain.getdifficulty, READ, "chain"),
        Method("gettxout", methods_chain.gettxout, READ, "chain", NOT_HERE),
        Method("gettxoutsetinfo", methods_chain.gettxoutsetinfo, READ, "chain"),
        Method("getindexinfo", methods_chain.getindexinfo, READ, "chain"),
        Method("getrawtransaction", methods_tx.getrawtransaction, READ, "transactions", UNKNOWN + NOT_HERE),
        Method("decoderawtransaction", methods_tx.decoderawtransaction, READ, "transactions", GARBLED),
        Method("testmempoolaccept", methods_tx.try_mempool, READ, "transactions", IMPOSSIBLE),
        Method("sendrawtransaction", methods_tx.sendrawtransaction, ADMIN, "transactions", GARBLED + REFUSED),
        Method("gettxoutproof", methods_proof.gettxoutproof, READ, "transactions", UNKNOWN + NOT_HERE),
        Method("verifytxoutproof", methods_proof.verifytxoutproof, READ, "transactions", GARBLED),
        Method("getmempoolinfo", methods_mempool.getmempoolinfo, READ, "mempool"),
        Method("getrawmempool", methods_mempool.getrawmempool, READ, "mempool", IMPOSSIBLE),
        Method("getmempoolentry", methods_mempool.getmempoolentry, READ, "mempool", UNKNOWN),
        Method("getmempoolancestors", methods_mempool.getmempoolancestors, READ, "mempool", UNKNOWN),
        Method("getmempooldescendants", methods_mempool.getmempooldescendants, READ, "mempool", UNKNOWN),
        Method("estimatesmartfee", methods_mempool.estimatesmartfee, READ, "mempool"),
        Method("validateaddress", methods_address.validateaddress, READ, "addresses"),
        Method("getaddressbalance", methods_address.getaddressbalance, READ, "addresses", NOT_HERE),
        Method("getaddressutxos", methods_address.getaddressutxos, READ, "addresses", IMPOSSIBLE),
        Method("getaddresstxids", methods_address.getaddresstxids, READ, "addresses", IMPOSSIBLE + NOT_HERE),
        Method(
            "getaddressdeltas", methods_address.getaddressdeltas, READ, "addresses", IMPOSSIBLE + NOT_HERE,
        ),
        Method("getaddressmempool", methods_address.getaddressmempool, READ, "addresses", IMPOSSIBLE),
        Method("listassets", methods_asset.listassets, READ, "assets", IMPOSSIBLE),
        Method("getasset", methods_asset.getasset, READ, "assets", UNKNOWN),
        Method("getmininginfo", methods_mining.getmininginfo, READ, "mining"),
        Method("getnetworkhashps", methods_mining.getnetworkhashps, READ, "mining", IMPOSSIBLE),
        Method(
            "getblocktemplate", methods_mining.getblocktemplate, READ, "mining", UNKNOWN + IMPOSSIBLE + STALE,
        ),
        Method("submitblock", methods_mining.submitblock, ADMIN, "mining"),
        Method("getstratuminfo", methods_mining.getstratuminfo, READ, "mining"),
        Method("generatetoaddress", methods_mining.generatetoaddress, ADMIN, "mining", NOT_HERE),
        Method("getpeerinfo", methods_network.getpeerinfo, READ, "network"),
        Method("getconnectioncount", methods_network.getconnectioncount, READ, "network"),
        Method("getnetworkinfo", methods_network.getnetworkinfo, READ, "network"),
        Method("getnettotals", methods_network.getnettotals, READ, "network"),
        Method("getzmqnotifications", methods_network.getzmqnotifications, READ, "network"),
        Method("addnode", methods_network.addnode, ADMIN, "network", IMPOSSIBLE + LISTED),
        Method("disconnectnode", methods_network.disconnectnode, ADMIN, "network", UNCONNECTED),
        Method("ping", methods_network.ping, ADMIN, "network"),
        Method("watchaddress", methods_events.watchaddress, ADMIN, "events", IMPOSSIBLE + NOT_HERE),
        Method("watchaddresses", methods_events.watchaddresses, ADMIN, "events", IMPOSSIBLE + NOT_HERE),
        Method("unwatchaddress", methods_events.unwatchaddress, ADMIN, "events", NOT_HERE),
        Method("listwatched", methods_events.listwatched, READ, "events", IMPOSSIBLE + NOT_HERE),
        Method("getevents", methods_events.getevents, READ, "events", IMPOSSIBLE + NOT_HERE + LOST),
        Method("geteventsinfo", methods_events.geteventsinfo, READ, "events", NOT_HERE),
        Method("ackevents", methods_events.ackevents, ADMIN, "events", IMPOSSIBLE + NOT_HERE),
        Method("listconsumers", methods_events.listconsumers, READ, "events", NOT_HERE),
        Method("removeconsumer", methods_events.removeconsumer, ADMIN, "events", NOT_HERE),
        Method("addwebhook", methods_events.addwebhook, ADMIN, "events", IMPOSSIBLE + NOT_HERE),
        Method("removewebhook", methods_events.removewebhook, ADMIN, "events", NOT_HERE),
        Method("listwebhooks", methods_events.listwebhooks, ADMIN, "events", NOT_HERE),
        Method("rpc.discover", methods_control.discover, READ, "control"),
        Method("help", methods_control.show_help, READ, "control", NO_METHOD),
        Method("backup", methods_control.backup, ADMIN, "control", IMPOSSIBLE),
        Method("getbackupinfo", methods_control.getbackupinfo, READ, "control"),
        Method("getreadiness", methods_control.getreadiness, READ, "control"),
        Method("uptime", methods_control.uptime, READ, "control"),
        Method("stop", methods_control.stop, ADMIN, "control"),
    ]
)  # fmt: skip
