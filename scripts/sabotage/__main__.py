"""For each defence: run its test as it is, then in a copy of the project without the defence.

The first run has to pass and the second to fail; anything else is told, and the exit code is 1.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from scripts.sabotage.catalogue import Sabotage, load
from scripts.sabotage.tree import copy_project

TEST_SECONDS_MAX = 300
_FAILED = 1
"""What pytest ends with when a test failed, and not for instance when there was none."""


def _run(test: str, folder: Path) -> int | None:
    """What pytest ended with; None if it took too long, as a test without its defence may."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", test]
    try:
        ended = subprocess.run(
            command, cwd=folder, capture_output=True, timeout=TEST_SECONDS_MAX, check=False
        )
    except subprocess.TimeoutExpired:
        return None
    return ended.returncode


def _try(sabotage: Sabotage, folder: Path) -> bool:
    """Whether the test noticed."""
    target = folder / sabotage.file
    text = target.read_text()
    target.write_text(sabotage.apply(text))
    try:
        return _run(sabotage.test, folder) in (_FAILED, None)
    finally:
        target.write_text(text)


@click.command()
@click.option("--only", multiple=True, metavar="NUMBER", help="Only this threat; may be repeated.")
@click.option("--list", "show", is_flag=True, help="Show what there is, and run nothing.")
def main(only: tuple[str, ...], show: bool) -> None:
    """Take every defence away in turn, and see that its test fails."""
    chosen = [entry for entry in load() if not only or entry.threat in only]
    if not chosen:
        raise click.ClickException("there is none of that number; see --list")
    if show:
        for entry in chosen:
            click.echo(f"{entry.threat:>4}  {entry.what}\n      {entry.test}")
        return
    unnoticed = 0
    passing: dict[str, bool] = {}
    with tempfile.TemporaryDirectory(prefix="tael-sabotage-") as name:
        folder = Path(name)
        copy_project(folder)
        for number, entry in enumerate(chosen, 1):
            began = time.monotonic()
            if entry.test not in passing:
                passing[entry.test] = _run(entry.test, folder) == 0
            if not passing[entry.test]:
                verdict = "the test fails as it is"
            elif _try(entry, folder):
                verdict = "noticed"
            else:
                verdict = "NOT NOTICED"
            unnoticed += verdict != "noticed"
            took = time.monotonic() - began
            click.echo(
                f"{number:3}/{len(chosen)}  {entry.threat:>4}  {verdict}, {took:.0f} s: {entry.what}"
            )
    click.echo(f"{len(chosen) - unnoticed} of {len(chosen)} noticed")
    if unnoticed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
