"""Start of `tael`: where clock and randomness come from."""

from __future__ import annotations

import ctypes
import os
import random
import resource
import sys
import time

import click

from wallet.cli.app import App, Environment
from wallet.cli.main import tael

_PR_SET_DUMPABLE = 4


def _keep_memory_private() -> None:
    """A crash would leave keys and words in a file that others read and send around."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        # Programs that collect crashes are handed the memory whatever the limit is. Nor does any
        # other program of this user then read our memory and environment.
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def main() -> None:
    """Run the command that the arguments name, and exit with its code."""
    _keep_memory_private()
    env = Environment(
        now=lambda: int(time.time()),
        entropy=os.urandom,
        pause=time.sleep,
        rng=random.SystemRandom(),
    )
    try:
        tael.main(prog_name="tael", obj=App(env))
    except OSError as error:  # commands name the files that they cannot use; this is their output
        click.echo(f"Error: the output cannot be written: {error.strerror}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
