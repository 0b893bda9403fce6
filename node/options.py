"""The options of `taeld`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from node.config import LOG_LEVELS, TLS_MODES

Decorator = Callable[[Any], Any]

_DATA: Sequence[Decorator] = (
    click.option("--network", metavar="main|test|regtest|FILE.toml", help="Which currency. [main]"),
    click.option("--datadir", metavar="DIR", help="Where data is kept. [~/.tael/NETWORK]"),
    click.option(
        "--config",
        "config_file",
        metavar="FILE",
        help="TOML file with settings. [DIR/taeld.toml, if there is one]",
    ),
)
_RPC = click.option(
    "--rpc",
    metavar="HOST:PORT",
    help="Where to answer JSON-RPC. [127.0.0.1; port 9931, test 19931, regtest 29931, others 39931]",
)
_RUN: Sequence[Decorator] = (
    click.option(
        "--p2p", metavar="HOST:PORT",
        help="Where other nodes may connect; 0.0.0.0 lets the world in. [127.0.0.1; port "
        "9932, test 19932, regtest 29932, others 39932]",
    ),
    click.option(
        "--connect", multiple=True, metavar="HOST:PORT[#FINGERPRINT]",
        help="A node to stay connected to, perhaps only with the certificate of that "
        "fingerprint. A new node needs one to begin with, and hears of others from it. May be "
        "given again.",
    ),
    click.option(
        "--p2p-tls", type=click.Choice(TLS_MODES),
        help="Encryption between nodes. on: with all that can, and plain with the others; required: "
        "with all, or no connection; off: with none. [on]",
    ),
    click.option(
        "--members", metavar="FILE",
        help="Certificates (PEM) of the only nodes to speak with; implies required.",
    ),
    click.option(
        "--certificate", is_flag=True,
        help="Show this node's certificate and its fingerprint, and end. Makes them (peer.pem) if "
        "there are none yet.",
    ),
    click.option(
        "--outbound", type=int, metavar="N",
        help="Nodes to find and connect to beside those of --connect. [8]",
    ),
    click.option("--listen/--no-listen", default=None, help="Accept other nodes. [yes]"),
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
    click.option(
        "--web", metavar="HOST[:PORT]",
        help="Where to answer browsers, and programs that watch the node. [off; port 9933, test "
        "19933, regtest 29933, others 39933]",
    ),
    click.option(
        "--web-host", multiple=True, metavar="NAME",
        help="A name by which browsers may call this machine. May be given again.",
    ),
    click.option(
        "--stratum", metavar="HOST[:PORT]",
        help="Where to give work to SHA-256 miners. [off; port 9935, test 19935, regtest 29935, others "
        "39935]",
    ),
    click.option(
        "--stratum-to", metavar="ADDRESS",
        help="Who is paid for their work. [the miner's user name, if it is an address; else --mine-to]",
    ),
    click.option(
        "--electrum", metavar="HOST[:PORT]",
        help="Where to answer wallets and explorers that speak the Electrum protocol. [off; port "
        "9934, test 19934, regtest 29934, others 39934]",
    ),
    click.option(
        "--events/--no-events", default=None,
        help="Keep a log of events that clients can follow and miss nothing (docs/events.md). [no]",
    ),
    click.option(
        "--zmq", metavar="[tcp://]HOST[:PORT]",
        help="Where to publish blocks and transactions over ZeroMQ. [off; port 9936, test 19936, "
        "regtest 29936, others 39936]",
    ),
    click.option("--mempool-mb", type=int, metavar="MB", help="Memory for waiting "
                 "transactions. [300]"),
    click.option(
        "--min-fee-rate", type=int, metavar="N",
        help="Least fee that is relayed, base units per 1000 of cost. [1000]",
    ),
    click.option(
        "--least-work", metavar="HEX",
        help="Work that a chain of peers must have, as chainwork of getblockchaininfo tells "
        "it. [what is known of the network]",
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
        help="Before starting, make `state` and `undo` anew from the block files. Those are read "
        "through first and kept; if they are damaged, nothing is changed. All else stays.",
    ),
    click.option(
        "--check", is_flag=True,
        help="Do not run: verify the data directory, change nothing, and tell what is wrong.",
    ),
    click.option("--log-level", type=click.Choice(LOG_LEVELS), help="[info]"),
    click.option("--log-json", is_flag=True, default=None, help="Log lines as JSON."),
    click.option(
        "--log-file", metavar="FILE",
        help="Where to log. Old lines go to FILE.1 to FILE.4. [standard error]",
    ),
    click.option(
        "--log-mb", type=int, metavar="MB",
        help="What these files may take together; then the oldest goes. [100]",
    ),
    click.option(
        "--ready-behind", type=int, metavar="N",
        help="Blocks that a node may lack and still call itself ready. [2]",
    ),
    click.option(
        "--ready-tip-age", type=int, metavar="SECONDS",
        help="With a last block older than this it is not ready; 0: that does not matter. [0]",
    ),
    click.option(
        "--ready-free-mb", type=int, metavar="MB",
        help="Room on its disk that it must have to be ready. [500]",
    ),
)  # fmt: skip


def data_options(function: Any) -> Any:
    """The options that say which data directory is meant."""
    for option in reversed(_DATA):
        function = option(function)
    return function


def where_options(function: Any) -> Any:
    """The options that say which node is meant, and where it answers."""
    return data_options(_RPC(function))


def run_options(function: Any) -> Any:
    """The other options, of a node that runs."""
    for option in reversed(_RUN):
        function = option(function)
    return function
