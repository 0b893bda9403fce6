"""Completion, in a bash that a person could sit at."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.terminal import LIMIT_S, Terminal
from tests.support.wallet_cli import Tael

READY = "ready> "


class Bash(Terminal):
    """An interactive bash."""

    def __init__(self, home: Path, **variables: str) -> None:
        path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
        super().__init__(
            ["bash", "--norc", "--noprofile", "-i"], home, PATH=path, PS1=READY,
            INPUTRC="/dev/null", TERM="dumb", **variables,
        )  # fmt: skip
        self.until(READY)

    def run(self, line: str) -> str:
        """What a command prints."""
        self.type(f"{line}; echo do''ne\n")
        return self.until(READY, self.until("\ndone\n")).split("\n", 1)[1]

    def completed(self, typed: str, wanted: str) -> None:
        """Type a line and a tab; wait until `wanted` stands there; give the line up."""
        self.type(f"{typed}\t")
        self.until(wanted)
        self._give_up()

    def choices(self, typed: str) -> set[str]:
        """The words that are offered when several fit."""
        words = self.run(
            f"COMP_WORDS=({typed} ''); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMPREPLY=(); "
            "_tael_completion tael 2> /dev/null; printf '<%s>\\n' \"${COMPREPLY[@]}\""
        )
        # Whole lines: a terminal may show parts of what was typed a second time, and that has such marks too.
        return set(re.findall(r"^<([^>\n]+)>$", words, re.MULTILINE))

    def _give_up(self) -> None:
        self.type("\x15")  # empties the line
        self.run(":")


@pytest.fixture
def bash(tmp_path: Path, bob: Tael) -> Iterator[Bash]:
    """At home with bob's wallet, which has some contacts."""
    for number, name in enumerate(("Robert", "Smith Jo", "x;touch pwned", "$HOME", "王小明")):
        address = bob.json("address", "--new")["address"]
        assert number == bob.json("address")["index"]
        bob.run("contacts", "add", name, address)
    found = Bash(tmp_path, TAEL_NETWORK="regtest", TAEL_WALLET=str(bob.path),
                 TAEL_PASSPHRASE="correct horse")  # fmt: skip
    found.run('eval "$(tael completion bash)"')
    yield found
    found.close()


def test_a_tab_completes_what_a_person_types(bash: Bash, tmp_path: Path) -> None:
    bash.completed("tael contacts rem", "remove ")
    bash.completed("tael send --fee-r", "--fee-rate ")
    bash.completed("tael --network reg", "regtest ")
    bash.completed("tael send Rob", "Robert ")
    (tmp_path / "people.csv").touch()
    bash.completed("tael contacts import peo", "people.csv ")
    assert {"create", "send", "export", "contacts"} <= bash.choices("tael")
    assert bash.choices("tael --network") == {"main", "test", "regtest"}
    assert bash.choices("tael export --asset") == set()
    assert bash.choices("tael send --asset") == {"TAEL"}


def test_names_that_a_shell_would_act_on_are_not_offered(bash: Bash, tmp_path: Path) -> None:
    assert bash.choices("tael send") == {"Robert", "王小明"}
    assert bash.choices("tael send Robert") == {"all"}
    assert bash.choices("tael contacts remove") == {"Robert", "王小明"}
    bash.run("unset TAEL_PASSPHRASE")
    assert bash.choices("tael send") == set()
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("program", ["tael", "taeld"])
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_a_script(program: str, shell: str) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / program), "completion", shell],
        capture_output=True, text=True, timeout=LIMIT_S, check=True,
    )  # fmt: skip
    assert f"_{program.upper()}_COMPLETE={shell}_complete" in done.stdout
