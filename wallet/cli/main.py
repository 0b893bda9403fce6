"""`tael`: every command of the wallet in one table."""

from __future__ import annotations

import click

from wallet.cli import (
    completion,
    contacts,
    export,
    invoice,
    issue,
    keys,
    message,
    pay,
    receipt,
    receive,
    send,
    status,
    view,
    watch,
)
from wallet.cli.multisig import multisig
from wallet.cli.options import HELP_OPTIONS, MainGroup

VERSION = "0.1.0"
COMMANDS: tuple[click.Command, ...] = (
    status.status,
    keys.create,
    keys.restore,
    receive.address,
    view.balance,
    send.send,
    pay.pay,
    invoice.invoice,
    invoice.invoices,
    receipt.receipt,
    view.history,
    export.export,
    receive.addresses,
    receive.label,
    contacts.contacts,
    watch.watch,
    view.utxos,
    send.bump,
    view.assets,
    view.asset,
    issue.issue,
    issue.reissue,
    issue.destroy,
    multisig,
    message.sign,
    message.verify,
    keys.info,
    keys.words,
    keys.change_passphrase,
    completion.completion,
)


@click.group(
    "tael", cls=MainGroup, invoke_without_command=True,
    context_settings={"help_option_names": HELP_OPTIONS},
)  # fmt: skip
@click.version_option(VERSION, message="%(prog)s %(version)s")
@click.pass_context
def tael(ctx: click.Context) -> None:
    """The wallet of Tael: keys stay here; a node is asked by JSON-RPC.

    `tael` alone says what is there and what to do next.
    Begin with `tael create`, then `tael address` to be paid and `tael balance` to see it. The common
    options may stand before or after the command, or in the environment as TAEL_NETWORK,
    TAEL_WALLET, TAEL_RPC, TAEL_DATADIR and TAEL_PASSPHRASE_FILE; the passphrase is asked for unless
    TAEL_PASSPHRASE or a file holds it.
    """
    if ctx.invoked_subcommand is None:
        with status.status.make_context("status", [], parent=ctx) as alone:
            status.status.invoke(alone)


for _command in COMMANDS:
    tael.add_command(_command)
