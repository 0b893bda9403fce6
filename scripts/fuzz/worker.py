"""Targets under atheris, in a process of their own: libFuzzer ends it when it has found something.

    worker TARGET EXECUTABLE [OPTION OF LIBFUZZER]…
    worker each SECONDS FOLDER TARGET…

EXECUTABLE is what libFuzzer starts again with options of its own, when it merges corpora. The code under
test is imported here and nowhere before, as it is instrumented while it is imported.
"""

from __future__ import annotations

import gc
import importlib
import logging
import os
import random
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

import atheris

from scripts.fuzz.target import LIMITS, Mutator, Target


def _fuzz(target: Target, command: list[str], run: Callable[[bytes], None]) -> None:
    mutate: Mutator | None = target.mutate

    def change(data: bytes, size_max: int, seed: int) -> bytes:
        """What the next input is: half of the time its bytes change, else what it means."""
        rng = random.Random(seed)
        changed = mutate(data, rng) if mutate is not None and rng.random() < 0.5 else None
        if changed is None or len(changed) > size_max:
            return bytes(atheris.Mutate(data, size_max))
        return changed

    given = {} if mutate is None else {"custom_mutator": change}
    atheris.Setup([*command, *LIMITS, f"-max_len={target.bytes_max}"], run, **given)
    atheris.Fuzz()


def _fuzz_for(target: Target, seconds: float, folder: Path) -> NoReturn:
    """So many seconds of computing after the first input; then say how many inputs there were."""
    count = 0
    ends = 0.0

    def run(data: bytes) -> None:
        nonlocal count, ends
        if count and time.process_time() >= ends:
            print(target.name, count, flush=True)
            os._exit(0)
        target.run(data)
        count += 1
        if count == 1:  # it made what all others share
            ends = time.process_time() + seconds

    found = f"-artifact_prefix={folder / target.name}-"
    _fuzz(target, ["each", found, str(folder / target.name)], run)
    os._exit(1)


def _fuzz_each(targets: Mapping[str, Target], seconds: float, folder: Path) -> None:
    """One after the other, each in a copy of this process: the imports take longer than the rest."""
    for target in targets.values():
        child = os.fork()
        if not child:
            _fuzz_for(target, seconds, folder)
        os.waitpid(child, 0)


def main() -> None:
    name, *rest = sys.argv[1:]
    with atheris.instrument_imports(include=["consensus", "p2p", "node", "wallet"]):
        catalogue = importlib.import_module("scripts.fuzz.catalogue")
    # What a hostile input has the node say would be most of the output. Errors are looked for.
    logging.disable(logging.WARNING)
    gc.freeze()
    if name == "each":
        chosen = {name: catalogue.TARGETS[name] for name in rest[2:]}
        _fuzz_each(chosen, float(rest[0]), Path(rest[1]))
    else:
        target = catalogue.TARGETS[name]
        _fuzz(target, rest, target.run)


if __name__ == "__main__":
    main()
