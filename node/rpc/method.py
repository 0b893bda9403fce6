"""A row of the table of methods, and what follows from it."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Iterable, Mapping

import msgspec

from node.rpc.json import amount
from node.rpc.params import AMOUNT_KIND, Argument, arguments_of


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
    def help(self) -> str:
        """What `help METHOD` answers."""
        lines = [self.usage, "", self.description]
        if self.arguments:
            lines += ["", "Parameters:"]
        for number, argument in enumerate(self.arguments, 1):
            state = "required" if argument.required else f"default {show_default(argument)}"
            lines.append(f"{number}. {argument.name} ({argument.kind}, {state})")
        lines += ["", f"Role: {self.role.name.lower()}"]
        return "\n".join(lines)


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
