"""The command `taeld`."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click
import msgspec
import uvloop

from consensus.errors import StorageError
from node import log as logs
from node.app import VERSION, Node
from node.commands import paced, run_backup, run_check, run_restore
from node.completion import completion_command
from node.config import (
    CONFIG_NAME,
    MEGABYTE,
    ConfigError,
    Settings,
    data_directory,
    load_params,
    merge,
    read_toml,
    settle,
)
from node.identity import show_certificate
from node.operations.example import example
from node.operations.reload import LIVE, compare
from node.operations.service import Service
from node.operations.status import UNKNOWN, run_status
from node.options import data_options, run_options, where_options
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
  taeld --network regtest backup /mnt/disk/tael-2026-11-24
      A copy of the ledger, made by the node that runs. `taeld restore` is the way back.
  taeld --connect node.example:9932#6f0c...
      Only if it shows the certificate of that fingerprint; its `taeld --certificate` tells it.
  taeld --network campus.toml
      A currency of your own; docs/example-currency.toml explains the entries.
\b
Every option but --config, --check, --certificate, --version and --help can stand in the TOML
file under the same name, without the hyphens before it: mine-to = "tael1...". What is typed counts more.
The wallet is another program: `tael --help`.
"""


@click.group(
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
    subcommand_metavar="[COMMAND]",
)
@where_options
@run_options
@click.version_option(VERSION, prog_name="taeld")
@click.pass_context
def main(context: click.Context, /, check: bool, certificate: bool, **given: Any) -> None:
    """Run a Tael node: it keeps the ledger, checks it, relays payments and answers JSON-RPC.

    With no option it joins the network `main`; the first time it knows nobody there, so name a node by
    --connect. Stop it with Ctrl-C, or `stop` over JSON-RPC. With a command it does that instead.
    """
    context.obj = given
    if context.invoked_subcommand is not None:
        return
    is_run = not (certificate or check)
    settings = _prepare(given, is_run)
    with _told(settings if is_run else None):
        if certificate:
            found = show_certificate(settings.datadir, int(time.time()))
            click.echo(f"# fingerprint {found.fingerprint.hex()}\n{found.pem.decode()}", nl=False)
            return
        if check:
            sys.exit(0 if run_check(settings, random.Random(), paced(time.monotonic)) else 1)
        uvloop.run(_run(settings, given))


@main.command("backup", short_help="Copy the ledger of the running node.")
@where_options
@click.argument("destination", type=click.Path(path_type=Path))
@click.pass_context
def backup_command(context: click.Context, /, destination: Path, **given: Any) -> None:
    """Copy the ledger of the running node to a new directory, while it runs.

    Not copied are settings, waiting transactions, addresses of peers and certificates.
    """
    settings = _prepare(context.obj | _given(given))
    with _told():
        run_backup(settings, destination, paced(time.monotonic), time.sleep)


@main.command("restore", short_help="Make a data directory from a backup.")
@data_options
@click.argument("backup", type=click.Path(path_type=Path))
@click.pass_context
def restore_command(context: click.Context, /, backup: Path, **given: Any) -> None:
    """Make a data directory from a backup, every byte of which is verified.

    In the directory there must be no blocks, undo and state; what else is there stays.
    """
    settings = _prepare(context.obj | _given(given))
    with _told():
        run_restore(settings, backup, paced(time.monotonic))


@main.command("status", short_help="Show how the running node is.")
@where_options
@click.option("--once", is_flag=True, help="Show it once and end.")
@click.option("--json", "as_json", is_flag=True, help="The same for programs, once.")
@click.pass_context
def status_command(context: click.Context, /, once: bool, as_json: bool, **given: Any) -> None:
    """Show how the running node is: chain, waiting payments, fees, peers, what is wrong.

    Ends with 0 if it is ready for users, 1 if not, 2 if none runs or that cannot be told.
    """
    settings = _prepare(context.obj | _given(given), code=UNKNOWN)
    sys.exit(run_status(settings, once, as_json, time.time, time.monotonic, time.sleep))


