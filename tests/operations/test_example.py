"""`taeld config`: a file that can be used as it is printed."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from node.config import Config, merge
from node.operations.reload import LIVE
from tests.support.daemon import ROOT, Daemon, running


@pytest.fixture(scope="module")
def printed() -> str:
    made = subprocess.run(
        [sys.executable, "-m", "node", "config"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert made.stderr == ""
    return made.stdout


def settings_in(printed: str) -> list[str]:
    return re.findall(r"^# (?=[a-z0-9-]+ = )(.*)$", printed, re.MULTILINE)


def test_every_setting_is_there_once_with_its_default(printed: str) -> None:
    found = tomllib.loads("\n".join(settings_in(printed)))
    assert merge(found, {}) == Config()
    assert {name.replace("-", "_") for name in found} == set(Config.__struct_fields__)


def test_file_as_printed_changes_nothing(printed: str) -> None:
    assert tomllib.loads(printed) == {}


def test_every_setting_says_what_it_does_and_whether_it_is_live(printed: str) -> None:
    for block in printed.strip().split("\n\n")[1:]:
        *text, setting = block.split("\n")
        name = setting.removeprefix("# ").partition(" = ")[0].replace("-", "_")
        assert text, setting
        assert (name in LIVE) == text[-1].endswith("live"), setting
        assert all(len(line) <= 100 for line in text)


def test_node_takes_the_file_when_every_setting_counts(printed: str, tmp_path: Path) -> None:
    (tmp_path / "all.toml").write_text("\n".join(settings_in(printed)))
    daemon = Daemon(tmp_path / "node", "--config", str(tmp_path / "all.toml"))
    with running(daemon):
        assert daemon.call("getblockcount") == 0
