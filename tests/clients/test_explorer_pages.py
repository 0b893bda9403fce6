"""The pages of btc-rpc-explorer 3.5: what each asks of a node, and the fields that it cannot do without.

Found by running the explorer and taking away one field after the other. Its address page asks an Electrum
server beside the node; what it asks of the node is here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import pytest

from consensus.hashes import from_text
from tests.clients.served import Served
from tests.support.daemon import RpcFailure

Calls = Mapping[str, str]
"""Call → fields. A path leads through objects; `[]` stands for every member of an array, which must have
one. `a|b` wants one of the two."""

SHOWN_TX = (
    "txid hash size vsize version locktime vin vout vout[].value vout[].n vout[].scriptPubKey.asm"
)
SHOWN_TX += " vout[].scriptPubKey.hex vout[].scriptPubKey.type"
CONFIRMED_TX = f"{SHOWN_TX} hex blockhash confirmations time"
SPENDING_TX = "vin[].txid vin[].vout vin[].sequence"

BLOCK_CALLS: Calls = {
    "getblockhash {height}": "",
    "getblockheader {block}": "height hash time previousblockhash",
    "getblock {block}": "hash confirmations height version merkleroot time mediantime nonce bits difficulty"
    " chainwork nTx previousblockhash size weight tx[]",
    "getblockstats {height}": "subsidy total_out totalfee avgfee avgfeerate minfee maxfee minfeerate"
    " maxfeerate feerate_percentiles[] ins outs txs utxo_increase",
    "getrawtransaction {coinbase} 1": f"{CONFIRMED_TX} vin[].coinbase vout[].scriptPubKey.address",
}

PAGES: Mapping[str, Calls] = {
    "start of the explorer": {
        "getblockcount": "",
        "getnetworkinfo": "subversion version protocolversion localservicesnames[]",
        "getblockchaininfo": "chain blocks pruned",
        "getindexinfo": "txindex",
    },
    "/": {
        "getblockchaininfo": "blocks headers difficulty chain verificationprogress",
        "getmempoolinfo": "size bytes usage maxmempool mempoolminfee",
        "getmininginfo": "networkhashps",
        "estimatesmartfee 1 CONSERVATIVE": "feerate|errors",
        "estimatesmartfee 6 CONSERVATIVE": "feerate|errors",
        "estimatesmartfee 144 CONSERVATIVE": "feerate|errors",
        "estimatesmartfee 1008 CONSERVATIVE": "feerate|errors",
        "getnetworkhashps 144": "",
        "getnetworkhashps 1008": "",
        **BLOCK_CALLS,
    },
    "/blocks": BLOCK_CALLS,
    "/block": {
        **BLOCK_CALLS,
        "getblockstats {block}": "subsidy total_out totalfee",
        "getrawtransaction {mined} 1 {block}": f"{SHOWN_TX} {SPENDING_TX}",
        "getrawtransaction {issued} 1 {block}": f"{SHOWN_TX} {SPENDING_TX} vout[].value",
    },
    "/tx, confirmed": {
        "getrawtransaction {mined} 1": f"{CONFIRMED_TX} {SPENDING_TX}",
        "getrawtransaction {issued} 1": f"{CONFIRMED_TX} {SPENDING_TX}",
        "getblockheader {block}": "height time",
        "gettxout {mined} 1": "value scriptPubKey bestblock confirmations coinbase",
    },
    "/tx, in the mempool": {
        "getrawtransaction {child} 1": f"{SHOWN_TX} {SPENDING_TX} hex",
        "getrawtransaction {parent} 1": f"{SHOWN_TX} {SPENDING_TX} hex",
        "getmempoolentry {child}": "fees.base fees.modified fees.ancestor fees.descendant vsize weight time"
        " height ancestorcount ancestorsize descendantcount descendantsize depends[]",
        "getmempoolancestors {child}": "[]",
        "getmempooldescendants {parent}": "[]",
        "gettxout {child} 0": "value confirmations",
    },
    "/address": {"validateaddress {address}": "isvalid address scriptPubKey iswitness witness_version"},
    "/mempool-summary": {
        "getrawmempool false": "[]",
        "getmempoolinfo": "size bytes",
        "getmempoolentry {parent}": "fees.modified fees.ancestor ancestorsize depends spentby[] time weight",
        "getmempoolentry {child}": "fees.modified fees.ancestor ancestorsize depends[] time weight",
    },
    "/next-block": {
        'getblocktemplate {{"rules":["segwit"]}}': "transactions[].txid transactions[].fee"
        " transactions[].weight transactions[].depends coinbasevalue height",
    },
    "/mining-summary": {"getblockstats {height}": "subsidy totalfee total_weight txs"},
    "/peers": {
        "getpeerinfo": "[].addr [].subver [].services [].servicesnames[] [].version [].conntime [].inbound",
        "getnettotals": "totalbytesrecv totalbytessent timemillis",
    },
    "/node-details": {
        "getblockchaininfo": "chain blocks headers bestblockhash mediantime initialblockdownload chainwork",
        "getnetworkinfo": "connections relayfee warnings networks[].name localaddresses[].address",
        "getnettotals": "totalbytesrecv totalbytessent",
        "uptime": "",
        "getpeerinfo": "[].addr",
    },
    "/rpc-browser": {"help": "", "help getblock": "", "help getblocktemplate": ""},
}  # fmt: skip


MINIMAL_SET = {
    "estimatesmartfee", "getblock", "getblockchaininfo", "getblockcount", "getblockhash", "getblockheader",
    "getblockstats", "getblocktemplate", "getindexinfo", "getmempoolancestors", "getmempooldescendants",
    "getmempoolentry", "getmempoolinfo", "getmininginfo", "getnettotals", "getnetworkhashps",
    "getnetworkinfo", "getpeerinfo", "getrawmempool", "getrawtransaction", "gettxout", "help", "uptime",
    "validateaddress",
}  # fmt: skip
"""Without any one of these a page breaks."""


def ask(node: Served, line: str) -> Any:
    """The answer to a line of words, as the explorer sends them: numbers as numbers."""
    method, *words = line.format(**node.names).split()
    params: list[object] = []
    for word in words:
        if word in ("true", "false"):
            params.append(word == "true")
        elif word.startswith("{"):
            params.append({"rules": ["segwit"]})
        else:
            params.append(int(word) if word.isdecimal() and len(word) < 9 else word)
    return node.daemon.call(method, *params)


def find(value: Any, path: str) -> Iterator[Any]:
    """What stands at the end of a path; nothing if it is not there."""
    step, _, rest = path.partition(".")
    name, is_array = step.removesuffix("[]"), step.endswith("[]")
    if name and not (isinstance(value, dict) and name in value):
        return
    value = value[name] if name else value
    for each in value if is_array else [value]:
        if rest:
            yield from find(each, rest)
        else:
            yield each


def lacks(answer: Any, path: str) -> bool:
    """Whether the field is missing, of any member where the path leads through arrays."""
    if "|" in path:
        return all(lacks(answer, each) for each in path.split("|"))
    *before, last = path.split(".")
    holders = list(find(answer, ".".join(before))) if before else [answer]
    return not holders or any(not list(find(each, last)) for each in holders)


@pytest.mark.parametrize("page", PAGES)
def test_page_finds_every_field_that_it_shows(node: Served, page: str) -> None:
    missing = []
    for line, fields in PAGES[page].items():
        answer = ask(node, line)
        missing += [f"{line}: {path}" for path in fields.split() if lacks(answer, path)]
    assert not missing


def test_every_call_of_the_minimal_set_stands_on_a_page() -> None:
    asked = {line.split()[0] for calls in PAGES.values() for line in calls}
    assert asked >= MINIMAL_SET


def test_waiting_transaction_has_no_confirmations_at_all(node: Served) -> None:
    assert not {"confirmations", "blockhash"} & set(ask(node, "getrawtransaction {child} 1"))


def test_values_add_up_in_native_coins_whatever_assets_move(node: Served) -> None:
    # The explorer takes the fee to be what goes in less what comes out.
    for name in ("mined", "issued"):
        tx = ask(node, f"getrawtransaction {{{name}}} 2")
        spent = sum(Decimal(str(each["prevout"]["value"])) for each in tx["vin"])
        made = sum(Decimal(str(each["value"])) for each in tx["vout"])
        assert spent - made == Decimal(str(tx["fee"])) > 0


def test_script_of_an_address_is_the_same_in_every_answer(node: Served) -> None:
    script = ask(node, "validateaddress {address}")["scriptPubKey"]
    output = ask(node, "getrawtransaction {mined} 1")["vout"][0]["scriptPubKey"]
    assert output["hex"] == script
    assert output["address"] == node.names["address"]
    assert len(from_text(script)) == 34


def test_template_names_a_parent_before_its_child(node: Served) -> None:
    template = ask(node, 'getblocktemplate {{"rules":["segwit"]}}')
    assert [each["txid"] for each in template["transactions"]] == [
        node.names["parent"], node.names["child"],
    ]  # fmt: skip
    assert template["transactions"][1]["depends"] == [1]


@pytest.mark.parametrize("method", ["getwalletinfo", "getbalances", "listunspent"])
def test_what_the_node_does_not_have_is_an_unknown_method(node: Served, method: str) -> None:
    with pytest.raises(RpcFailure) as raised:
        node.daemon.call(method)
    assert raised.value.code == -32601
