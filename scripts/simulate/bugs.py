"""Plants bugs in copies of the node, to see that the simulation finds them.

    python -m scripts.simulate.bugs

The exit code is 1 if one is not found, or if the node without them fails a seed that finds one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import click
import msgspec

from scripts.sabotage.tree import copy_project
from scripts.simulate.hunt import Find

CATALOGUE = Path(__file__).with_suffix(".toml")
SEEDS_MAX = 200
"""Within so many seeds each has to be found."""
AT_LEAST_ONE = click.IntRange(min=1)


class Bug(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One small change to one file, such as happens."""

    name: str
    """What is wrong, in a few words."""
    file: str
    """Path from the root of the project."""
    old: str
    """Text that stands there exactly once."""
    new: str

    def apply(self, text: str) -> str:
        """The changed text of the file. Raises: ValueError if `old` does not stand there once."""
        found = text.count(self.old)
        if found != 1:
            raise ValueError(f"{self.name}: `old` stands {found} times in {self.file}")
        return text.replace(self.old, self.new)


class _Catalogue(msgspec.Struct, forbid_unknown_fields=True):
    bug: list[Bug]


def load() -> list[Bug]:
    """Every bug. Raises: msgspec.ValidationError, tomllib.TOMLDecodeError."""
    return msgspec.convert(tomllib.loads(CATALOGUE.read_text()), _Catalogue).bug


class Broken(Exception):
    """The simulation did not come to an end."""


def search(bug: Bug | None, seeds: int) -> Find:
    """The first of so many seeds that fails on a node with `bug`. Raises: Broken, ValueError."""
    with tempfile.TemporaryDirectory(prefix="tael-bug-") as name:
        folder = Path(name)
        copy_project(folder)
        if bug is not None:
            path = folder / bug.file
            path.write_text(bug.apply(path.read_text()))
        ended = subprocess.run(
            [sys.executable, "-m", "scripts.simulate.hunt", "1", str(seeds)],
            cwd=folder, capture_output=True, check=False,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )  # fmt: skip
    if ended.returncode:
        raise Broken(ended.stderr.decode(errors="replace")[-2_000:])
    return msgspec.json.decode(ended.stdout, type=Find)


class Row(msgspec.Struct, frozen=True):
    """A bug and what became of it."""

    bug: Bug
    find: Find
    seconds: float

    def __str__(self) -> str:
        if not self.find.seed:
            return f"NOT FOUND in {self.seconds:.0f} s: {self.bug.name}"
        return f"{self.bug.name}\n      seed {self.find.seed}: {self.find.failure}"


def _try(bug: Bug, seeds: int) -> Row:
    began = time.monotonic()
    find = search(bug, seeds)
    return Row(bug, find, time.monotonic() - began)


def try_all(bugs: Sequence[Bug], seeds: int, processes: int) -> bool:
    """Try every one, and the node without any; say what came of it, and return if all went well."""
    latest = missed = 0
    with ThreadPoolExecutor(processes) as pool:
        for number, row in enumerate(pool.map(partial(_try, seeds=seeds), bugs), 1):
            click.echo(f"{number:3}/{len(bugs)} {row}")
            latest = max(latest, row.find.seed)
            missed += not row.find.seed
    click.echo(f"{len(bugs) - missed} of {len(bugs)} found")
    clean = search(None, latest)
    if clean.seed:
        click.echo(f"FAILED without a bug: seed {clean.seed}: {clean.failure}")
    else:
        click.echo(f"without a bug, {latest} seeds pass")
    return not missed and not clean.seed


@click.command()
@click.option("--only", multiple=True, metavar="TEXT", help="Bugs whose name has it; repeatable.")
@click.option("--list", "show", is_flag=True, help="Show what there is, and run nothing.")
@click.option("--seeds", type=AT_LEAST_ONE, default=SEEDS_MAX, help="How many each may take. [200]")
@click.option(
    "--processes", type=AT_LEAST_ONE, default=os.cpu_count() or 1, help="Bugs at a time. [cores]"
)
def main(only: tuple[str, ...], show: bool, seeds: int, processes: int) -> None:
    """Plant every bug in turn, and play seeds from 1 on until one fails."""
    chosen = [bug for bug in load() if not only or any(text in bug.name for text in only)]
    if not chosen:
        raise click.ClickException("there is none of that name; see --list")
    if show:
        for bug in chosen:
            click.echo(f"{bug.file:28}  {bug.name}")
        return
    sys.exit(not try_all(chosen, seeds, processes))


if __name__ == "__main__":
    main()
