"""Every input that is kept goes through its target; each group of code runs under atheris for a moment."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from scripts.fuzz.catalogue import TARGETS
from scripts.fuzz.run import CRASHES, fuzz
from scripts.fuzz.target import CORPORA, replay

HAS_ATHERIS = importlib.util.find_spec("atheris") is not None
BYTES_MAX = 1_000_000
SHORT_RUNS = ("transaction", "session", "rpc-body", "records") if HAS_ATHERIS else ()
"""Empty where atheris cannot be installed: pytest then says that it has nothing to run."""


@pytest.mark.parametrize("name", TARGETS)
def test_every_input_that_is_kept_keeps_the_promises(name: str) -> None:
    target = TARGETS[name]
    inputs = list(target.inputs())
    assert inputs
    for path in inputs:
        replay(target, path.read_bytes())


def test_corpora_are_small_and_belong_to_targets() -> None:
    folders = {path.name for path in CORPORA.iterdir() if path.is_dir()}
    assert folders == set(TARGETS)
    assert sum(path.stat().st_size for path in CORPORA.rglob("*") if path.is_file()) <= BYTES_MAX


@pytest.mark.parametrize("name", SHORT_RUNS)
def test_a_short_run_of_the_fuzzer_finds_nothing(name: str, tmp_path: Path) -> None:
    outcome = fuzz(TARGETS[name], 2, tmp_path / name)
    assert outcome.is_sound, outcome.said
    assert not outcome.found
    assert outcome.executions > 10
    assert outcome.covered > 10
    assert not [path for path in TARGETS[name].inputs() if path.name.startswith(CRASHES[1:])]
