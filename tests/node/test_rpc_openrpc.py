"""What the table says of methods beside names: errors and examples, tried on a node."""

from __future__ import annotations

import json as standard_json
from pathlib import Path
from typing import Annotated, Literal, NotRequired, TypedDict

import pytest

from node.rpc import json
from node.rpc.described import ByArgument, Hash, Says, Shown, result_of
from node.rpc.errors import Code
from node.rpc.examples import EXAMPLES, Example
from node.rpc.method import describe_result
from node.rpc.methods import METHODS
from node.rpc.openrpc import errors_of
from node.rpc.schema import Schemas, all_objects, words
from tests.node.rpc_kit import Bench, with_node
from tests.support.chain import ALICE, ToyChain

VALUES: list[object] = [
    "00" * 32, "ff" * 32, "00", "", "x", -1, 0, 10**9, 2**70, True, None, [], ["00"], {}, 1.5,
    {"mode": "proposal"}, {"address": "x"}, {"address": 5}, {"addresses": ["x"]}, ALICE.address(),
    {"addresses": [ALICE.address()], "cursor": "00"}, "add", "10.1.1.1", "/nowhere/at/all",
]  # fmt: skip


class Inner(TypedDict):
    """Something within."""

    a: Hash


class Outer(TypedDict):
    """Something around it."""

    kind: Literal["x", "y"]
    b: NotRequired[Annotated[list[Inner], Says("some of them")]]
    c: dict[str, float | None]


def outer(node: object) -> Annotated[object, Shown(Outer)]: ...


def either(
    node: object, full: bool = False
) -> Annotated[object, ByArgument("full", {False: str, True: list[Inner]})]: ...


def test_schema_of_an_object_names_its_members_and_what_must_be_there() -> None:
    schemas = Schemas()
    assert schemas.of(result_of(outer)) == {"$ref": "#/components/schemas/Outer"}
    assert schemas.components["Outer"] == {
        "type": "object",
        "description": "Something around it.",
        "properties": {
            "kind": {"type": "string", "enum": ["x", "y"]},
            "b": {
                "description": "some of them",
                "type": "array",
                "items": {"$ref": "#/components/schemas/Inner"},
            },
            "c": {
                "type": "object",
                "additionalProperties": {"anyOf": [{"type": "number"}, {"type": "null"}]},
            },
        },
        "required": ["kind", "c"],
    }
    assert schemas.components["Inner"]["properties"] == {"a": {"$ref": "#/components/schemas/Hash"}}


def test_schema_says_which_parameter_chooses_the_shape() -> None:
    first, second = Schemas().of(result_of(either))["anyOf"]
    assert (first["description"], first["allOf"]) == ("with `full` false", [{"type": "string"}])
    assert second["description"] == "with `full` true"


def test_objects_within_objects_are_found() -> None:
    assert all_objects([result_of(outer)]) == [Inner, Outer]
    assert all_objects([result_of(either)]) == [Inner]


def test_shapes_are_told_in_words() -> None:
    assert words(result_of(outer)) == "Outer"
    assert words(list[Inner] | None) == "array of Inner or null"
    assert describe_result(result_of(outer))[-2:] == [
        "  b (array of Inner, optional) – some of them",
        "  c (object of number or null)",
    ]


def test_names_of_objects_are_unique() -> None:
    names = [shape.__name__ for shape in all_objects(method.result for method in METHODS.values())]
    assert len(names) == len(set(names))


def test_every_object_says_what_it_is() -> None:
    shapes = all_objects(method.result for method in METHODS.values())
    assert not [shape for shape in shapes if not (shape.__doc__ or "").strip().endswith(".")]


@pytest.mark.parametrize("example", EXAMPLES, ids=[each.method for each in EXAMPLES])
def test_node_answers_as_the_examples_say(tmp_path: Path, example: Example) -> None:
    async def scenario(bench: Bench) -> None:
        found = await bench.call(example.method, *example.params)
        assert found == standard_json.loads(json.encode(example.result), parse_float=str)

    with_node(tmp_path, scenario)


@pytest.mark.parametrize("indexed", [True, False])
def test_methods_answer_no_error_that_they_do_not_name(tmp_path: Path, indexed: bool) -> None:
    async def scenario(bench: Bench) -> None:
        unnamed = set()
        for name, method in METHODS.items():
            named = {int(code) for code in errors_of(method)} | {0}
            assert Code.INTERNAL in named, "as any method may, and none should"
            for value in VALUES:
                for count in range(len(method.arguments) + 1):
                    for rest in (value, *VALUES[:6]):
                        code = await bench.code(name, *[value, *[rest] * 4][:count])
                        assert code != Code.INTERNAL, (name, value, rest, count)
                        if code not in named:
                            unnamed.add((name, code))
        assert not unnamed

    chain = ToyChain()
    chain.fund(ALICE)
    with_node(tmp_path, scenario, chain=chain, indexed=indexed)
