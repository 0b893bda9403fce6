"""What a node says of its methods, held against what they answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from referencing import Registry
from referencing.jsonschema import DRAFT7

from node.rpc.methods import METHODS
from tests.clients.calls import CALLS, calling
from tests.clients.schemas import Described
from tests.clients.served import Served
from tests.support.daemon import wait_for

META_SCHEMA = Path(__file__).parent.parent / "vectors" / "openrpc" / "meta-schema.json"

DRAFT_7 = "http://json-schema.org/draft-07/schema#"
SCHEMA_OF_SCHEMAS: Mapping[str, object] = {
    "$schema": DRAFT_7,
    "allOf": [{"$ref": DRAFT_7}],
    "definitions": {"JSONSchemaObject": {"properties": {"$ref": {"type": "string"}}}},
}
"""What the meta-schema looks up in the network, with the place of it that it names."""


@pytest.fixture(scope="module")
def node(own_node: Served) -> Served:
    return own_node


@pytest.fixture(scope="module")
def described(node: Served) -> Described:
    return Described(node.daemon.call("rpc.discover"))


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
    assert list(described.methods) == list(METHODS)
    assert {method for method, *_ in CALLS} == set(METHODS), "each is called below"


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
    with calling(node, tmp_path) as calls:
        for method, params in calls:
            described.check_params(method, params)
            described.check(method, node.daemon.call(method, *params))
    members = {
        (name, member)
        for name, schema in described.objects.items()
        for member in schema["properties"]
    }
    missing = sorted(members - described.seen)
    assert not missing, "described, and never answered"
    assert node.daemon.wait() == 0
