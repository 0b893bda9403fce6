"""Write the wallet's typed client, `wallet/rpc/`, from the node's table of methods.

    python -m scripts.make_client                write wallet/rpc/*.py
    python -m scripts.make_client --check        only say whether they are what would be written

Every category of methods has a module: the objects that its answers are made of, as structs, and a class
with its methods. `wallet.client.Client` is made of those classes.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, is_typeddict

from node.rpc.described import ByArgument
from node.rpc.method import Method
from node.rpc.methods import METHODS
from node.rpc.params import Argument
from node.rpc.schema import (
    Field,
    all_objects,
    alternatives,
    fields_of,
    first_line,
    objects_in,
    plain,
)
from scripts.written import write_or_compare

FOLDER = Path(__file__).resolve().parent.parent / "wallet" / "rpc"
NAMES: Mapping[str, str] = {"rpc.discover": "discover"}
"""Methods whose names are none in Python."""
_INDENT = " " * 4
TEXT_WIDTH = 96
"""Of docstrings, without their indent."""


def category_of(shape: type) -> str:
    """The category whose module has an object: that of the module where the node has it."""
    return shape.__module__.rpartition(".")[2]


def python(hint: Any) -> str:
    """The annotation of a shape, as a client in Python has it."""
    shape, scalar = plain(hint)
    if scalar is not None:
        return "dict[str, Any]" if scalar.python is dict else scalar.python.__name__
    if is_typeddict(shape):
        return str(shape.__name__)
    origin, inner = get_origin(shape), get_args(shape)
    if origin is list:
        return f"list[{python(inner[0])}]"
    if origin is dict:
        return f"dict[str, {python(inner[1])}]"
    if origin is Literal:
        return "str"  # a later node may have more of them
    if origin in (Union, UnionType):
        return " | ".join(dict.fromkeys(python(each) for each in inner))
    return "None" if shape is NoneType else str(shape.__name__)


def render_object(shape: type) -> Iterator[str]:
    """A struct; members that are absent are None."""
    yield f"class {shape.__name__}(msgspec.Struct, frozen=True, kw_only=True):"
    yield f'{_INDENT}"""{first_line(shape)}"""'
    yield ""
    for field in fields_of(shape):
        yield f"{_INDENT}{_member(field)}"
        if field.says:
            yield f'{_INDENT}"""{field.says[0].upper()}{field.says[1:]}."""'
    yield ""


def _member(field: Field) -> str:
    name, shown = field.name.replace("-", "_"), python(field.shape)
    default = "" if field.is_required else "None"
    if not field.is_required and not shown.endswith("None"):
        shown += " | None"
    if name != field.name:
        inner = f"default={default}, " if default else ""
        default = f'msgspec.field({inner}name="{field.name}")'
    return f"{name}: {shown}" + (f" = {default}" if default else "")


def fill(description: str) -> str:
    """A docstring whose lines are short enough where the client has it."""
    paragraphs = [
        textwrap.fill(paragraph, TEXT_WIDTH, break_on_hyphens=False)
        if max(map(len, paragraph.splitlines())) > TEXT_WIDTH
        else paragraph
        for paragraph in description.split("\n\n")
    ]
    return "\n\n".join(paragraphs)


def render_method(method: Method) -> Iterator[str]:
    """A method, with an overload for each shape that a parameter chooses."""
    result = method.result
    if not isinstance(result, ByArgument):
        yield from _body(method, python(result), None)
        return
    for values, shape in alternatives(result):
        yield f"{_INDENT}@overload"
        yield f"{_signature(method, python(shape), (result.argument, values))} ..."
        yield ""
    shapes = dict.fromkeys(python(shape) for shape in result.shapes.values())
    yield from _body(method, " | ".join(shapes), result)


def _body(method: Method, answers: str, choice: ByArgument | None) -> Iterator[str]:
    yield _signature(method, answers, None if choice is None else (choice.argument, []))
    text = textwrap.indent(fill(method.description), _INDENT * 2).lstrip()
    yield f'{_INDENT * 2}"""{text}'
    yield f'{_INDENT * 2}"""'
    words = [f'"{method.name}"', *(argument.name for argument in method.arguments)]
    if choice is None:
        call = f"self.ask({answers}, {', '.join(words)})"
    else:
        yield f"{_INDENT * 2}shapes: Mapping[int, Any] = {{"
        for value, shape in choice.shapes.items():
            yield f"{_INDENT * 3}{value!r}: {python(shape)},"
        yield f"{_INDENT * 2}}}"
        call = f"self.ask_either(shapes, {choice.argument}, {', '.join(words)})"
    if answers == "None":
        yield f"{_INDENT * 2}await {call}"
    else:
        yield f"{_INDENT * 2}found: {answers} = await {call}"
        yield f"{_INDENT * 2}return found"
    yield ""


