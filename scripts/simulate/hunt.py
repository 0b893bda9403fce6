"""Plays seeds in order until one fails: what `scripts.simulate.bugs` runs in a tree with a bug."""

from __future__ import annotations

import logging

import click
import msgspec

from scripts.simulate.batch import play

LATE = "a callback took"
"""Says something of the machine too, which has other things to do."""


class Find(msgspec.Struct, frozen=True):
    """What became of a hunt."""

    seed: int
    """The seed that failed, or 0 if none did."""
    failure: str
    """What that found first."""


def hunt(first: int, last: int) -> Find:
    """Play the seeds from `first` to `last` until one fails."""
    for seed in range(first, last + 1):
        failures = [text for text in play(seed).failures if not text.startswith(LATE)]
        if failures:
            return Find(seed, failures[0])
    return Find(0, "")


@click.command()
@click.argument("first", type=int)
@click.argument("last", type=int)
def main(first: int, last: int) -> None:
    """Print as JSON which seed from FIRST to LAST fails first, and how."""
    logging.disable(logging.CRITICAL)
    click.echo(msgspec.json.encode(hunt(first, last)))


if __name__ == "__main__":
    main()
