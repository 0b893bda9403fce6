"""Words that a shell can complete: networks, files, and what lies in the wallet.

Contacts and tickers are encrypted in the wallet file. They are offered only where the passphrase is at
hand without asking, and read without a lock, a node or a line of output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import click
from click.shell_completion import CompletionItem

from consensus.params import NETWORKS
from wallet.book import Book, decode_book
from wallet.cli.app import HOME, App
from wallet.cli.assets_of import own_issues
from wallet.errors import WalletError
from wallet.keystore import open_keystore

WALLETS_MAX = 100
_SAFE_SIGNS = frozenset("-_.,+@/~")
"""Beside letters and digits. The scripts put words into the command line as they are, where a shell would
act on most others: `$(…)` in the name of a contact must not come to run."""
Suggest = Callable[[click.Context, str], Iterable[str]]


class Suggested(click.types.StringParamType):
    """Any text, some of which can be completed."""

    def __init__(self, suggest: Suggest, more: str = "") -> None:
        """`more` is `file` or `dir` if the shell shall add those."""
        self._suggest = suggest
        self._more = more

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        found = [
            CompletionItem(word)
            for word in self._suggest(ctx, incomplete)
            if word.startswith(incomplete) and _is_safe(word)
        ]
        # The script drops all other words when it is told to look for files.
        return found or ([CompletionItem(incomplete, type=self._more)] if self._more else [])


def _is_safe(word: str) -> bool:
    return all(sign.isalnum() or sign in _SAFE_SIGNS for sign in word)


def _nothing(ctx: click.Context, incomplete: str) -> Iterable[str]:
    return ()


def _networks(ctx: click.Context, incomplete: str) -> Iterable[str]:
    return NETWORKS


def _wallets(ctx: click.Context, incomplete: str) -> Iterable[str]:
    found = sorted(str(path) for path in (HOME.expanduser() / "wallets").glob("*.wallet"))
    return found[:WALLETS_MAX]


def _book(ctx: click.Context) -> Book | None:
    """What the wallet remembers, if that can be read at once."""
    app: App = ctx.find_root().obj
    if not app.has_passphrase:
        return None
    try:
        path = app.wallet_path.resolve()
        return decode_book(open_keystore(path, app.passphrase(), app.env.entropy)[1])
    except WalletError:
        return None


def _recipients(ctx: click.Context, incomplete: str) -> Iterable[str]:
    if len(ctx.params.get("recipients") or ()) % 2:  # an amount comes next
        return ("all",)
    book = _book(ctx)
    return [entry.name for entry in book.contacts] if book else ()


def _names(ctx: click.Context, incomplete: str) -> Iterable[str]:
    group = ctx.parent.info_name if ctx.parent else ""
    if (group, ctx.info_name) in (("contacts", "remove"), ("contacts", "rename")):
        book = _book(ctx)
        return [entry.name for entry in book.contacts] if book else ()
    if group == "multisig" and ctx.info_name != "create":
        book = _book(ctx)
        return [entry.name for entry in book.shared] if book else ()
    return ()


def _tickers(ctx: click.Context, incomplete: str) -> Iterator[str]:
    app: App = ctx.find_root().obj
    try:
        yield app.params.ticker.decode("ascii")
    except WalletError:
        return
    book = _book(ctx)
    if book is not None:
        made = [info.ticker for info in own_issues(book).values()]
        yield from dict.fromkeys(made + [entry.ticker for entry in book.invoices if entry.asset])


_BY_NAME = {
    "network": Suggested(_networks, "file"),
    "wallet": Suggested(_wallets, "file"),
    "datadir": Suggested(_nothing, "dir"),
    "recipients": Suggested(_recipients),
    "name": Suggested(_names),
    "asset": Suggested(_tickers),
    "file": Suggested(_nothing, "file"),
    "files": Suggested(_nothing, "file"),
}
"""By the name of an option or argument, whatever command has it."""


def make_suggest(param: click.Parameter) -> None:
    """Let `param`, if it takes a text, suggest what it may be."""
    if param.type is not click.STRING:
        return
    if param.name in _BY_NAME:
        param.type = _BY_NAME[param.name]
    elif param.metavar is not None and "FILE" in param.metavar:
        param.type = _BY_NAME["file"]
