"""Runs `tael` in this process, with cheap key derivation and randomness from a seed."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from wallet.cli.app import App, Environment
from wallet.cli.main import tael
from wallet.keystore import Cost

CHEAP = Cost(iterations=1, lanes=1, memory_kib=8)
"""Key derivation for tests: the least that Argon2 allows."""
NOW = 1_800_000_000


def environment(seed: int) -> Environment:
    """Clock that stands still, randomness from `seed`."""
    rng = random.Random(seed)
    return Environment(lambda: NOW, rng.randbytes, lambda seconds: None, rng, CHEAP)


class Tael:
    """One wallet and its command line."""

    def __init__(self, folder: Path, url: str, seed: int = 1, network: str = "regtest") -> None:
        self.folder = folder
        self.path = folder / f"{seed}.wallet"
        self.seed = seed
        self.url = url
        self._network = network
        self._env = environment(seed)
        self.variables: dict[str, str | None] = {"TAEL_PASSPHRASE": "correct horse"}

    def invoke(self, *args: str, options: Mapping[str, str] | None = None) -> Result:
        """Run one command, whatever comes of it."""
        common = {
            "--network": self._network, "--wallet": str(self.path), "--rpc": self.url,
            "--datadir": str(self.folder / "node"), **(options or {}),
        }  # fmt: skip
        if "TAEL_RPC" in self.variables:
            del common["--rpc"]
        words = [word for pair in common.items() for word in pair]
        return CliRunner().invoke(
            tael, [*words, *args], obj=App(self._env), env=self.variables, prog_name="tael"
        )

    def run(self, *args: str) -> str:
        """What a command prints; it must succeed."""
        result = self.invoke(*args)
        assert result.exit_code == 0, result.output
        return result.stdout

    def json(self, *args: str) -> Any:
        """The object that a command prints with --json; it must succeed."""
        return json.loads(self.run(*args, "--json"))

    def fails(self, *args: str) -> str:
        """The one line of a command that must fail, without a traceback."""
        result = self.invoke(*args)
        assert result.exit_code not in (0, None), result.output
        assert result.exception is None or isinstance(result.exception, SystemExit), result.output
        lines = result.stderr.strip().splitlines()
        assert lines, "an error without a text"
        assert lines[-1].startswith("Error: "), result.stderr
        return lines[-1].removeprefix("Error: ")

    def create(self) -> str:
        """Make the wallet; its first address."""
        return str(self.json("create", "--show-words")["address"])

    def balance(self, asset: str = "") -> dict[str, int]:
        """Confirmed, unconfirmed and immature base units."""
        for row in self.json("balance")["assets"]:
            if row["asset"] == asset:
                return {key: row[key]["units"] for key in ("confirmed", "unconfirmed", "immature")}
        return {"confirmed": 0, "unconfirmed": 0, "immature": 0}
