"""For each defence: run its test as it is, then in a copy of the project without the defence.

The first run has to pass and the second to fail; anything else is told, and the exit code is 1.
"""

from __future__ import annotations

import enum
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from scripts.needs import DEVELOPMENT, need
from scripts.sabotage.catalogue import Sabotage, load
from scripts.sabotage.tree import copy_project

TEST_SECONDS_MAX = 300


NOTICED = "noticed"


class Run(enum.Enum):
    """What became of a test."""

    PASSED = 0
    FAILED = 1
    """It may have taken too long too, as a test without its defence can."""
    NOT_RUN = 2
    """pytest found no such test, or could not import it."""


def _run(test: str, folder: Path) -> Run:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", test]
    try:
        ended = subprocess.run(
            command, cwd=folder, capture_output=True, timeout=TEST_SECONDS_MAX, check=False
        )
    except subprocess.TimeoutExpired:
        return Run.FAILED
    # Every other code says that nothing was tried: a typing error must not pass for a defence.
    return {0: Run.PASSED, 1: Run.FAILED}.get(ended.returncode, Run.NOT_RUN)


def _try(sabotage: Sabotage, folder: Path) -> Run:
    """What becomes of its test without the defence."""
    target = folder / sabotage.file
    text = target.read_text()
    target.write_text(sabotage.apply(text))
    try:
        return _run(sabotage.test, folder)
    finally:
        target.write_text(text)


def _verdict(sabotage: Sabotage, folder: Path, as_it_is: dict[str, Run]) -> str:
    """`as_it_is` keeps what became of tests where nothing was taken away."""
    if sabotage.test not in as_it_is:
        as_it_is[sabotage.test] = _run(sabotage.test, folder)
    match as_it_is[sabotage.test]:
        case Run.NOT_RUN:
            return "COULD NOT RUN the test as it is"
        case Run.FAILED:
            return "the test FAILS as it is"
        case Run.PASSED:
            pass
    match _try(sabotage, folder):
        case Run.NOT_RUN:
            return "COULD NOT RUN the test without the defence"
        case Run.FAILED:
            return NOTICED
        case Run.PASSED:
            return "NOT NOTICED"


@click.command()
@click.option("--only", multiple=True, metavar="NUMBER", help="Only this threat; may be repeated.")
@click.option("--list", "show", is_flag=True, help="Show what there is, and run nothing.")
def main(only: tuple[str, ...], show: bool) -> None:
    """Take every defence away in turn, and see that its test fails."""
    catalogue = load()
    unknown = set(only) - {entry.threat for entry in catalogue}
    if unknown:
        raise click.ClickException(f"there is no {', '.join(sorted(unknown))}; see --list")
    chosen = [entry for entry in catalogue if not only or entry.threat in only]
    if show:
        for entry in chosen:
            click.echo(f"{entry.threat:>4}  {entry.what}\n      {entry.test}")
        return
    need(*DEVELOPMENT)
    unnoticed = 0
    as_it_is: dict[str, Run] = {}
    with tempfile.TemporaryDirectory(prefix="tael-sabotage-") as name:
        folder = Path(name)
        copy_project(folder)
        for number, entry in enumerate(chosen, 1):
            began = time.monotonic()
            verdict = _verdict(entry, folder, as_it_is)
            unnoticed += verdict != NOTICED
            took = time.monotonic() - began
            click.echo(
                f"{number:3}/{len(chosen)}  {entry.threat:>4}  {verdict}, {took:.0f} s: {entry.what}"
            )
    click.echo(f"{len(chosen) - unnoticed} of {len(chosen)} noticed")
    if unnoticed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
