"""Plays seeds: `python -m scripts.simulate --seeds 1000`."""

from __future__ import annotations

import itertools
import logging
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import click

from scripts.simulate.batch import failed_seeds, missing, play_all
from scripts.simulate.picture import picture
from scripts.simulate.world import World

HASH_SEED = "0"
"""Python shuffles sets of bytes anew in every process unless it is told how."""
ROOT = Path(__file__).resolve().parents[2]
TOLD_EVERY_S = 5.0
AT_LEAST_ONE = click.IntRange(min=1)
SHOWN = (
    "block", "payment", "message", "reorganisation", "reorganisation of 2 or more",
    "reorganisation in a partition", "issuance undone", "crash", "crash in recovery", "torn batch",
    "torn file", "invalid block", "block of a stranger sent", "ban", "eviction", "recount", "rewind",
    "asked by a client",
)  # fmt: skip


def commit() -> str:
    """The commit of this tree, if there is a git and it knows."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return found.stdout.strip()


def _check_place(file: Path) -> None:
    """See that `file` can be written, before minutes go into what is to stand there."""
    folder = file.parent
    if file.is_dir() or not folder.is_dir():
        why = "it is a directory" if file.is_dir() else f"there is no directory {folder}"
    elif not os.access(file if file.exists() else folder, os.W_OK):
        why = "it may not be written"
    else:
        return
    raise click.BadParameter(f"no picture can be put at {file}: {why}", param_hint="--svg")


def _play_one(seed: int, svg: Path | None) -> int:
    world = World(seed)
    result = world.play()
    world.close()
    for entry in result.trace.entries:
        click.echo(str(entry))
    for name, count in sorted(result.counts.items()):
        click.echo(f"{count:8}  {name}")
    click.echo(f"trace {result.digest}")
    if svg is not None:
        svg.write_text(picture(result))
        click.echo(f"picture: {svg}")
    for failure in result.failures:
        click.echo(f"FAILED: {failure}")
    return bool(result.failures)


def play_many(seeds: Iterable[int], processes: int, minutes: float | None) -> int:
    """Play seeds, and say what they came to; returns the exit code."""
    began = told = time.monotonic()
    deadline = began + 60 * minutes if minutes is not None else None
    counts: Counter[str] = Counter()
    played = failed = 0
    longest = (0.0, 0)
    for outcome in play_all(seeds, processes, deadline):
        played += 1
        counts += outcome.counts
        longest = max(longest, (outcome.seconds, outcome.seed))
        if outcome.failures:
            failed += 1
            click.echo(f"seed {outcome.seed} FAILED: {outcome.failures[0]}")
            click.echo(
                f"  commit {commit()}; play it again: python -m scripts.simulate --seed {outcome.seed}"
            )
        if time.monotonic() - told > TOLD_EVERY_S:
            told = time.monotonic()
            click.echo(f"{played} seeds, {failed} failed, {told - began:.0f} s", err=True)
    click.echo(f"{played} seeds, {failed} failed, {time.monotonic() - began:.0f} s; "
               f"the longest took {longest[0]:.1f} s (seed {longest[1]})")  # fmt: skip
    for name in SHOWN:
        click.echo(f"{counts[name]:8}  {name}")
    for name, count in sorted(counts.items()):
        if name.startswith(("fault: ", "gave up: ")):
            click.echo(f"{count:8}  {name}")
    lacking = missing(counts, played)
    for name in lacking:
        click.echo(f"FAILED: {played} seeds contained no {name}")
    return bool(failed or lacking)


@click.command()
@click.option("--seed", type=int, help="Play this seed alone, and tell its story.")
@click.option("--seeds", type=AT_LEAST_ONE, metavar="N", help="Play N seeds, from --first on.")
@click.option(
    "--first", type=int, help="Where to begin. [1; with --minutes, drawn from the commit]"
)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    metavar="M",
    help="Play seeds for M minutes.",
)
@click.option(
    "--processes", type=AT_LEAST_ONE, default=os.cpu_count() or 1, help="Seeds at a time. [cores]"
)
@click.option(
    "--svg",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="With --seed: a picture of what happened.",
)
def main(
    seed: int | None, seeds: int | None, first: int | None, minutes: float | None, processes: int,
    svg: Path | None,
) -> None:  # fmt: skip
    """Run whole networks of production nodes in virtual time, and break them.

    Every seed that ever failed is played first. The exit code is 1 if anything that must hold did
    not, or if the batch did not contain what it should.
    """
    if seed is None and seeds is None and minutes is None:
        raise click.UsageError("say --seed, --seeds or --minutes")
    if seed is not None and (seeds, first, minutes) != (None, None, None):
        raise click.UsageError("--seed plays one alone: leave out --seeds, --first and --minutes")
    if svg is not None:
        if seed is None:
            raise click.UsageError("--svg draws one run: say which by --seed")
        _check_place(svg)
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        environment = {**os.environ, "PYTHONHASHSEED": HASH_SEED}
        os.execve(
            sys.executable, [sys.executable, "-m", "scripts.simulate", *sys.argv[1:]], environment
        )
    logging.disable(logging.CRITICAL)
    if seed is not None:
        sys.exit(_play_one(seed, svg))
    if first is None:
        # Other seeds for every commit, and the same ones for everybody who tries that commit.
        first = int(commit()[:8] or "1", 16) * 1_000 if minutes is not None else 1
    fresh = itertools.count(first) if seeds is None else range(first, first + seeds)
    sys.exit(play_many(itertools.chain(failed_seeds(), fresh), processes, minutes))


if __name__ == "__main__":
    main()
