"""Start of `tael`: where clock and randomness come from."""

from __future__ import annotations

import os
import random
import time

from wallet.cli.app import App, Environment
from wallet.cli.main import tael


def main() -> None:
    """Run the command that the arguments name, and exit with its code."""
    env = Environment(
        now=lambda: int(time.time()),
        entropy=os.urandom,
        pause=time.sleep,
        rng=random.SystemRandom(),
    )
    tael.main(prog_name="tael", obj=App(env))


if __name__ == "__main__":
    main()
