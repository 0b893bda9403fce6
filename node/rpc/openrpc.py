"""The OpenRPC document (spec.open-rpc.org, version 1.3.2), made from the table of methods."""

from __future__ import annotations

import msgspec

from node.rpc.errors import MEANINGS, Code
from node.rpc.examples import EXAMPLES
from node.rpc.json import Json, amount
from node.rpc.method import Method, Role
from node.rpc.params import AMOUNT_KIND, Argument
from node.rpc.schema import Schemas

OPENRPC_VERSION = "1.3.2"
_OF_EVERY_CALL = (
    Code.WARMING_UP, Code.INVALID_PARAMS, Code.DATABASE, Code.TOO_LARGE, Code.INTERNAL,
)  # fmt: skip
_ABOUT = """JSON-RPC of a Tael node, with the names and shapes of Bitcoin Core where it has the same thing.
Parameters come by place or by name; null means absent, and a string that holds the value is taken for it."""


class Description:
    """The document, made method by method, since all of them at once take twenty milliseconds."""

    def __init__(self) -> None:
        self._schemas = Schemas()
        self._methods: list[Json] = []
        self._categories: dict[str, Json] = {}

    def add(self, method: Method) -> None:
        """Describe one more method."""
        self._categories[method.category] = {"name": method.category}
        self._methods.append(_describe(method, self._schemas))

    def document(self, version: str) -> dict[str, Json]:
        """The whole of it. `version`: of the program."""
        errors = {
            code.name: {"code": int(code), "message": meaning} for code, meaning in MEANINGS.items()
        }
        return {
            "openrpc": OPENRPC_VERSION,
            "info": {
                "title": "Tael JSON-RPC",
                "description": _ABOUT,
                "version": version,
                "license": {"name": "Apache-2.0"},
            },
            "methods": self._methods,
            "components": {
                "schemas": self._schemas.components,
                "errors": errors,
                "tags": self._categories,
            },
        }


def errors_of(method: Method) -> list[Code]:
    """What it may answer instead of a result."""
    found = {*_OF_EVERY_CALL, *method.errors}
    for argument in method.arguments:
        found.update(argument.type.codes)
    if method.role is Role.ADMIN:
        found.add(Code.FORBIDDEN)
    return sorted(found, reverse=True)


def _describe(method: Method, schemas: Schemas) -> dict[str, Json]:
    shown: dict[str, Json] = {
        "name": method.name,
        "summary": method.description.partition("\n")[0],
        "description": method.description,
        "tags": [{"$ref": f"#/components/tags/{method.category}"}],
        "paramStructure": "either",
        "params": [_describe_argument(argument) for argument in method.arguments],
        "result": {"name": "result", "schema": schemas.of(method.result)},
        "errors": [{"$ref": f"#/components/errors/{code.name}"} for code in errors_of(method)],
        "x-role": method.role.name.lower(),
    }
    examples = [example for example in EXAMPLES if example.method == method.name]
    if examples:
        shown["examples"] = [
            {
                "name": example.name,
                "params": [
                    {"name": argument.name, "value": value}
                    for argument, value in zip(method.arguments, example.params, strict=False)
                ],
                "result": {"name": "result", "value": example.result},
            }
            for example in examples
        ]
    return shown


def _describe_argument(argument: Argument) -> dict[str, Json]:
    schema: dict[str, object] = {**argument.type.schema}
    if argument.default is not None:
        schema["default"] = _default(argument)
    shown: dict[str, Json] = {
        "name": argument.name,
        "description": argument.kind,
        "required": argument.required,
        "schema": schema,
    }
    others = [name for name in argument.names if name != argument.name]
    if others:
        shown["x-also"] = others
    return shown


def _default(argument: Argument) -> Json:
    default = argument.default
    if isinstance(default, int) and argument.kind == AMOUNT_KIND:
        return amount(default)
    shown: Json = msgspec.to_builtins(default)
    return shown
