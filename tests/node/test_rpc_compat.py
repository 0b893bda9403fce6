"""What unmodified programs for Bitcoin read: a field that goes missing here breaks one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from consensus.hashes import to_text
from consensus.params import COIN
from tests.node.rpc_kit import Bench, with_node
from tests.support.chain import ALICE, BOB, ToyChain

GETINFO = {
    "getnetworkinfo": "version timeoffset connections connections_in connections_out networks"
    " relayfee warnings",
    "getblockchaininfo": "blocks headers verificationprogress difficulty chain",
}
"""`bitcoin-cli -getinfo`."""

NETINFO = {
    "getpeerinfo": "network inbound connection_type id version conntime last_block lastrecv"
    " lastsend last_transaction addr subver servicesnames bip152_hb_to bip152_hb_from",
    "getnetworkinfo": "version protocolversion localaddresses",
}
"""`bitcoin-cli -netinfo`."""

EXPLORER = {
    "getnetworkinfo": "subversion version protocolversion localservicesnames connections",
    "getblockchaininfo": "chain blocks pruned headers difficulty",
    "getindexinfo": "txindex",
    "getmempoolinfo": "size bytes",
    "getmininginfo": "networkhashps",
    "getnettotals": "totalbytesrecv totalbytessent",
    "getpeerinfo": "addr subver",
    "estimatesmartfee 2 CONSERVATIVE": "feerate",
    "getblockheader {block}": "height",
    "getblock {block}": "hash confirmations height merkleroot difficulty nTx tx chainwork",
    "getblockstats 102": "subsidy total_out totalfee",
    "getblockstats {block}": "subsidy total_out totalfee",
    "getrawtransaction {mined} 1": "txid hex size vsize vin vout blockhash confirmations",
    "getrawtransaction {mined} 1 {block}": "txid vsize vin vout",
    "getrawtransaction {waiting} 1": "txid hex size vsize vin vout",
    "gettxout {mined} 0": "value scriptPubKey",
    "getmempoolentry {waiting}": "fees ancestorsize depends time weight",
    "getmempoolancestors {waiting}": "",
    "getmempooldescendants {waiting}": "",
    "getblocktemplate": "transactions coinbasevalue height",
    "validateaddress {address}": "isvalid scriptPubKey",
}
"""The pages of btc-rpc-explorer: call → fields whose absence breaks the page."""


async def _ask_all(bench: Bench, table: dict[str, str], names: dict[str, str]) -> None:
    for line, fields in table.items():
        method, *params = line.format(**names).split()
        answer: Any = await bench.call(method, *params)
        shown = answer[0] if method == "getpeerinfo" else answer
        missing = [field for field in fields.split() if field not in shown]
        assert not missing, f"{line} lacks {missing}"


@pytest.mark.parametrize(
    "table", [GETINFO, NETINFO, EXPLORER], ids=["getinfo", "netinfo", "explorer"]
)
def test_programs_find_the_fields_that_they_read(tmp_path: Path, table: dict[str, str]) -> None:
    async def scenario(bench: Bench) -> None:
        mined = bench.chain.pay(ALICE, BOB, COIN)
        await bench.mine(mined)
        names = {
            "block": to_text(bench.chain.tip.hash),
            "mined": to_text(mined.txid),
            "waiting": bench.send(bench.chain.pay(ALICE, BOB, COIN)),
            "address": BOB.address(),
        }
        await _ask_all(bench, table, names)

    chain = ToyChain()
    chain.fund(ALICE)
    with_node(tmp_path, scenario, chain=chain)


def test_network_information_looks_like_a_bitcoin_core_that_clients_know(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        info = await bench.call("getnetworkinfo")
        assert info["version"] >= 209_900
        assert all({"name", "proxy", "reachable"} <= set(each) for each in info["networks"])

    with_node(tmp_path, scenario)


def test_the_script_of_an_address_is_the_same_wherever_it_is_shown(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        txid = to_text(bench.chain.blocks[bench.chain.tip.hash].txs[0].txid)
        script = (await bench.call("validateaddress", BOB.address()))["scriptPubKey"]
        output = (await bench.call("getrawtransaction", txid, 1))["vout"][0]
        assert output["scriptPubKey"]["hex"] == script
        assert (await bench.call("gettxout", txid, 0))["scriptPubKey"]["hex"] == script
        utxo = (await bench.call("getaddressutxos", BOB.address()))["utxos"][0]
        assert utxo["script"] == script

    chain = ToyChain()
    chain.mine((), BOB.lock)
    with_node(tmp_path, scenario, chain=chain)
