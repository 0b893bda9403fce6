"""The command `taeld`."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import click
import uvloop

from consensus.errors import StorageError
from node import log as logs
from node.app import VERSION, Node
from node.config import (
    CONFIG_NAME,
    LOG_LEVELS,
    TLS_MODES,
    ConfigError,
    Settings,
    data_directory,
    load_params,
    merge,
    read_toml,
    settle,
)
from node.identity import show_certificate
from node.system import System

log = logging.getLogger("node")

EPILOG = """
\b
Examples
  taeld --network regtest --mine-to rtael1...
      A network for trying things out: blocks cost nothing.
  taeld --network regtest --datadir two --rpc 127.0.0.1:29941 --p2p 127.0.0.1:29942 \\
        --connect 127.0.0.1:29932
      A second node beside the first.
  taeld --connect node.example:9932#6f0c...
      Only if it shows the certificate of that fingerprint; its `taeld --certificate` tells it.
  taeld --network campus.toml
      A currency of your own; docs/example-currency.toml explains the entries.
\b
Every option but --config, --certificate, --version and --help can stand in the TOML file under the same
name, without the hyphens before it: mine-to = "tael1...". What is typed counts more.
The wallet is another program: `tael --help`.
"""


_PEER_OPTIONS = (
    click.option(
        "--p2p", metavar="HOST:PORT",
        help="Where other nodes may connect; 0.0.0.0 lets the world in. [127.0.0.1; port "
        "9932, test 19932, regtest 29932, others 39932]",
    ),
    click.option(
        "--connect", multiple=True, metavar="HOST:PORT[#FINGERPRINT]",
        help="A node to stay connected to, perhaps only with the certificate of that "
        "fingerprint. May be given again.",
    ),
    click.option(
        "--p2p-tls", type=click.Choice(TLS_MODES),
        help="Encrypt between nodes: on, where both can; required, or not at all. [on]",
    ),
    click.option(
        "--members", metavar="FILE",
        help="Certificates (PEM) of the only nodes to speak with; implies required.",
    ),
    click.option(
        "--certificate", is_flag=True, default=None,
        help="Show this node's certificate and its fingerprint, and end.",
    ),
    click.option("--outbound", type=int, metavar="N", help="Nodes to find beside those. [8]"),
    click.option("--listen/--no-listen", default=None, help="Accept other nodes. [yes]"),
)  # fmt: skip


def _options(function: Any) -> Any:
    for option in reversed(
        (
            click.option(
                "--network", metavar="main|test|regtest|FILE.toml", help="Which currency. [main]"
            ),
            click.option("--datadir", metavar="DIR", help="Where data is kept. [~/.tael/NETWORK]"),
            click.option(
                "--config", "config_file", metavar="FILE",
                help="TOML file with settings. [DIR/taeld.toml, if there is one]",
            ),
            click.option(
                "--rpc", metavar="HOST:PORT",
                help="Where to answer JSON-RPC. [127.0.0.1; port 9931, test 19931, regtest 29931, "
                "others 39931]",
            ),
            *_PEER_OPTIONS,
            click.option("--mine-to", metavar="ADDRESS", help="Mine, and be paid here."),
            click.option(
                "--mine-processes", type=int, metavar="N", help="Processes that search. [1]"
            ),
            click.option(
                "--mine-interval", type=int, metavar="SECONDS",
                help="Where blocks cost nothing (regtest), wait so long between two. [1]",
            ),
            click.option(
                "--mine-stale-genesis", is_flag=True, default=None,
                help="Mine the first block though the network's start lies more than an hour back.",
            ),
            click.option(
                "--rpc-user", multiple=True, metavar="NAME:SALT$HMAC[:readonly]",
                help="A user of the JSON-RPC beside the cookie. May be given again.",
            ),
            click.option(
                "--rpc-host", multiple=True, metavar="NAME",
                help="A name by which clients may call this machine. May be given again.",
            ),
            click.option("--mempool-mb", type=int, metavar="MB", help="Memory for waiting "
                         "transactions. [300]"),
            click.option(
                "--min-fee-rate", type=int, metavar="N",
                help="Least fee that is relayed, base units per 1000 of cost. [1000]",
            ),
            click.option(
                "--index/--no-index", default=None,
                help="Keep what address and transaction queries need. [yes]",
            ),
            click.option(
                "--verify-processes", type=int, metavar="N",
                help="Processes that check signatures beside the node. [one less than cores]",
            ),
            click.option(
                "--reindex", is_flag=True, default=None,
                help="Rebuild the database from the block files before starting.",
            ),
            click.option("--log-level", type=click.Choice(LOG_LEVELS), help="[info]"),
            click.option("--log-json", is_flag=True, default=None, help="Log lines as JSON."),
        )
    ):  # fmt: skip
        function = option(function)
    return function


@click.command(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@_options
@click.version_option(VERSION, prog_name="taeld")
def main(config_file: str | None, **given: Any) -> None:
    """Run a Tael node: it keeps the ledger, checks it, relays payments and answers JSON-RPC.

    With no option it joins the network `main`. Stop it with Ctrl-C, or `stop` over JSON-RPC.
    """
    options = {key: value for key, value in given.items() if value not in (None, ())}
    shows_certificate = options.pop("certificate", False)
    try:
        settings = _settings(config_file, options)
        if shows_certificate:
            found = show_certificate(settings.datadir, int(time.time()))
            click.echo(f"# fingerprint {found.fingerprint.hex()}\n{found.pem.decode()}", nl=False)
            return
    except (StorageError, ConfigError) as error:
        _exit(str(error))
    logs.set_up(settings.config.log_level, settings.config.log_json)
    try:
        uvloop.run(_run(settings))
    except (StorageError, ConfigError) as error:
        _exit(str(error))
    except OSError as error:
        _exit(f"{error.filename}: {error.strerror}" if error.filename else str(error))


def _settings(config_file: str | None, options: dict[str, Any]) -> Settings:
    if config_file is not None:
        return settle(merge(read_toml(Path(config_file)), options))
    params = load_params(options.get("network", "main"))
    path = data_directory(options.get("datadir", ""), params) / CONFIG_NAME
    return settle(merge(read_toml(path) if os.path.isfile(path) else {}, options))


async def _run(settings: Settings) -> None:
    node = Node(settings, System())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, node.stop)
    await node.run()


def start() -> None:
    """Run `main`, and tell in one line when its help cannot be written."""
    try:
        main()
    except OSError as error:  # of a running node, main itself tells them
        _exit(f"the output cannot be written: {error.strerror}")


def _exit(message: str) -> None:
    click.echo(f"taeld: {message}", err=True)
    sys.exit(1)


if __name__ == "__main__":
    start()
