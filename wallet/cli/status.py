"""`tael` alone: what is there, and what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

import click
import msgspec
from click.core import ParameterSource

from wallet.answers import ChainInfo
from wallet.cli.app import App
from wallet.cli.options import Command
from wallet.cli.view import Looked, balance_data, balance_table, look
from wallet.client import Client
from wallet.errors import NodeAbsent, NodeError, printable
from wallet.scan import Say
from wallet.tracked import Kind

LOCAL_NETWORK = "regtest"
"""Where nobody has to be known: one node makes the blocks."""
_KEPT = ("network", "wallet", "rpc", "datadir", "passphrase_file")


class Step(msgspec.Struct, frozen=True):
    """Something to be done next."""

    run: str
    """A command line; empty where there is only to wait."""
    why: str


class NodeState(msgspec.Struct, frozen=True):
    """What became of asking the node."""

    info: ChainInfo | None = None
    error: str = ""
    is_absent: bool = False
    """Nobody answers, so it is probably not running."""


@click.command("status", cls=Command)
@click.pass_context
def status(ctx: click.Context) -> None:
    """What is there, and what to do next; the same as `tael` alone.

    Asks for no passphrase; if one is in TAEL_PASSPHRASE or a file, the balance is shown too.
    """
    app: App = ctx.find_object(App) or ctx.exit(1)
    has_wallet = app.wallet_path.exists()
    node = _ask(app)
    looked = None
    if has_wallet and node.info is not None and app.has_passphrase:
        with app.open_wallet() as wallet:
            looked = look(app, wallet)
    steps = _steps(ctx, app, has_wallet, node, looked is not None)
    app.out.result(
        _data(app, has_wallet, node, looked, steps),
        lambda: _show(app, has_wallet, node, looked, steps),
    )


def _ask(app: App) -> NodeState:
    async def work(client: Client, info: ChainInfo, say: Say) -> ChainInfo:
        return info

    try:
        return NodeState(app.ask_node(work))
    except NodeAbsent as error:
        return NodeState(error=str(error), is_absent=True)
    except NodeError as error:
        return NodeState(error=str(error))


def _steps(
    ctx: click.Context, app: App, has_wallet: bool, node: NodeState, is_shown: bool
) -> list[Step]:
    """In the order in which they are to be done."""
    tael = ["tael", *_typed(ctx, app, _KEPT)]
    steps = []
    if not has_wallet:
        steps.append(Step(shlex.join([*tael, "create"]), "make a wallet"))
        steps.append(Step(shlex.join([*tael, "restore"]), "or make one again from its words"))
    if node.is_absent and app.settings.rpc is None:
        steps.append(Step(_start_of_node(app), "start a node, in another terminal"))
        steps.append(Step(shlex.join(tael), "look again"))
    elif node.info is None:
        steps.append(Step(shlex.join(tael), "look again, when that is mended"))
    elif node.info.blocks == 0 and app.network != LOCAL_NETWORK:
        steps.append(
            Step(
                f"{_taeld(app)} --connect HOST:PORT",
                "the node knows no block yet: name a first peer",
            )
        )
    elif node.info.headers > node.info.blocks:
        steps.append(
            Step("", "wait for the node: figures and payments are those of the past so far")
        )
    if not steps or (has_wallet and node.info is not None):
        if not is_shown:
            steps.append(Step(shlex.join([*tael, "balance"]), "see what there is"))
        steps.append(Step(shlex.join([*tael, "address"]), "be paid"))
        steps.append(Step(shlex.join([*tael, "send"]) + " ADDRESS AMOUNT", "pay"))
        steps.append(Step(shlex.join([*tael, "history"]), "what came in and went out"))
    return [*steps, Step("tael --help", "everything else")]


def _typed(ctx: click.Context, app: App, names: Sequence[str]) -> list[str]:
    """The options of this command line that the next one needs again."""
    words = []
    for name in names:
        contexts = (ctx, *([ctx.parent] if ctx.parent else []))
        if any(c.get_parameter_source(name) is ParameterSource.COMMANDLINE for c in contexts):
            words += [f"--{name.replace('_', '-')}", str(getattr(app.settings, name))]
    return words


def _taeld(app: App) -> str:
    words = ["taeld"]
    if app.settings.network != "main":  # from wherever: taeld does not read the environment
        words += ["--network", app.settings.network]
    if app.settings.datadir is not None:
        words += ["--datadir", app.settings.datadir]
    return shlex.join(words)


def _start_of_node(app: App) -> str:
    is_first = not app.cookie_path.parent.exists()
    peer = " --connect HOST:PORT" if is_first and app.network != LOCAL_NETWORK else ""
    return _taeld(app) + peer


def _data(
    app: App, has_wallet: bool, node: NodeState, looked: Looked | None, steps: Sequence[Step]
) -> dict[str, Any]:
    info = node.info
    return {
        "network": app.network,
        "wallet": {"path": str(app.wallet_path), "exists": has_wallet},
        "node": {
            "url": app.rpc_url,
            "answers": info is not None,
            "error": node.error or None,
            "height": info.blocks if info else None,
            "headers": max(info.headers, info.blocks) if info else None,
            "syncing": info.initialblockdownload if info else None,
        },
        "balance": None if looked is None else balance_data(looked, Kind.OWN),
        "next": [{"run": step.run or None, "why": step.why} for step in steps],
    }


def _node_text(app: App, node: NodeState) -> str:
    info = node.info
    if node.is_absent and app.settings.rpc is None:
        return "not running"
    if info is None:
        return printable(node.error)
    if info.headers > info.blocks:
        share = info.blocks * 100 // info.headers
        return f"catching up: block {info.blocks:,} of {info.headers:,} ({share} %)"
    if info.blocks == 0:
        return "runs, and knows no block yet"
    seen = f"block {info.blocks:,}"
    return f"{seen}; it may not be the newest" if info.initialblockdownload else seen


def _show(
    app: App, has_wallet: bool, node: NodeState, looked: Looked | None, steps: Sequence[Step]
) -> None:
    wallet = str(app.wallet_path) if has_wallet else f"none yet at {app.wallet_path}"
    app.out.table(
        ("", ""),
        [("Network", app.network), ("Wallet", wallet), ("Node", _node_text(app, node))],
    )
    if looked is not None:
        app.out.line("")
        balance_table(app, looked, Kind.OWN)
    app.out.line("\nNext:")
    app.out.table(("", ""), [(f"  {step.run}", step.why) for step in steps])
