"""`tael export`: the history of the wallet as a file for a spreadsheet or for bookkeeping."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from consensus.hashes import AssetId, LockHash
from wallet.answers import ChainInfo
from wallet.cli.app import App, Wallet
from wallet.cli.assets_of import Assets, asset_infos
from wallet.cli.options import Command
from wallet.client import Client
from wallet.contacts import names_by_lock
from wallet.errors import WalletError
from wallet.export import Names, Span, to_csv, to_journal
from wallet.files import write_file
from wallet.mined import block_times, check_same_chain, check_whole, mined_txs
from wallet.scan import Say, discover, events
from wallet.statement import Entry, Matured, Purse, entries_of, matured_by
from wallet.tracked import Kind, Place

HEIGHT_MAX = 2**32 - 1
STDOUT = "-"


class _Read(msgspec.Struct, frozen=True):
    """What the node told."""

    entries: list[Entry]
    matured: list[Matured]
    times: dict[int, int]
    """Of the blocks that let coins mature."""
    span: Span
    infos: Assets


@click.command("export", cls=Command)
@click.option("--csv", "csv_to", metavar="FILE", help="Comma-separated values; - for the output.")
@click.option("--ledger", "ledger_to", metavar="FILE", help="A journal for ledger and hledger.")
@click.option("--from", "first", type=click.IntRange(0, HEIGHT_MAX), default=0, metavar="HEIGHT",
              help="Only from this block on; a journal opens with what there was before.")  # fmt: skip
@click.option("--to", "last", type=click.IntRange(0, HEIGHT_MAX), metavar="HEIGHT",
              help="Only up to this block (default: the newest).")  # fmt: skip
@click.option("--watched", is_flag=True, help="What is only watched, too.")
@click.option("--thousands", is_flag=True, help="In CSV, amounts as 1,234.5 instead of 1234.5.")
@click.option("--replace", is_flag=True, help="Write over a FILE that is there.")
@click.pass_obj
def export(
    app: App, csv_to: str | None, ledger_to: str | None, first: int, last: int | None, watched: bool,
    thousands: bool, replace: bool,
) -> None:  # fmt: skip
    """Write what came in and went out to a file, as far as it is in blocks.

    Both files add up to the confirmed and immature figures of `tael balance`. Columns and accounts
    are described in docs/wallet.md.
    """
    targets = [name for name in (csv_to, ledger_to) if name is not None]
    _check_targets(app, targets, replace)
    with app.open_wallet() as wallet:
        before = (wallet.book.next_index, wallet.book.used_index, list(wallet.book.accounts))
        read = _read(app, wallet, first, last, watched)
        if before != (wallet.book.next_index, wallet.book.used_index, wallet.book.accounts):
            wallet.save()
        names = Names(read.infos, app.address, names_by_lock(wallet.book), wallet.book.labels)
    if csv_to is not None:
        _write(app, csv_to, to_csv(read.entries, names, read.span, thousands))
    if ledger_to is not None:
        journal = to_journal(read.entries, read.matured, read.times, names, read.span)
        _write(app, ledger_to, journal)
    span = read.span
    count = sum(span.first <= entry.height <= span.last for entry in read.entries)
    if STDOUT in targets:
        return
    app.out.result(
        {"from": span.first, "to": span.last, "transactions": count, "files": targets},
        lambda: app.out.line(
            f"Wrote {', '.join(targets)}: {count:,} transactions of blocks {span.first:,} to "
            f"{span.last:,}"
        ),
    )


def _check_targets(app: App, targets: list[str], replace: bool) -> None:
    """Before anything is asked. Raises: WalletError."""
    if not targets:
        raise WalletError("say what to write: --csv FILE or --ledger FILE")
    if len({Path(target).expanduser().resolve() for target in targets}) < len(targets):
        raise WalletError("two exports need two files")
    if STDOUT in targets and app.settings.json:
        raise WalletError("with --json the output is no place for a file")
    for target in targets:
        if target == STDOUT:
            continue
        path = app.output_path(target)
        if not path.parent.is_dir():
            raise WalletError(f"{path.parent}: no such directory")
        if path.exists() and not replace:
            raise WalletError(f"{target} exists already: give another, or --replace")


def _write(app: App, target: str, data: bytes) -> None:
    if target == STDOUT:
        click.echo(data, nl=False)
    else:
        write_file(Path(target).expanduser(), data)


def _read(app: App, wallet: Wallet, first: int, last: int | None, watched: bool) -> _Read:
    """Everything from the first block, as what is spent later has to be known. Raises: WalletError."""

    async def work(client: Client, info: ChainInfo, say: Say) -> _Read:
        end = info.blocks if last is None else min(last, info.blocks)
        if first > end:
            raise WalletError(f"block {first:,} is behind the last one to export, {end:,}")
        await discover(client, wallet.keyring, say)
        places = [
            place for place in wallet.keyring.places().values()
            if watched or place.kind is not Kind.WATCHED
        ]  # fmt: skip
        found = await events(client, wallet.keyring, places, say)
        txs = await mined_txs(client, found, end, say)
        entries = list(entries_of(txs, _purses(places)))
        check_whole(entries, found, end)
        matured = matured_by(entries, end)
        times = await block_times(client, [first, *(entry.height for entry in matured)], say)
        await check_same_chain(client, info)
        assets: set[AssetId] = {asset for entry in entries for _, asset in entry.postings}
        assets |= {m.asset for entry in entries for m in entry.movements}
        infos = await asset_infos(client, app.params, wallet.book, sorted(assets))
        return _Read(entries, matured, times, Span(first, end, times[first]), infos)

    return app.ask_node(work)


def _purses(places: list[Place]) -> dict[LockHash, Purse]:
    return {place.lock_hash: Purse(place.kind, place.name) for place in places}
