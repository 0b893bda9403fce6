"""Fuzz one target, or all of them one after the other.

    python -m scripts.fuzz --list
    python -m scripts.fuzz transaction session --seconds 300
    python -m scripts.fuzz session --replay tests/corpora/session/crash-…
    python -m scripts.fuzz session --keep      # the corpus becomes what covers as much as the runs so far

What breaks a promise is written to the target's corpus as `crash-…`, `timeout-…` or `oom-…`, where the
suite replays it from then on; the line that replays it is printed.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import click

from scripts.fuzz.catalogue import TARGETS
from scripts.fuzz.run import MergeFailed, Outcome, fuzz, keep
from scripts.fuzz.target import Broken, Target, replay
from scripts.needs import need


def _replay(target: Target, path: Path) -> None:
    logging.disable(logging.WARNING)
    try:
        replay(target, path.read_bytes())
    except Broken as broken:
        raise click.ClickException(f"{target.name}: {broken}") from broken
    click.echo(f"{target.name}: nothing found")


def _show(outcome: Outcome) -> None:
    click.echo(
        f"| {outcome.target} | {outcome.executions:,} | {outcome.covered:,} | {outcome.kept} | "
        f"{len(outcome.found)} |"
    )
    for path in outcome.found:
        click.echo(f"  replay: python -m scripts.fuzz {outcome.target} --replay {path}")


@click.command()
@click.argument("names", nargs=-1, metavar="[TARGET]…")
@click.option("--list", "show", is_flag=True, help="Show the targets, and run nothing.")
@click.option(
    "--seconds",
    type=click.IntRange(min=1),
    default=60,
    show_default=True,
    help="How long each target runs.",
)
@click.option(
    "--replay", "replayed", type=click.Path(exists=True, path_type=Path), help="One input."
)
@click.option("--keep", "keeping", is_flag=True, help="Keep what covers as much.")
def main(
    names: Sequence[str], show: bool, seconds: int, replayed: Path | None, keeping: bool
) -> None:
    """Fuzz the TARGETs, or all of them."""
    unknown = set(names) - set(TARGETS)
    if unknown:
        raise click.ClickException(f"no target is called {', '.join(sorted(unknown))}; see --list")
    chosen = [TARGETS[name] for name in names or TARGETS]
    if show:
        for target in chosen:
            click.echo(f"{target.name:14} {target.what}")
        return
    if replayed is not None:
        if len(chosen) != 1:
            raise click.ClickException("an input is replayed by one target: name it")
        _replay(chosen[0], replayed)
        return
    need("atheris", hint=" (there are wheels for Linux on x86-64, up to Python 3.12)")
    failed = False
    if not keeping:
        click.echo("| target | executions | covered | inputs | found |\n|---|---|---|---|---|")
    for target in chosen:
        if keeping:
            try:
                click.echo(f"{target.name}: {keep(target)} inputs")
            except MergeFailed as error:
                raise click.ClickException(f"{target.name} was not merged: {error}") from error
            continue
        outcome = fuzz(target, seconds)
        _show(outcome)
        failed = failed or bool(outcome.found) or not outcome.is_sound
        if not outcome.is_sound:
            click.echo(outcome.said)
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
