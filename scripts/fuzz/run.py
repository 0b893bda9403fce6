"""Runs a target under atheris and says what came of it."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from scripts.fuzz.target import INPUT_SECONDS_MAX, MEMORY_MB_MAX, ROOT, Target

WORK = ROOT / "build" / "fuzz"
"""What was found interesting and is not in the corpus yet."""
START_SECONDS_MAX = 120
"""Beyond the time that was asked for: the imports are instrumented first."""
INPUTS_MAX = 60
INPUTS_BYTES_MAX = 24_000
"""What is kept of a target: short inputs first."""
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


def _worker(
    target: Target, options: Sequence[str], folders: Sequence[Path], seconds: int
) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory(prefix="tael-fuzz-") as scratch:
        # A worker ends without cleaning up after itself.
        return subprocess.run(
            [
                "/usr/bin/env", f"TMPDIR={scratch}", sys.executable, "-m", "scripts.fuzz.worker",
                target.name, *options, *map(str, folders),
            ],
            cwd=ROOT, capture_output=True, text=True, errors="replace", check=False,
            timeout=seconds + START_SECONDS_MAX,
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
    options = [
        f"-max_total_time={seconds}", f"-timeout={4 * INPUT_SECONDS_MAX}",
        f"-rss_limit_mb={MEMORY_MB_MAX}", f"-max_len={target.bytes_max}", "-print_final_stats=1",
        f"-artifact_prefix={target.corpus}/", "-report_slow_units=1000",
    ]  # fmt: skip
    target.corpus.mkdir(parents=True, exist_ok=True)
    ended = _worker(target, options, [folder, target.corpus], seconds)
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


def keep(target: Target) -> int:
    """Replace the corpus by the shortest inputs of the work folder, which libFuzzer replaces by shorter
    ones that cover the same; how many there are then. What ever crashed stays."""
    work = WORK / target.name
    write_seeds(target, work)
    for path in target.inputs():
        if not path.name.startswith(CRASHES):
            path.unlink()
    target.corpus.mkdir(parents=True, exist_ok=True)
    size = 0
    for path in sorted(work.iterdir(), key=lambda path: path.stat().st_size)[:INPUTS_MAX]:
        size += path.stat().st_size
        if size <= INPUTS_BYTES_MAX:
            (target.corpus / path.name).write_bytes(path.read_bytes())
    return len(list(target.inputs()))
