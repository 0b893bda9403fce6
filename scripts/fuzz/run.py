"""Runs a target under atheris and says what came of it."""

from __future__ import annotations

import hashlib
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from scripts.fuzz.target import ROOT, Target

WORK = ROOT / "build" / "fuzz"
"""What was found interesting and is not in the corpus yet."""
START_SECONDS_MAX = 120
"""Beyond the time that was asked for: the imports are instrumented first."""
INPUTS_BYTES_MAX = 64_000
"""What is kept of a target: short inputs first."""
MERGE_SECONDS_MAX = 300
CRASHES = ("crash-", "timeout-", "oom-", "leak-")
_COVERED = re.compile(r"cov: (\d+)")
_EXECUTIONS = re.compile(r"stat::number_of_executed_units:\s*(\d+)")


class Outcome(NamedTuple):
    """What came of a run."""

    target: str
    executions: int
    covered: int
    """Branches of the code under test that some input took."""
    kept: int
    """Inputs in the work folder."""
    found: tuple[Path, ...]
    is_sound: bool
    """The run came to its end."""
    said: str
    """The end of what libFuzzer said."""


class Swept(NamedTuple):
    """What came of a moment of each target."""

    executions: Mapping[str, int]
    """By target. Who broke a promise is not among them."""
    covered: int
    """Branches that some input of one target took, of the target with most."""
    found: tuple[Path, ...]
    said: str


class MergeFailed(RuntimeError):
    """libFuzzer did not come to the end of a merge; the text is the end of what it said."""


def _worker(arguments: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str]:
    """`arguments` begin with the name of a target, or with `each`."""
    with tempfile.TemporaryDirectory(prefix="tael-fuzz-") as scratch:
        # A worker ends without cleaning up after itself. libFuzzer starts the same again to merge.
        script = Path(scratch) / "worker"
        name, *rest = arguments
        itself = "" if name == "each" else ' "$0"'
        command = (
            f"{shlex.quote(sys.executable)} -m scripts.fuzz.worker {shlex.quote(name)}{itself}"
        )
        script.write_text(f'#!/bin/sh\nTMPDIR={scratch} exec {command} "$@"\n')
        script.chmod(0o700)
        return subprocess.run(
            [str(script), *rest], cwd=ROOT, capture_output=True, text=True, errors="replace",
            check=False, timeout=seconds + START_SECONDS_MAX,
        )  # fmt: skip


def write_seeds(target: Target, folder: Path) -> None:
    """The inputs that the target begins with, by their hashes."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds():
        (folder / hashlib.sha1(seed, usedforsecurity=False).hexdigest()).write_bytes(seed)


def fuzz(target: Target, seconds: int, work: Path | None = None) -> Outcome:
    """Run `target` for so many seconds. `work` keeps what is new; else `build/fuzz`."""
    folder = work or WORK / target.name
    write_seeds(target, folder)
    before = set(_crashes(target))
    target.corpus.mkdir(parents=True, exist_ok=True)
    ended = _worker(
        [
            target.name, f"-max_total_time={seconds}", "-print_final_stats=1",
            f"-artifact_prefix={target.corpus}/", "-report_slow_units=1000",
            str(folder), str(target.corpus),
        ],
        seconds,
    )  # fmt: skip
    covered = [int(found) for found in _COVERED.findall(ended.stderr)]
    executions = _EXECUTIONS.search(ended.stderr)
    found = tuple(path for path in _crashes(target) if path not in before)
    return Outcome(
        target.name, int(executions[1]) if executions else 0, max(covered, default=0),
        len(list(folder.iterdir())), found, ended.returncode == 0 and executions is not None,
        (ended.stdout + ended.stderr)[-3_000:],
    )  # fmt: skip


def _crashes(target: Target) -> list[Path]:
    return [path for path in target.inputs() if path.name.startswith(CRASHES)]


def sweep(targets: Iterable[Target], seconds: float, work: Path) -> Swept:
    """Run each target for a moment, from its seeds; `work` is an empty folder."""
    chosen = tuple(targets)
    for target in chosen:
        write_seeds(target, work / target.name)
    names = [target.name for target in chosen]
    ended = _worker(["each", str(seconds), str(work), *names], seconds * len(chosen))
    counts = (line.split() for line in ended.stdout.splitlines())
    executions = {said[0]: int(said[1]) for said in counts if len(said) == 2 and said[0] in names}
    found = tuple(path for path in sorted(work.iterdir()) if path.is_file())
    covered = max(map(int, _COVERED.findall(ended.stderr)), default=0)
    return Swept(executions, covered, found, (ended.stdout + ended.stderr)[-3_000:])


def keep(target: Target) -> int:
    """Make the corpus as small as covers what the inputs of the work folder, the corpus so far and the
    seeds cover; how many inputs there are then. What ever crashed stays. Raises: MergeFailed."""
    work = WORK / target.name
    write_seeds(target, work)
    target.corpus.mkdir(parents=True, exist_ok=True)
    crashes = _crashes(target)
    with tempfile.TemporaryDirectory(prefix="tael-fuzz-") as merged:
        folders = [merged, str(work), str(target.corpus)]
        ended = _worker([target.name, "-set_cover_merge=1", *folders], MERGE_SECONDS_MAX)
        found = [path.read_bytes() for path in Path(merged).iterdir()]
    if ended.returncode or not found:
        raise MergeFailed((ended.stdout + ended.stderr)[-3_000:])
    for path in target.inputs():
        if path not in crashes:
            path.unlink()
    size = 0
    for data in sorted({*found} - {path.read_bytes() for path in crashes}, key=len):
        size += len(data)
        if size <= INPUTS_BYTES_MAX:
            name = hashlib.sha1(data, usedforsecurity=False).hexdigest()
            (target.corpus / name).write_bytes(data)
    return len(list(target.inputs()))
