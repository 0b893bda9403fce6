"""Attack a real node, and say in one line for each attack whether it held.

The node and what watches it run as they are; whoever attacks runs in a process of its own that gives
way to both.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path

import click

from scripts.attacks.catalogue import ATTACKS
from scripts.attacks.conduct import Attacked, attacking_process


@click.command()
@click.option("--only", multiple=True, metavar="NAME", help="Only this one; may be repeated.")
@click.option("--share", default=1.0, help="How much of each, as a part of what it has to be.")
@click.option("--list", "show", is_flag=True, help="Show what there is, and attack nothing.")
def main(only: tuple[str, ...], share: float, show: bool) -> None:
    """Attack a real node at length, and say whether it held."""
    chosen = [attack for attack in ATTACKS if not only or attack.name in only]
    if not chosen:
        raise click.ClickException("there is none of that name; see --list")
    if show:
        for attack in chosen:
            click.echo(f"{attack.threat:>4}  {attack.name}, {attack.size}")
        return
    failed = 0
    click.echo(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    with (
        tempfile.TemporaryDirectory(prefix="tael-attacks-") as name,
        attacking_process() as attacker,
    ):
        for attack in chosen:
            with Attacked(Path(name), attack, share) as attacked:
                line = asyncio.run(attacked.run(attacker))
            failed += bool(attacked.failures)
            click.echo(line)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
