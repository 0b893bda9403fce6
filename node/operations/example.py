"""A configuration file with every setting, made from the table of options."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

import click

from node.config import Config

WIDTH = 98
_HEAD = """\
# Settings of taeld: DATADIR/taeld.toml, or any file given by --config.
#
# Every setting is here with its default, behind a #: take the # away to change it. An option that is
# typed counts more than this file. Those that are "live" are read again when the node gets SIGHUP
# (systemctl reload taeld); the others count from the next start on."""


def _value(value: object) -> str:
    """A default as TOML."""
    match value:
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case str():
            return f'"{value}"'
        case ():
            return "[]"
        case _:
            raise AssertionError(f"no TOML for {value!r}")


def _about(option: click.Option, is_live: bool) -> Iterator[str]:
    """What it does; then its form, and whether it needs a new start."""
    text = " ".join((option.help or "").split()).removesuffix(" May be given again.")
    form = option.metavar or ""
    if isinstance(option.type, click.Choice):
        form = "|".join(option.type.choices)
    notes = (form, "a list" if option.multiple else "", "live" if is_live else "")
    yield from textwrap.wrap(text, WIDTH)
    yield "; ".join(note for note in notes if note)


def example(parameters: Iterable[click.Parameter], live: Iterable[str]) -> str:
    """`parameters`: the options of the command; `live`: the settings that need no new start."""
    defaults, needs_no_start = Config(), frozenset(live)
    lines = [_HEAD]
    for option in parameters:
        name = option.name or ""
        if not isinstance(option, click.Option) or name not in Config.__struct_fields__:
            continue  # what one run does, such as --check
        about = _about(option, name in needs_no_start)
        lines += ["", *(f"# {line}" for line in about if line)]
        lines.append(f"# {name.replace('_', '-')} = {_value(getattr(defaults, name))}")
    return "\n".join(lines) + "\n"
