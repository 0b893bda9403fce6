"""Nothing that a node or a wallet prints, logs or writes shows a secret."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.chain import ALICE, ToyChain, blocks_of
from tests.support.daemon import ROOT, Daemon, feed, running

PASSPHRASE = "canary of the passphrase 8461"
BAD_PASSWORD = "canary-of-a-password-77"
WRONG = "canary of a wrong passphrase 5023"


def run(
    wallet: Path, node: Daemon, *arguments: str, passphrase: str = PASSPHRASE
) -> tuple[int, str]:
    """Exit code and everything that a command of the wallet prints."""
    done = subprocess.run(
        [sys.executable, "-m", "wallet", "--network", "regtest", "--wallet", str(wallet), "--rpc",
         node.url, "--datadir", str(node.datadir), *arguments],
        cwd=ROOT, env={**os.environ, "TAEL_PASSPHRASE": passphrase}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_no_secret_is_printed_logged_or_written(tmp_path: Path) -> None:
    chain = ToyChain()
    chain.fund(ALICE)
    wallet = tmp_path / "canary.wallet"
    node = Daemon(tmp_path / "node", "--log-level", "debug")
    shown: list[str] = []
    with running(node):
        feed(node, blocks_of(chain))
        commands: list[tuple[str, ...]] = [
            ("create",), ("address",), ("balance",), ("info",), ("send", ALICE.address(), "1", "--yes"),
            ("send", "nonsense", "1", "--yes"), ("--json", "history"), ("utxos",),
        ]  # fmt: skip
        shown += [run(wallet, node, *command)[1] for command in commands]
        assert PASSPHRASE not in wallet.read_bytes().decode("latin-1")
        code, refused = run(wallet, node, "balance", passphrase=WRONG)
        assert code != 0
        assert "corrupt or wrong passphrase" in refused
        shown.append(refused)
        shown.append(
            run(wallet, node, "--rpc", f"http://me:{BAD_PASSWORD}@{node.url[7:]}", "balance")[1]
        )
        password = (node.datadir / ".cookie").read_text().partition(":")[2]
        # What is asked for by its name is the one place where the words are shown.
        code, words = run(wallet, node, "--json", "words", "--yes")
        assert code == 0
        assert node.stop() == 0
        phrase = json.loads(words)["words"]
        shown += node.log
    written = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    everything = "\n".join(shown).encode() + written
    four = " ".join(phrase.split()[:4])
    encoded = base64.b64encode(f"__cookie__:{password}".encode()).decode()
    assert len(password) == 64
    for secret in (PASSPHRASE, WRONG, BAD_PASSWORD, four, password, encoded):
        assert secret.encode() not in everything, "a secret is shown"


_CORE = """
import resource, sys
resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
from wallet.__main__ import main
sys.argv = ["tael", "--version"]
try:
    main()
except SystemExit:
    print(resource.getrlimit(resource.RLIMIT_CORE))
"""


def test_a_wallet_that_crashes_leaves_no_copy_of_its_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _CORE], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "(0, 0)" in done.stdout