def _signature(method: Method, answers: str, chosen: tuple[str, Sequence[Any]] | None) -> str:
    """`chosen`: the parameter that chooses the shape, and for an overload its values."""
    words = ["self"]
    for argument in method.arguments:
        words.append(_parameter(argument, chosen))
    name = NAMES.get(method.name, method.name)
    return f"{_INDENT}async def {name}({', '.join(words)}) -> {answers}:"


def _parameter(argument: Argument, chosen: tuple[str, Sequence[Any]] | None) -> str:
    if chosen is not None and argument.name == chosen[0]:
        default = argument.default if isinstance(argument.default, bool) else int(_number(argument))
        values = chosen[1]
        shown = f"Literal[{', '.join(map(repr, values))}]" if values else argument.type.python
        return f"{argument.name}: {shown}" + (
            f" = {default!r}" if not values or default in values else ""
        )
    if argument.required:
        return f"{argument.name}: {argument.type.python}"
    return f"{argument.name}: {argument.type.python} | None = None"


def _number(argument: Argument) -> int:
    assert isinstance(argument.default, int), f"{argument.name} chooses a shape by no number"
    return argument.default


def render(category: str, methods: Sequence[Method], objects: Sequence[type]) -> str:
    """The text of a module."""
    inside = [shape for shape in objects if category_of(shape) == category]
    used = [shape for each in inside for shape in objects_in(f.shape for f in fields_of(each))]
    for method in methods:
        result = method.result
        shapes = result.shapes.values() if isinstance(result, ByArgument) else [result]
        used += objects_in(shapes)
    body: list[str] = []
    for shape in inside:
        body += ["", *render_object(shape)]
    body += ["", f"class {category.capitalize()}Methods(Caller):"]
    body += [f'{_INDENT}"""Methods of the category {category}."""', ""]
    for method in methods:
        body += render_method(method)
    text = "\n".join(body)
    lines: list[str] = [
        f'"""Methods of a node: {category}. Written by `python -m scripts.make_client`."""',
        "",
        "from __future__ import annotations",
        "",
        *_imports(text),
    ]
    others = sorted({(category_of(s), s.__name__) for s in used if category_of(s) != category})
    froms = {"caller": ["Addresses", "Caller"] if ": Addresses" in text else ["Caller"]}
    for module, group in groupby(others, lambda pair: pair[0]):
        froms[module] = [name for _, name in group]
    for module, names in sorted(froms.items()):
        lines.append(f"from wallet.rpc.{module} import {', '.join(names)}")
    return format_code("\n".join([*lines, "", text]))


def _imports(text: str) -> Iterator[str]:
    abc = [name for name in ("Mapping", "Sequence") if f"{name}[" in text]
    if abc:
        yield f"from collections.abc import {', '.join(abc)}"
    if "Decimal" in text:
        yield f"from decimal import {Decimal.__name__}"
    typing = [
        name for name, sign in (("Any", "Any]"), ("Literal", "Literal["), ("overload", "@overload"))
        if sign in text
    ]  # fmt: skip
    if typing:
        yield f"from typing import {', '.join(typing)}"
    if abc or typing or "Decimal" in text:
        yield ""
    if "msgspec." in text:
        yield "import msgspec"
        yield ""


def format_code(text: str) -> str:
    """The same as this project lays code out."""
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", "wallet/rpc/x.py", "-"]
    made = subprocess.run(
        command, input=text, capture_output=True, text=True, check=True, cwd=FOLDER.parent.parent
    )
    return made.stdout


def rendered() -> Iterator[tuple[str, str]]:
    """Name and text of every file."""
    objects = all_objects(method.result for method in METHODS.values())
    for category, methods in groupby(METHODS.values(), lambda method: method.category):
        yield f"{category}.py", render(category, list(methods), objects)


def main(arguments: Sequence[str]) -> int:
    """Write the files, or compare them. Returns the exit code."""
    return write_or_compare("make_client", "the typed client", FOLDER, rendered(), arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
