"""`scripts/system-packages` on machines that a folder of small programs plays."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

COMMAND = Path(__file__).resolve().parents[1] / "scripts" / "system-packages"
TOOLS = ("bash", "cat", "chmod", "dirname", "grep", "mktemp", "rm", "sed", "tail")
APT = """
echo "$*" >>"$CALLS"
case "$*" in *" update") : >"$CALLS.lists" ;; esac
case "$*" in
  *no-such-thing*) echo "E: Unable to locate package no-such-thing"; exit 100 ;;
  *" install "*)
    [ -e "$CALLS.lists" ] || { echo "E: no lists"; exit 100; }
    for last; do :; done
    printf '#!/bin/bash\\n' >"$BIN/$last"
    chmod +x "$BIN/$last" ;;
esac
"""


class Machine:
    """A PATH of its own, and what was told to its apt-get."""

    def __init__(self, folder: Path, user: str = "0", has_apt: bool = True) -> None:
        self.bin = folder / "bin"
        self.bin.mkdir()
        self._folder = folder
        self._calls = folder / "calls"
        for tool in TOOLS:
            (self.bin / tool).symlink_to(_where(tool))
        self.add("id", f"echo {user}")
        self.add("flock", "")
        self.add("dpkg-query", "exit 1")
        if has_apt:
            self.add("apt-get", APT)

    def add(self, name: str, script: str = "") -> None:
        (self.bin / name).write_text(f"#!/bin/bash\n{script}\n")
        (self.bin / name).chmod(0o755)

    def run(self, *packages: str) -> subprocess.CompletedProcess[str]:
        listed = self._folder / "list.txt"
        listed.write_text("# what is needed\n\n" + "\n".join(packages))
        return subprocess.run(
            [_where("bash"), str(COMMAND), str(listed)], capture_output=True, text=True, timeout=30,
            check=False, env={"PATH": str(self.bin), "BIN": str(self.bin), "CALLS": str(self._calls)},
        )  # fmt: skip

    @property
    def calls(self) -> list[str]:
        return self._calls.read_text().splitlines() if self._calls.exists() else []


def _where(tool: str) -> str:
    found = [Path(folder) / tool for folder in os.environ["PATH"].split(":")]
    return str(next(path for path in found if path.exists()))


def test_nothing_is_said_or_called_where_every_program_is_there(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.add("node")
    ended = machine.run("nodejs node  # a program of another name", "sed")
    assert (ended.returncode, ended.stderr, machine.calls) == (0, "", [])


def test_package_without_a_program_counts_as_dpkg_tells(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.add("dpkg-query", "echo installed")
    assert machine.run("libsomething").returncode == 0
    assert machine.calls == []


def test_what_is_missing_is_installed_with_fresh_lists(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    ended = machine.run("ledger")
    assert ended.returncode == 0, ended.stderr
    assert "installing ledger" in ended.stderr
    assert [call.split()[-1] for call in machine.calls] == ["ledger", "update", "ledger"]


def test_one_name_that_is_wrong_keeps_no_other_out(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    ended = machine.run("no-such-thing", "ledger")
    assert ended.returncode == 1
    assert (machine.bin / "ledger").exists()
    assert "could not install no-such-thing (E: Unable to locate" in ended.stderr


@pytest.mark.parametrize(
    ("user", "has_apt", "told"),
    [
        ("1000", True, "Run `sudo apt-get install ledger`"),
        ("0", False, "this is no Debian: install what it calls ledger"),
    ],
)
def test_where_it_cannot_install_it_says_what_to_do(
    user: str, has_apt: bool, told: str, tmp_path: Path
) -> None:
    machine = Machine(tmp_path, user, has_apt)
    ended = machine.run("ledger")
    assert (ended.returncode, machine.calls) == (1, [])
    (line,) = ended.stderr.splitlines()
    assert told in line


def test_list_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    ended = subprocess.run(
        [str(COMMAND), str(tmp_path / "absent")], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, "cannot read" in ended.stderr) == (2, True)
