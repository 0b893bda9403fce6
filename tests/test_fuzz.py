"""Every input that is kept goes through its target; and runs under atheris for a moment."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from scripts.fuzz import conversation
from scripts.fuzz.catalogue import TARGETS
from scripts.fuzz.run import sweep
from scripts.fuzz.target import CORPORA, replay

HAS_ATHERIS = importlib.util.find_spec("atheris") is not None
BYTES_MAX = 1_000_000
MOMENTS = (0.2,) if HAS_ATHERIS else ()
"""Seconds. Empty where atheris cannot be installed: pytest then says that it has nothing to run."""


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


def test_seeds_of_conversations_bring_blocks_and_payments() -> None:
    loop = conversation.Loop()
    seen = [loop.run_until_complete(conversation.play(seed)) for seed in TARGETS["session"].seeds()]
    loop.close()
    assert sum(one.blocks > 0 for one in seen) >= 3
    assert max(one.blocks for one in seen) >= 3
    assert sum(one.rebuilt > 0 for one in seen) >= 2
    assert max(one.waiting for one in seen) >= 3


@pytest.mark.parametrize("seconds", MOMENTS)
def test_a_moment_of_the_fuzzer_on_each_target_finds_nothing(
    seconds: float, tmp_path: Path
) -> None:
    swept = sweep(TARGETS.values(), seconds, tmp_path)
    assert not swept.found, swept.said
    assert swept.executions.keys() == TARGETS.keys(), swept.said
    assert min(swept.executions.values()) > 10
    assert swept.covered > 100
