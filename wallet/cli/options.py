"""The options that every command takes, before the command or after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import click
from click.core import ParameterSource

from consensus.errors import Violation
from wallet.cli.app import App
from wallet.cli.suggest import make_suggest
from wallet.errors import WalletError, printable

HELP_OPTIONS = ["-h", "--help"]
SENTENCE_MAX = 200
"""Characters of the longest first sentence of a command's help."""


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
    is_typed = ctx.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE
    if param.name == "rpc" and is_typed and "@" in value:
        raise click.UsageError(
            "everybody on this machine sees what is typed behind a command: put a user and a password "
            "into TAEL_RPC=http://user:password@host:port"
        )
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


class _WrongUse(click.ClickException):
    """A wrong option or argument, in one line as every other error."""

    exit_code = 2


@contextmanager
def _wrong_use_in_one_line(path: str) -> Iterator[None]:
    """`path` is the command being read, for what does not say where it went wrong."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:  # nothing wrong: it shows the help
        raise
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else path
        message = " ".join(error.format_message().split()).rstrip(".")
        raise _WrongUse(printable(f"{message} (see `{where} --help`)")) from None


class _OneLine(click.Command):
    """Tells in one line what is wrong in how it was called, and in a list of commands what it does."""

    def get_short_help_str(self, limit: int = 45) -> str:
        """The first sentence, whole: a list of commands may break its lines, not its sentences."""
        return super().get_short_help_str(max(limit, SENTENCE_MAX))

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:  # fmt: skip
        path = f"{parent.command_path} {info_name}" if parent else str(info_name)
        with _wrong_use_in_one_line(path):
            return super().make_context(info_name, args, parent, **extra)


class Command(_OneLine):
    """A command that takes the common options too, and tells errors in one line."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += _common_options(with_environment=False)
        for param in self.params:
            make_suggest(param)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (WalletError, Violation) as error:
            told = click.ClickException(printable(str(error)))
            if isinstance(error, WalletError) and error.exit_code != told.exit_code:
                told.show()
                ctx.exit(error.exit_code)
            raise told from None


class Group(_OneLine, click.Group):
    """Commands under one name."""

    command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)  # in the order of use, not of the alphabet

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        with _wrong_use_in_one_line(ctx.command_path):
            return super().resolve_command(ctx, args)


def _needs_words(command: click.Command) -> bool:
    return any(param.required for param in command.params)


class DefaultGroup(Group):
    """Commands under one name, the first of which is meant where none is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        name, first = next(iter(self.commands.items()))
        if args:
            is_meant = args[0] not in (*self.commands, *HELP_OPTIONS)
        else:
            # A shell that completes has not come to the command; and where the first could only say
            # what it lacks, the help says more.
            is_meant = not (ctx.resilient_parsing or _needs_words(first))
        return super().parse_args(ctx, [name, *args] if is_meant else args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        path, first = ctx.command_path, next(iter(self.commands))
        told = (
            f"`{path} …` is short for `{path} {first} …`; `{path} {first} --help` has its options."
        )
        formatter.write_paragraph()
        formatter.write(f"{click.wrap_text(told, formatter.width)}\n")


class MainGroup(Group):
    """`tael` itself."""

    group_class = Group

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += _common_options(with_environment=True)
        for param in self.params:
            make_suggest(param)


def combined(options: Sequence[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    """Several click options as one decorator, in the order in which help shows them."""

    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate
