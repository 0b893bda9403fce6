"""A row of the table of methods, and what follows from it."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Iterable, Mapping

import msgspec

from node.rpc.described import ByArgument, result_of
from node.rpc.errors import Code
from node.rpc.json import amount
from node.rpc.params import AMOUNT_KIND, Argument, arguments_of
from node.rpc.schema import alternatives, condition, fields_of, first_line, objects_in, words


class Role(enum.IntEnum):
    """What a user may do; the larger includes the smaller."""

    READ = 1
    """Ask."""
    ADMIN = 2
    """Ask, and change what the node has or does."""


class Method(msgspec.Struct, frozen=True):
    """A method. Parameters come from the signature of its function, its help from the docstring."""

    name: str
    function: Callable[..., object]
    """Called with the node and the parameters; returns a `Json` value, a coroutine of one, or a `Later`
    that is settled with one or with an exception."""
    role: Role
    """The least role that may call it."""
    category: str
    errors: tuple[Code, ...] = ()
    """What it may answer instead of a result, beside what its parameters and every call may."""
    arguments: tuple[Argument, ...] = ()

    @property
    def usage(self) -> str:
        """One line, as in `getblock blockhash ( verbosity )`."""
        words = [self.name]
        words += [a.name if a.required else f"( {a.name} )" for a in self.arguments]
        return " ".join(words)

    @property
    def description(self) -> str:
        return inspect.getdoc(self.function) or ""

    @property
    def result(self) -> object:
        """The shape of what it answers: a type with marks, or `ByArgument`."""
        return result_of(self.function)

    @property
    def help(self) -> str:
        """What `help METHOD` answers."""
        lines = [self.usage, "", self.description]
        if self.arguments:
            lines += ["", "Parameters:"]
        for number, argument in enumerate(self.arguments, 1):
            state = "required" if argument.required else f"default {show_default(argument)}"
            lines.append(f"{number}. {argument.name} ({argument.kind}, {state})")
        lines += ["", *describe_result(self.result), "", f"Role: {self.role.name.lower()}"]
        return "\n".join(lines)


def describe_result(result: object) -> list[str]:
    """Lines on what a method answers: its shape, and the members of its objects."""
    if isinstance(result, ByArgument):
        lines = ["Result:"]
        for values, shape in alternatives(result):
            lines.append(f"with {condition(result.argument, values)}: {words(shape)}")
        shapes = [shape for _, shape in alternatives(result)]
    else:
        lines, shapes = [f"Result: {words(result)}"], [result]
    for shape in objects_in(shapes):
        lines += ["", f"{shape.__name__}: {first_line(shape)}"]
        for field in fields_of(shape):
            note = "" if field.is_required else ", optional"
            says = f" – {field.says}" if field.says else ""
            lines.append(f"  {field.name} ({words(field.shape)}{note}){says}")
    return lines


def show_default(argument: Argument) -> str:
    """A default as a client would write it."""
    match argument.default:
        case None:
            return "none"
        case int(units) if argument.kind == AMOUNT_KIND:
            return bytes(amount(units)).decode()
        case bool(value):
            return str(value).lower()
        case str(text):
            return f'"{text}"'
        case value:
            return str(value)


def table(rows: Iterable[Method]) -> Mapping[str, Method]:
    """The rows by name, each with its parameters."""
    made: dict[str, Method] = {}
    for row in rows:
        assert row.name not in made, f"{row.name} stands twice"
        made[row.name] = msgspec.structs.replace(row, arguments=arguments_of(row.function))
    return made
