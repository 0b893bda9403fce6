"""Completion, in a bash that a person could sit at."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.wallet_cli import Tael

LIMIT_S = 60
READY = "ready> "
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x07|\r")


class Bash:
    """An interactive bash on a terminal of its own."""

    def __init__(self, home: Path, **variables: str) -> None:
        programs = Path(sys.executable).parent
        environment = {
            "HOME": str(home), "PATH": f"{programs}:/usr/bin:/bin", "TERM": "dumb", "PS1": READY,
            "INPUTRC": "/dev/null", "LANG": "C.UTF-8", **variables,
        }  # fmt: skip
        leader, follower = pty.openpty()
        self._terminal = leader
        self._process = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "-i"], cwd=home, env=environment, stdin=follower,
            stdout=follower, stderr=follower, start_new_session=True,
        )  # fmt: skip
        os.close(follower)
        self._until(READY)

    def _until(self, wanted: str, since: str = "") -> str:
        seen, end = since, time.monotonic() + LIMIT_S
        while wanted not in seen:
            assert time.monotonic() < end, f"waited for {wanted!r} in vain: {seen!r}"
            if select.select([self._terminal], [], [], 0.2)[0]:
                seen = _CONTROL.sub("", seen + os.read(self._terminal, 65_536).decode())
        return seen

    def run(self, line: str) -> str:
        """What a command prints."""
        os.write(self._terminal, f"{line}; echo do''ne\n".encode())
        return self._until(READY, self._until("\ndone\n")).split("\n", 1)[1]

    def completed(self, typed: str, wanted: str) -> None:
        """Type a line and a tab; wait until `wanted` stands there; give the line up."""
        os.write(self._terminal, f"{typed}\t".encode())
        self._until(wanted)
        self._give_up()

    def choices(self, typed: str) -> set[str]:
        """The words that are offered when several fit."""
        words = self.run(
            f"COMP_WORDS=({typed} ''); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMPREPLY=(); "
            "_tael_completion tael 2> /dev/null; printf '<%s>\\n' \"${COMPREPLY[@]}\""
        )
        return set(re.findall(r"<([^>]+)>", words))

    def _give_up(self) -> None:
        os.write(self._terminal, b"\x03")
        self._until(READY)

    def close(self) -> None:
        self._process.kill()
        self._process.wait(LIMIT_S)
        os.close(self._terminal)


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
