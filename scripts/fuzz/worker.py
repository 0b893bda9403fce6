"""One target under atheris, in a process of its own: libFuzzer ends it when it has found something.

The first argument is the name of the target; all others go to libFuzzer. The code under test is
imported here and nowhere before, as it is instrumented while it is imported.
"""

from __future__ import annotations

import gc
import importlib
import logging
import random
import sys

import atheris

from scripts.fuzz.target import Mutator


def main() -> None:
    name, *options = sys.argv[1:]
    with atheris.instrument_imports(include=["consensus", "p2p", "node", "wallet"]):
        catalogue = importlib.import_module("scripts.fuzz.catalogue")
    # What a hostile input has the node say would be most of the output. Errors are looked for.
    logging.disable(logging.WARNING)
    target = catalogue.TARGETS[name]
    mutate: Mutator | None = target.mutate

    def change(data: bytes, size_max: int, seed: int) -> bytes:
        """What the next input is: half of the time its bytes change, else what it means."""
        rng = random.Random(seed)
        changed = mutate(data, rng) if mutate is not None and rng.random() < 0.5 else None
        if changed is None or len(changed) > size_max:
            return bytes(atheris.Mutate(data, size_max))
        return changed

    gc.freeze()
    given = {} if mutate is None else {"custom_mutator": change}
    atheris.Setup([sys.argv[0], *options], target.run, **given)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
