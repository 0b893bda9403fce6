"""Nothing that a node or a wallet prints, logs or writes shows a secret."""

from __future__ import annotations

import base64
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

from tests.support.chain import ALICE, ToyChain, blocks_of
from tests.support.daemon import ROOT, Daemon, feed, running, wait_for

PASSPHRASE = "canary of the passphrase 8461"
BAD_PASSWORD = "canary-of-a-password-77"
WRONG = "canary of a wrong passphrase 5023"


def run(
    wallet: Path, node: Daemon, *arguments: str, passphrase: str = PASSPHRASE, rpc: str = ""
) -> tuple[int, str]:
    """Exit code and everything that a command of the wallet prints."""
    done = subprocess.run(
        [sys.executable, "-m", "wallet", "--network", "regtest", "--wallet", str(wallet), "--datadir",
         str(node.datadir), *arguments],
        cwd=ROOT,
        env={**os.environ, "TAEL_PASSPHRASE": passphrase, "TAEL_RPC": rpc or node.url},
        capture_output=True, text=True, timeout=60, check=False,
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
        shown.append(
            run(wallet, node, "balance", rpc=f"http://me:{BAD_PASSWORD}@{node.url[7:]}")[1]
        )
        assert "refused the password" in shown[-1]
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


def shown_of(pid: int) -> bytes:
    """What every program of the machine, and every program of the user, can see of a process."""
    process = Path(f"/proc/{pid}")
    names = [(task / "comm").read_bytes() for task in (process / "task").iterdir()]
    return b"".join(
        [(process / "cmdline").read_bytes(), (process / "environ").read_bytes(), *names]
    )


def core_of(process: subprocess.Popen[bytes], folder: Path) -> list[str]:
    """What a process leaves of its memory when it crashes."""
    process.send_signal(signal.SIGSEGV)
    _, status = os.waitpid(process.pid, 0)
    process.returncode = status
    found = [path.name for path in folder.glob("core*")]
    return [*found, "elsewhere"] if os.WCOREDUMP(status) else found


def without_limit() -> None:
    """Before the program is run: let it leave a core."""
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


def test_a_node_shows_no_password_and_leaves_no_core(tmp_path: Path) -> None:
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    node = subprocess.Popen(
        [sys.executable, "-m", "node", "--network", "regtest", "--datadir", str(tmp_path / "node"),
         "--rpc", "127.0.0.1:0", "--p2p", "127.0.0.1:0"],
        cwd=crashed, env={**os.environ, "PYTHONPATH": str(ROOT)}, preexec_fn=without_limit,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        cookie = tmp_path / "node" / ".cookie"
        wait_for(lambda: cookie.exists(), "it has started")
        password = cookie.read_bytes().partition(b":")[2]
        assert len(password) == 64
        assert password not in shown_of(node.pid)
        assert resource.prlimit(node.pid, resource.RLIMIT_CORE) == (0, 0)
        assert core_of(node, crashed) == []
    finally:
        if node.returncode is None:
            node.kill()
            node.wait()


def test_an_open_wallet_shows_no_secret_and_leaves_no_core(tmp_path: Path) -> None:
    crashed, wallet, file = tmp_path / "crashed", tmp_path / "w.wallet", tmp_path / "passphrase"
    crashed.mkdir()
    file.write_text(PASSPHRASE + "\n")
    command = [
        sys.executable, "-m", "wallet", "--network", "regtest", "--wallet", str(wallet),
        "--passphrase-file", str(file),
    ]  # fmt: skip
    env = {key: value for key, value in os.environ.items() if not key.startswith("TAEL_")}
    env["PYTHONPATH"] = str(ROOT)
    made = subprocess.run(
        [*command, "--json", "create", "--show-words"], env=env, capture_output=True, check=True
    )
    words = json.loads(made.stdout)["words"]
    terminal, its_end = os.openpty()
    asking = subprocess.Popen(
        [*command, "words"], cwd=crashed, env=env, preexec_fn=without_limit, stdin=its_end,
        stdout=its_end, stderr=its_end,
    )  # fmt: skip
    try:
        said = b""
        while b"Show them?" not in said:  # the wallet is open, and a person is asked
            said += os.read(terminal, 1_024)
        shown = shown_of(asking.pid)
        assert PASSPHRASE.encode() not in shown
        assert not [word for word in words.split() if word.encode() in shown.split(b"\0")]
        assert resource.prlimit(asking.pid, resource.RLIMIT_CORE) == (0, 0)
        assert core_of(asking, crashed) == []
    finally:
        os.close(terminal)
        os.close(its_end)
        if asking.returncode is None:
            asking.kill()
            asking.wait()


_ASK_WHO_MAY_READ = """
import ctypes, sys
from wallet.__main__ import main
sys.argv = ["tael", "--version"]
try:
    main()
except SystemExit:
    PR_GET_DUMPABLE = 3
    print("dumpable:", ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0))
"""


def test_no_other_program_is_handed_the_memory_of_a_wallet() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _ASK_WHO_MAY_READ], cwd=ROOT, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert "dumpable: 0" in done.stdout
