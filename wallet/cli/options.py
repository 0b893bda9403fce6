"""The options that every command takes, before the command or after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import click

from consensus.errors import Violation
from wallet.cli.app import App
from wallet.errors import WalletError, printable


class _Common(NamedTuple):
    name: str
    metavar: str | None
    help: str


_COMMON = (
    _Common(
        "network", "NAME|FILE.toml", "main (default), test, regtest, or a network of your own."
    ),
    _Common("wallet", "FILE", "The wallet file (default: ~/.tael/wallets/NETWORK.wallet)."),
    _Common(
        "rpc",
        "URL",
        "Where the node answers (default: this machine). user:password@ only in TAEL_RPC.",
    ),
    _Common(
        "datadir", "DIR", "Data directory of the node, for its password (default: ~/.tael/NETWORK)."
    ),
    _Common("passphrase_file", "FILE", "File whose first line is the passphrase."),
    _Common("json", None, "Print one JSON object for programs."),
)


def _store(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    app: App = ctx.find_root().obj
    if value is not None and param.name is not None:
        setattr(app.settings, param.name, value)


def _common_options(with_environment: bool) -> list[click.Parameter]:
    """The environment counts before the command only, so that it never beats what was typed."""
    options: list[click.Parameter] = []
    for entry in _COMMON:
        flag = entry.metavar is None
        variable = f"TAEL_{entry.name.upper()}" if with_environment and not flag else None
        options.append(
            click.Option(
                [f"--{entry.name.replace('_', '-')}"], metavar=entry.metavar, help=entry.help,
                is_flag=flag, default=None, expose_value=False, callback=_store, envvar=variable,
            )
        )  # fmt: skip
    return options


class Command(click.Command):
    """A command that takes the common options too, and tells errors in one line."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += _common_options(with_environment=False)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (WalletError, Violation) as error:
            raise click.ClickException(printable(str(error))) from None


class Group(click.Group):
    """Commands under one name."""

    command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)  # in the order of use, not of the alphabet


class MainGroup(Group):
    """`tael` itself."""

    group_class = Group

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += _common_options(with_environment=True)


def combined(options: Sequence[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    """Several click options as one decorator, in the order in which help shows them."""

    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate
