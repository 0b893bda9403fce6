"""The commands for those who work on Tael: what is typed wrong or missing is told in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from scripts.event_kills import main as event_kills
from scripts.event_sync import main as event_sync
from scripts.fuzz.__main__ import main as fuzz
from scripts.kills import main as kills
from scripts.needs import need
from scripts.sabotage.__main__ import main as sabotage
from scripts.sabotage.catalogue import Sabotage
from scripts.simulate.__main__ import HASH_SEED, commit
from scripts.simulate.__main__ import main as simulate
from scripts.simulate.bugs import main as bugs

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    ("command", "options", "part"),
    [
        (simulate, ("--seeds", "0"), "--seeds"),
        (simulate, ("--seeds", "1", "--processes", "0"), "--processes"),
        (simulate, ("--minutes", "0"), "--minutes"),
        (simulate, ("--seeds", "1", "--svg", "run.svg"), "--seed"),
        (simulate, ("--seed", "1", "--seeds", "2"), "--seed"),
        (simulate, ("--seed", "1", "--svg", "no-such-folder/run.svg"), "no-such-folder"),
        (simulate, ("--seed", "1", "--svg", "docs"), "is a directory"),
        (bugs, ("--seeds", "0"), "--seeds"),
        (bugs, ("--processes", "0"), "--processes"),
        (fuzz, ("amount", "--seconds", "0"), "--seconds"),
        (kills, ("--kills", "0"), "--kills"),
        (kills, ("--minutes", "0"), "--minutes"),
        (event_kills, ("--kills", "0"), "--kills"),
        (event_sync, ("--runs", "0"), "--runs"),
        (sabotage, ("--only", "41", "--only", "no-such-number"), "no-such-number"),
    ],
)
def test_what_is_typed_wrong_is_told_before_anything_runs(
    command: click.Command, options: tuple[str, ...], part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    # With the seed set, no command puts another process in the place of this one.
    outcome = CliRunner(env={"PYTHONHASHSEED": HASH_SEED}).invoke(command, options)
    assert outcome.exit_code in (1, 2), outcome.output
    assert "Error: " in outcome.output
    assert part in outcome.output


@pytest.mark.parametrize("name", ["simulate", "simulate.bugs", "fuzz", "sabotage", "kills"])
def test_a_python_without_the_libraries_says_in_one_line_what_to_run(name: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-S", "-m", f"scripts.{name}", "--help"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "scripts/setup --dev" in line


def test_what_is_missing_is_named() -> None:
    with pytest.raises(SystemExit, match=r"^no_such_library: not installed"):
        need("sys", "no_such_library")


def test_without_git_a_commit_has_no_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit() == ""


@pytest.mark.parametrize(
    ("new", "test", "verdict"),
    [
        ("1 +", "test_it.py::test_one", "COULD NOT RUN the test without the defence"),
        ("1 // 0", "test_it.py::test_other", "COULD NOT RUN the test as it is"),
    ],
)
def test_only_a_test_that_ran_and_failed_has_noticed(
    new: str, test: str, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(folder: Path) -> None:
        (folder / "it.py").write_text("def one():\n    return 2 - 1\n")
        (folder / "test_it.py").write_text(
            "import it\n\n\ndef test_one():\n    assert it.one() == 1\n"
        )

    entry = Sabotage("1", "one is no number", "it.py", "2 - 1", new, test)
    monkeypatch.setattr("scripts.sabotage.__main__.copy_project", make)
    monkeypatch.setattr("scripts.sabotage.__main__.load", lambda: [entry])
    outcome = CliRunner().invoke(sabotage)
    assert f"{verdict}, " in outcome.output
    assert outcome.exit_code == 1
