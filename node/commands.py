"""Commands of `taeld` that do one thing and end: what they print."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from consensus.errors import StorageError
from node.asking import NoNode, ask
from node.check import Outcome, check
from node.config import Settings
from node.restore import restore_backup
from p2p.ports import RandomSource

TELL_EVERY_S = 2.0
ASK_EVERY_S = 0.2


def paced(monotonic: Callable[[], float]) -> Callable[[str], None]:
    """Prints what it is given to stderr, but not more often than every `TELL_EVERY_S`."""
    last = monotonic()

    def tell(text: str) -> None:
        nonlocal last
        now = monotonic()
        if now - last >= TELL_EVERY_S:
            last = now
            click.echo(text, err=True)

    return tell


def run_check(settings: Settings, rng: RandomSource, tell: Callable[[str], None]) -> bool:
    """Check a data directory and print what was found; True if all is well. Raises: StorageError."""
    outcome = check(settings.datadir, settings.params, rng, tell)
    for note in outcome.notes:
        click.echo(f"note: {note}")
    for finding in outcome.findings:
        click.echo(f"WRONG: {finding.what}. What to do: {finding.remedy}.")
    if outcome.left_out:
        click.echo(f"… and {outcome.left_out:,} more")
    click.echo(_summary(outcome))
    return not outcome.findings


def _summary(outcome: Outcome) -> str:
    looked_at = (
        f"{outcome.records:,} records read, {outcome.blocks:,} blocks recounted, "
        f"{outcome.coins:,} coins compared"
    )
    found = len(outcome.findings) + outcome.left_out
    return f"{looked_at}: {f'{found:,} wrong' if found else 'all as it should be'}"


def run_backup(
    settings: Settings, destination: Path, tell: Callable[[str], None],
    sleep: Callable[[float], None],
) -> None:  # fmt: skip
    """Have the running node make a backup, and wait for it. Raises: StorageError, ConfigError."""
    destination = destination.expanduser().absolute()
    try:
        ask(settings, "backup", str(destination))
    except NoNode as error:
        raise NoNode(f"{error}; of a node that is stopped, copy the directory") from None
    while (info := ask(settings, "getbackupinfo"))["state"] == "running":
        tell(f"copied: {info['bytes']:,} bytes and {info['rows']:,} rows")
        sleep(ASK_EVERY_S)
    if info["state"] != "done":
        raise StorageError(
            f"no backup was made: {info['error'] or 'the node was stopped'}",
            "nothing is left of it",
        )
    click.echo(
        f"Backup of block {info['height']} at {destination}: {info['bytes']:,} bytes, "
        f"{info['rows']:,} rows"
    )


def run_restore(settings: Settings, backup: Path, tell: Callable[[str], None]) -> None:
    """Make the data directory from a backup. Raises: StorageError."""
    manifest = restore_backup(backup.expanduser(), settings.datadir, settings.params, tell)
    click.echo(
        f"Restored block {manifest.height} of {manifest.network} to {settings.datadir}: "
        f"{manifest.bytes:,} bytes, every file as it was written"
    )