@main.command("config", short_help="Print a configuration file with every setting.")
def config_command() -> None:
    """Print a configuration file with every setting, its default and what it does."""
    click.echo(example(main.params, LIVE), nl=False)


main.add_command(completion_command)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if value not in (None, ())}


def _prepare(given: dict[str, Any], is_run: bool = False, code: int = 1) -> Settings:
    """The settings of a command line, with the log set up; or end with `code`. A log file is the
    node's alone."""
    try:
        settings = _read_settings(given)
        logged = settings if is_run else msgspec.structs.replace(settings, log_file=None)
        logs.install(settings.config.log_level, _log_handler(logged))
    except ConfigError as error:
        _exit(str(error), code)
    return settings


def _log_handler(settings: Settings) -> logging.Handler:
    """Raises: ConfigError."""
    config = settings.config
    try:
        return logs.make_handler(config.log_json, settings.log_file, config.log_mb * MEGABYTE)
    except OSError as error:
        raise ConfigError(f"log-file {settings.log_file}: {error.strerror}") from None


@contextmanager
def _told(logged: Settings | None = None) -> Iterator[None]:
    """Have what goes wrong told in one line; of a node with these settings in its log, if programs
    read that or it is elsewhere."""
    try:
        yield
    except (StorageError, ConfigError) as error:
        _end(str(error), logged)
    except OSError as error:
        _end(f"{error.filename}: {error.strerror}" if error.filename else str(error), logged)


def _end(message: str, logged: Settings | None) -> NoReturn:
    if logged is not None and (logged.config.log_json or logged.log_file):
        log.error("%s", message)
        if logged.log_file is None:
            sys.exit(1)
    _exit(message)


def _read_settings(given: dict[str, Any]) -> Settings:
    """Raises: ConfigError."""
    options = _given(given)
    config_file = options.pop("config_file", None)
    if config_file is not None:
        named = Path(config_file)
        return settle(merge(read_toml(named), options, named))
    params = load_params(options.get("network", "main"))
    path = data_directory(options.get("datadir", ""), params) / CONFIG_NAME
    return settle(merge(read_toml(path) if os.path.isfile(path) else {}, options, path))


async def _run(settings: Settings, given: dict[str, Any]) -> None:
    system = System()
    service = system.open_service()
    node = Node(settings, system, service.enter)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, node.stop)
    loop.add_signal_handler(signal.SIGHUP, _reload, node, service, given)
    telling = asyncio.create_task(service.run(node.describe))
    try:
        await node.run()
    finally:
        telling.cancel()


def _reload(node: Node, service: Service, given: dict[str, Any]) -> None:
    """Read the configuration again; what the command line said still counts more."""
    service.reloading()
    logs.reopen()  # whatever comes of the rest, as who moves log files away waits for it
    try:
        _follow(node, _read_settings(given))
    except ConfigError as error:
        log.error("configuration not read again, nothing has changed: %s", error)
    finally:
        service.resume()


def _follow(node: Node, settings: Settings) -> None:
    """Raises: ConfigError, and then nothing has changed."""
    if not compare(node.settings.config, settings.config).live:
        node.reload(settings)
        return
    handler = _log_handler(settings)
    try:
        node.reload(settings)
    except ConfigError:
        handler.close()
        raise
    logs.install(settings.config.log_level, handler)


def start() -> None:
    """Run `main`, and tell in one line when its help cannot be written."""
    # A crash would leave the password of the RPC, those of its users and the key of the certificate in
    # a file that others read and send around.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.excepthook = logs.tell_uncaught
    try:
        main()
    except OSError as error:  # of a running node, main itself tells them
        _exit(f"the output cannot be written: {error.strerror}")


def _exit(message: str, code: int = 1) -> NoReturn:
    click.echo(f"taeld: {message}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    start()
