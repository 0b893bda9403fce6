"""For each defence: run its test as it is, then in a copy of the project without the defence.

The first run has to pass and the second to fail; anything else is told, and the exit code is 1.
"""

from __future__ import annotations

import enum
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Lock

import click
import msgspec

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
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as pytest:  # fmt: skip
        try:
            code = pytest.wait(TEST_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            return Run.FAILED
        finally:
            # Nodes too that the test started and, without its defence, does not end.
            with suppress(ProcessLookupError):
                os.killpg(pytest.pid, signal.SIGKILL)
    # Every other code says that nothing was tried: a typing error must not pass for a defence.
    return {0: Run.PASSED, 1: Run.FAILED}.get(code, Run.NOT_RUN)


def _try(sabotage: Sabotage, folder: Path) -> Run:
    """What becomes of its test without the defence."""
    target = folder / sabotage.file
    text = target.read_text()
    target.write_text(sabotage.apply(text))
    try:
        return _run(sabotage.test, folder)
    finally:
        target.write_text(text)


class Row(msgspec.Struct, frozen=True):
    """A defence, and what its test said when it was gone."""

    entry: Sabotage
    verdict: str
    seconds: float

    def __str__(self) -> str:
        told = f"{self.entry.threat:>4}  {self.verdict}, {self.seconds:.0f} s: {self.entry.what}"
        return told if self.verdict == NOTICED else f"{told}\n      {self.entry.test}"


class Trial:
    """Copies of the project, in each of which one test runs at a time."""

    def __init__(self, copies: Sequence[Path]) -> None:
        self._copies: SimpleQueue[Path] = SimpleQueue()
        for folder in copies:
            copy_project(folder)
            self._copies.put(folder)
        self._as_it_is: dict[str, Run] = {}
        """What became of tests where nothing was taken away."""
        self._asked: dict[str, Lock] = {}

    def row(self, entry: Sabotage) -> Row:
        """Try one entry in a copy that nobody uses."""
        folder = self._copies.get()
        try:
            began = time.monotonic()
            return Row(entry, self._verdict(entry, folder), time.monotonic() - began)
        finally:
            self._copies.put(folder)

    def _verdict(self, entry: Sabotage, folder: Path) -> str:
        # Many entries share one test, which runs as it is once.
        with self._asked.setdefault(entry.test, Lock()):
            if entry.test not in self._as_it_is:
                self._as_it_is[entry.test] = _run(entry.test, folder)
        match self._as_it_is[entry.test]:
            case Run.NOT_RUN:
                return "COULD NOT RUN the test as it is"
            case Run.FAILED:
                return "the test FAILS as it is"
            case Run.PASSED:
                pass
        match _try(entry, folder):
            case Run.NOT_RUN:
                return "COULD NOT RUN the test without the defence"
            case Run.FAILED:
                return NOTICED
            case Run.PASSED:
                return "NOT NOTICED"


def try_all(entries: Sequence[Sabotage], processes: int) -> bool:
    """Try every one and say what came of it; return whether each was noticed."""
    began = time.monotonic()
    missed = 0
    with (
        tempfile.TemporaryDirectory(prefix="tael-sabotage-") as name,
        ThreadPoolExecutor(processes) as pool,
    ):
        copies = [Path(name) / str(number) for number in range(processes)]
        for folder in copies:
            folder.mkdir()
        trial = Trial(copies)
        for number, row in enumerate(pool.map(trial.row, entries), 1):
            click.echo(f"{number:3}/{len(entries)}  {row}")
            missed += row.verdict != NOTICED
    minutes = (time.monotonic() - began) / 60
    click.echo(f"{len(entries) - missed} of {len(entries)} noticed, {minutes:.1f} min")
    return not missed


@click.command()
@click.option("--only", multiple=True, metavar="NUMBER", help="Only this threat; may be repeated.")
@click.option("--list", "show", is_flag=True, help="Show what there is, and run nothing.")
@click.option("--processes", type=int, default=os.cpu_count() or 1, help="At a time. [cores]")
def main(only: tuple[str, ...], show: bool, processes: int) -> None:
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
    sys.exit(not try_all(chosen, processes))


if __name__ == "__main__":
    main()
