"""JSON schemas (draft 7) of shapes, and shapes in words. `node.rpc.described` has the marks on them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from types import NoneType, UnionType
from typing import (
    Any,
    Literal,
    NamedTuple,
    NotRequired,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from node.rpc.described import ByArgument, Says, Scalar, Shown, marks_of

Schema = dict[str, Any]
COMPONENTS = "#/components/schemas/"

_PLAIN: Mapping[object, tuple[str, str]] = {
    NoneType: ("null", "null"),
    bool: ("boolean", "boolean"),
    int: ("integer", "integer"),
    float: ("number", "number"),
    str: ("string", "text"),
}
"""Type → its name in a schema, and in words."""


class Field(NamedTuple):
    """A member of a JSON object."""

    name: str
    shape: Any
    is_required: bool
    says: str
    """What it holds; empty where the name tells."""


def fields_of(shape: type) -> list[Field]:
    """The members of a TypedDict, those of its bases first."""
    hints = get_type_hints(shape, include_extras=True)
    is_total = bool(getattr(shape, "__total__", True))
    found = []
    for name, hint in hints.items():
        is_optional = get_origin(hint) is NotRequired
        inner = get_args(hint)[0] if is_optional else hint
        says = [mark.text for mark in marks_of(inner)[1] if isinstance(mark, Says)]
        found.append(Field(name, inner, is_total and not is_optional, says[-1] if says else ""))
    return found


def plain(hint: Any) -> tuple[Any, Scalar | None]:
    """What a shape is without marks that only say something, and its kind if that has a name."""
    inner, marks = marks_of(hint)
    for mark in marks:
        match mark:
            case Shown(shape):
                return plain(shape)
            case Scalar():
                return inner, mark
    return (NoneType if inner is None else inner), None


def alternatives(shape: ByArgument) -> list[tuple[list[bool | int], Any]]:
    """Shapes, each with the values of the parameter that choose it."""
    found: list[tuple[list[bool | int], Any]] = []
    for value, each in shape.shapes.items():
        if found and found[-1][1] == each:
            found[-1][0].append(value)
        else:
            found.append(([value], each))
    return found


def condition(argument: str, values: Iterable[bool | int]) -> str:
    """In words, such as "`verbosity` 1 or 2"."""
    return f"`{argument}` {' or '.join(str(value).lower() for value in values)}"


class Schemas:
    """Makes schemas; what has a name stands once, in `components`, and is referred to."""

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}

    def of(self, hint: Any) -> Schema:
        """The schema of a shape."""
        if isinstance(hint, ByArgument):
            return {
                "anyOf": [
                    {
                        "description": f"with {condition(hint.argument, values)}",
                        "allOf": [self.of(each)],
                    }
                    for values, each in alternatives(hint)
                ]
            }
        shape, scalar = plain(hint)
        if scalar is not None:
            return self._named(scalar.name, dict(scalar.schema))
        if is_typeddict(shape):
            return self._object(shape)
        origin, inner = get_origin(shape), get_args(shape)
        if origin is list:
            return {"type": "array", "items": self.of(inner[0])}
        if origin is dict:
            return {"type": "object", "additionalProperties": self.of(inner[1])}
        if origin is Literal:
            return {"type": "string", "enum": list(inner)}
        if origin in (Union, UnionType):
            return {"anyOf": [self.of(each) for each in inner]}
        return {"type": _PLAIN[shape][0]} if shape in _PLAIN else {}

    def _named(self, name: str, schema: Schema) -> Schema:
        self.components[name] = schema
        return {"$ref": COMPONENTS + name}

    def _object(self, shape: type) -> Schema:
        name = shape.__name__
        if name not in self.components:
            made: Schema = {"type": "object"}
            self.components[name] = made
            fields = fields_of(shape)
            made |= {
                "description": first_line(shape),
                "properties": {field.name: self._field(field) for field in fields},
                "required": [field.name for field in fields if field.is_required],
            }
        return {"$ref": COMPONENTS + name}

    def _field(self, field: Field) -> Schema:
        schema = self.of(field.shape)
        if not field.says:
            return schema
        # Beside a reference nothing else counts.
        return {"description": field.says, **({"allOf": [schema]} if "$ref" in schema else schema)}


def objects_in(shapes: Iterable[Any]) -> list[type]:
    """The objects that shapes name, but not those within their members, each once."""
    found: list[type] = []
    for hint in shapes:
        shape, _ = plain(hint)
        origin = get_origin(shape)
        inner = get_args(shape) if origin in (Union, UnionType, list, dict) else ()
        here = [shape] if is_typeddict(shape) else objects_in(inner)
        found += [each for each in here if each not in found]
    return found


def first_line(shape: type) -> str:
    """What its docstring says of an object."""
    return (inspect.getdoc(shape) or "").partition("\n")[0]


def all_objects(shapes: Iterable[Any]) -> list[type]:
    """Every object that shapes name, and those within their members, in order of names."""
    found: set[type] = set()
    waiting: list[Any] = []
    for shape in shapes:
        waiting += shape.shapes.values() if isinstance(shape, ByArgument) else [shape]
    while waiting:
        for each in objects_in([waiting.pop()]):
            if each not in found:
                found.add(each)
                waiting += [field.shape for field in fields_of(each)]
    return sorted(found, key=lambda shape: shape.__name__)


def words(hint: Any, link: Callable[[str], str] = str) -> str:
    """A shape in a few words, such as "array of Hash"; `link` writes the names of objects."""
    shape, scalar = plain(hint)
    if scalar is not None:
        return scalar.name
    if is_typeddict(shape):
        return link(shape.__name__)
    origin, inner = get_origin(shape), get_args(shape)
    if origin is list:
        return f"array of {words(inner[0], link)}"
    if origin is dict:
        return f"object of {words(inner[1], link)}"
    if origin is Literal:
        return ", ".join(inner)
    if origin in (Union, UnionType):
        return " or ".join(words(each, link) for each in inner)
    return _PLAIN[shape][1] if shape in _PLAIN else "any JSON"
