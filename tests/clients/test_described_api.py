"""What a node says of its methods, held against what they answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from referencing import Registry
from referencing.jsonschema import DRAFT7

from node.rpc.methods import METHODS
from tests.clients.schemas import Described
from tests.clients.served import Served
from tests.support.daemon import wait_for

META_SCHEMA = Path(__file__).parent.parent / "vectors" / "openrpc" / "meta-schema.json"

Calls = Sequence[Sequence[object]]

CALLS: Mapping[str, Calls] = {
    "getblockchaininfo": [[]],
    "getblockcount": [[]],
    "getbestblockhash": [[]],
    "getblockhash": [[0]],
    "getblockheader": [["{block}"], ["{first}"], ["{block}", False]],
    "getblock": [["{block}", 0], ["{block}"], ["{before}"], ["{before}", 2], ["{block}", 2]],
    "getblockstats": [[], ["{block}", ["txs", "ins"]], [0]],
    "getchaintips": [[]],
    "getdifficulty": [[]],
    "gettxout": [["{mined}", 0], ["{issued}", 0], ["{child}", 0], ["{child}", 2], ["{first}", 0]],
    "gettxoutsetinfo": [[]],
    "getindexinfo": [[], ["txindex"]],
    "getrawtransaction": [
        ["{mined}"], ["{mined}", 1], ["{issued}", 2], ["{child}", 1], ["{child}", 2], ["{parent}", 2],
        ["{coinbase}", 2], ["{mined}", 2, "{block}"],
    ],
    "decoderawtransaction": [["{bare}"], ["{issue}"]],
    "testmempoolaccept": [[["{bare}"]], [["00", "{raw}"]]],
    "sendrawtransaction": [["{raw}"]],
    "getmempoolinfo": [[]],
    "getrawmempool": [[], [True], [False, True]],
    "getmempoolentry": [["{parent}"], ["{child}"]],
    "getmempoolancestors": [["{child}"], ["{child}", True]],
    "getmempooldescendants": [["{parent}"], ["{parent}", True]],
    "estimatesmartfee": [[2], [1_008, "ECONOMICAL"]],
    "validateaddress": [["{address}"], ["nonsense"]],
    "getaddressbalance": [["{address}"], [["{address}"]], [{"addresses": ["{address}"]}]],
    "getaddressutxos": [["{address}"], ["{address}", 1], ["{miner}", 2]],
    "getaddresstxids": [["{address}"], ["{address}", 1]],
    "getaddressdeltas": [["{address}"], ["{address}", 1]],
    "getaddressmempool": [["{address}"], ["{address}", 1]],
    "listassets": [[], [1]],
    "getasset": [["{gold}"], [""], ["{authority}"]],
    "getmininginfo": [[]],
    "getnetworkhashps": [[], [10, 5]],
    "getblocktemplate": [[], [{"rules": ["segwit"], "address": "{address}"}]],
    "submitblock": [["{old}"], ["{next}"]],
    "generatetoaddress": [[1, "{address}"]],
    "getpeerinfo": [[]],
    "getconnectioncount": [[]],
    "getnetworkinfo": [[]],
    "getnettotals": [[]],
    "addnode": [["127.0.0.1:1", "onetry"]],
    "disconnectnode": [["", 1]],
    "ping": [[]],
    "rpc.discover": [[]],
    "help": [[], ["getblock"]],
    "backup": [["{backup}"]],
    "getbackupinfo": [[]],
    "uptime": [[]],
    "stop": [[]],
}  # fmt: skip
"""Calls of every method, as a node can answer them in this order; `{…}` are names of what it has."""

DRAFT_7 = "http://json-schema.org/draft-07/schema#"
SCHEMA_OF_SCHEMAS: Mapping[str, object] = {
    "$schema": DRAFT_7,
    "allOf": [{"$ref": DRAFT_7}],
    "definitions": {"JSONSchemaObject": {"properties": {"$ref": {"type": "string"}}}},
}
"""What the meta-schema looks up in the network, with the place of it that it names."""


@pytest.fixture(scope="module")
def described(node: Served) -> Described:
    return Described(node.daemon.call("rpc.discover"))


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


def test_document_is_one_of_openrpc(node: Served) -> None:
    meta_schema = json.loads(META_SCHEMA.read_text()) | {"$schema": DRAFT_7}
    resource = DRAFT7.create_resource(SCHEMA_OF_SCHEMAS)
    registry: Registry[Any] = Registry().with_resources(
        [
            ("https://meta.json-schema.tools", resource),
            ("https://meta.json-schema.tools/", resource),
        ]
    )
    validator = jsonschema.Draft7Validator(meta_schema, registry=registry)
    assert [each.message for each in validator.iter_errors(node.daemon.call("rpc.discover"))] == []
    assert list(validator.iter_errors({"openrpc": "1.3.2"})), "it would see that something lacks"


def test_document_names_every_method_once_and_in_order(described: Described) -> None:
    assert list(described.methods) == list(METHODS) == list(CALLS)


def test_every_schema_is_a_schema(node: Served) -> None:
    document = node.daemon.call("rpc.discover")
    for method in document["methods"]:
        for each in (*method["params"], method["result"]):
            jsonschema.Draft7Validator.check_schema(each["schema"])
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft7Validator.check_schema(schema)


def test_every_answer_is_as_described_and_shows_every_member(
    node: Served, described: Described, tmp_path: Path
) -> None:
    wait_for(
        lambda: "minping" in node.daemon.call("getpeerinfo")[0], "the peer has answered a ping"
    )
    names = {**node.names, "backup": str(tmp_path / "copy")}
    for method, calls in CALLS.items():
        for call in calls:
            params = fill(call, names)
            described.check_params(method, params)
            answer = node.daemon.call(method, *params)
            described.check(method, answer)
    members = {
        (name, member)
        for name, schema in described.objects.items()
        for member in schema["properties"]
    }
    assert not members - described.seen, "described, and never answered"
    assert node.daemon.wait() == 0
