"""Every method, in one table.

To add one: write a function whose first parameter is the node and whose docstring says what it
answers, and add its row. Parameters, their checks, help and docs/rpc.md follow from it.
"""

from __future__ import annotations

from node.rpc import (
    methods_address,
    methods_asset,
    methods_chain,
    methods_control,
    methods_mempool,
    methods_mining,
    methods_network,
    methods_tx,
)
from node.rpc.method import Method, Role, table

READ, ADMIN = Role.READ, Role.ADMIN

METHODS = table(
    [
        Method("getblockchaininfo", methods_chain.getblockchaininfo, READ, "chain"),
        Method("getblockcount", methods_chain.getblockcount, READ, "chain"),
        Method("getbestblockhash", methods_chain.getbestblockhash, READ, "chain"),
        Method("getblockhash", methods_chain.getblockhash, READ, "chain"),
        Method("getblockheader", methods_chain.getblockheader, READ, "chain"),
        Method("getblock", methods_chain.getblock, READ, "chain"),
        Method("getblockstats", methods_chain.getblockstats, READ, "chain"),
        Method("getchaintips", methods_chain.getchaintips, READ, "chain"),
        Method("getdifficulty", methods_chain.getdifficulty, READ, "chain"),
        Method("gettxout", methods_chain.gettxout, READ, "chain"),
        Method("gettxoutsetinfo", methods_chain.gettxoutsetinfo, READ, "chain"),
        Method("getindexinfo", methods_chain.getindexinfo, READ, "chain"),
        Method("getrawtransaction", methods_tx.getrawtransaction, READ, "transactions"),
        Method("decoderawtransaction", methods_tx.decoderawtransaction, READ, "transactions"),
        Method("testmempoolaccept", methods_tx.try_mempool, READ, "transactions"),
        Method("sendrawtransaction", methods_tx.sendrawtransaction, ADMIN, "transactions"),
        Method("getmempoolinfo", methods_mempool.getmempoolinfo, READ, "mempool"),
        Method("getrawmempool", methods_mempool.getrawmempool, READ, "mempool"),
        Method("getmempoolentry", methods_mempool.getmempoolentry, READ, "mempool"),
        Method("getmempoolancestors", methods_mempool.getmempoolancestors, READ, "mempool"),
        Method("getmempooldescendants", methods_mempool.getmempooldescendants, READ, "mempool"),
        Method("estimatesmartfee", methods_mempool.estimatesmartfee, READ, "mempool"),
        Method("validateaddress", methods_address.validateaddress, READ, "addresses"),
        Method("getaddressbalance", methods_address.getaddressbalance, READ, "addresses"),
        Method("getaddressutxos", methods_address.getaddressutxos, READ, "addresses"),
        Method("getaddresstxids", methods_address.getaddresstxids, READ, "addresses"),
        Method("getaddressdeltas", methods_address.getaddressdeltas, READ, "addresses"),
        Method("getaddressmempool", methods_address.getaddressmempool, READ, "addresses"),
        Method("listassets", methods_asset.listassets, READ, "assets"),
        Method("getasset", methods_asset.getasset, READ, "assets"),
        Method("getmininginfo", methods_mining.getmininginfo, READ, "mining"),
        Method("getnetworkhashps", methods_mining.getnetworkhashps, READ, "mining"),
        Method("getblocktemplate", methods_mining.getblocktemplate, READ, "mining"),
        Method("submitblock", methods_mining.submitblock, ADMIN, "mining"),
        Method("getstratuminfo", methods_mining.getstratuminfo, READ, "mining"),
        Method("generatetoaddress", methods_mining.generatetoaddress, ADMIN, "mining"),
        Method("getpeerinfo", methods_network.getpeerinfo, READ, "network"),
        Method("getconnectioncount", methods_network.getconnectioncount, READ, "network"),
        Method("getnetworkinfo", methods_network.getnetworkinfo, READ, "network"),
        Method("getnettotals", methods_network.getnettotals, READ, "network"),
        Method("addnode", methods_network.addnode, ADMIN, "network"),
        Method("disconnectnode", methods_network.disconnectnode, ADMIN, "network"),
        Method("ping", methods_network.ping, ADMIN, "network"),
        Method("help", methods_control.show_help, READ, "control"),
        Method("backup", methods_control.backup, ADMIN, "control"),
        Method("getbackupinfo", methods_control.getbackupinfo, READ, "control"),
        Method("uptime", methods_control.uptime, READ, "control"),
        Method("stop", methods_control.stop, ADMIN, "control"),
    ]
)
