"""Three nodes, two wallets, a payment and an asset, all in processes of their own.

Everything that is printed behind `$` is a command that is really run, and what stands below it is
what it printed.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
BIN = Path(sys.executable).parent
LIMIT_S = 30.0
RPC_AT = re.compile(r"JSON-RPC at http://(127\.0\.0\.1:\d+)")
P2P_AT = re.compile(r"peers at (127\.0\.0\.1:\d+)")
BOLD, DIM, PLAIN = ("\033[1m", "\033[2m", "\033[0m") if sys.stdout.isatty() else ("", "", "")


class DemoError(Exception):
    """The demonstration cannot go on; the text says why."""


def say(text: str) -> None:
    print(f"\n{BOLD}{text}{PLAIN}", flush=True)


def wait_for(look: Callable[[], T | None], what: str) -> T:
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        found = look()
        if found is not None:
            return found
        time.sleep(0.05)
    raise DemoError(f"waited {LIMIT_S:.0f} s in vain until {what}")


class Node:
    """A `taeld` with its log in a file."""

    def __init__(
        self, name: str, directory: Path, connect: str | None, started: list[Node]
    ) -> None:
        """Adds itself to `started` as soon as there is a process to be ended."""
        self.name = name
        self.datadir = directory / name
        self.log = directory / f"{name}.log"
        command = [
            str(BIN / "taeld"), "--network", "regtest", "--datadir", str(self.datadir),
            "--rpc", "127.0.0.1:0", "--p2p", "127.0.0.1:0",
        ]  # fmt: skip
        command += ["--connect", connect] if connect else []
        print(f"{DIM}$ {shlex.join(['taeld', *command[1:]])} &{PLAIN}", flush=True)
        with self.log.open("w") as log:
            # A session of its own: Ctrl-C ends the demonstration, which then ends its nodes.
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        started.append(self)
        self.rpc = wait_for(lambda: self._read_log(RPC_AT), f"node {name} answers")
        self.p2p = wait_for(lambda: self._read_log(P2P_AT), f"node {name} accepts peers")

    def _read_log(self, pattern: re.Pattern[str]) -> str | None:
        text = self.log.read_text()
        if self.process.poll() is not None:
            raise DemoError(f"node {self.name} ended: {text.strip().splitlines()[-1:]}")
        found = pattern.search(text)
        return found[1] if found else None

    def call(self, method: str, *params: Any) -> Any:
        """The result of a JSON-RPC call."""
        credentials = base64.b64encode((self.datadir / ".cookie").read_bytes()).decode()
        connection = http.client.HTTPConnection(self.rpc, timeout=LIMIT_S)
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        headers = {"Content-Type": "application/json", "Authorization": f"Basic {credentials}"}
        connection.request("POST", "/", body, headers)
        answer = json.loads(connection.getresponse().read())
        connection.close()
        if "error" in answer:
            raise DemoError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def ask(self, method: str, *params: Any) -> Any:
        """The same, shown."""
        shown = json.dumps({"method": method, "params": params})
        print(f"{DIM}JSON-RPC to node {self.name}:{PLAIN} {shown}")
        result = self.call(method, *params)
        print(json.dumps(result, indent=2), flush=True)
        return result

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Wallet:
    """A `tael` wallet that talks to one node."""

    def __init__(self, name: str, directory: Path, node: Node) -> None:
        self.options = [
            "--network", "regtest", "--wallet", str(directory / f"{name}.wallet"),
            "--rpc", f"http://{node.rpc}", "--datadir", str(node.datadir),
        ]  # fmt: skip
        self.name = name

    def run(self, *arguments: str, show: bool = True) -> str:
        """What `tael` prints; shown without the options that say where wallet and node are."""
        if show:
            print(f"{DIM}$ tael {shlex.join(arguments)}{PLAIN}   ({self.name})", flush=True)
        environment = {**os.environ, "TAEL_PASSPHRASE": "demo"}
        done = subprocess.run(
            [str(BIN / "tael"), *self.options, *arguments],
            capture_output=True, text=True, env=environment, timeout=LIMIT_S, check=False,
        )  # fmt: skip
        if show:
            print(done.stdout.rstrip(), flush=True)
        if done.returncode:
            raise DemoError(f"tael {arguments[0]}: {done.stderr.strip()}")
        return done.stdout

    def address(self) -> str:
        return str(json.loads(self.run("address", "--json", show=False))["address"])


def same_tip(nodes: list[Node]) -> str | None:
    tips = {node.call("getbestblockhash") for node in nodes}
    return str(tips.pop()) if len(tips) == 1 else None


def same_pool(nodes: list[Node]) -> bool | None:
    return len({tuple(sorted(node.call("getrawmempool"))) for node in nodes}) == 1 or None


def mine(node: Node, count: int, address: str, nodes: list[Node]) -> None:
    # Payments travel by more than one way, so the miner may hear of one last.
    wait_for(lambda: same_pool(nodes), "every payment has reached every node")
    node.call("generatetoaddress", count, address)
    tip = wait_for(lambda: same_tip(nodes), "all nodes are on one tip")
    blocks = f"{count} block{'' if count == 1 else 's'}"
    print(f"{blocks} mined by node {node.name}; all nodes are at block "
          f"{node.call('getblockcount')}, {tip[:16]}…", flush=True)  # fmt: skip


def play(directory: Path, nodes: list[Node]) -> None:
    say("Three nodes: B is told to connect to A, and C to B; C hears of A from B and joins it too")
    a = Node("A", directory, None, nodes)
    b = Node("B", directory, a.p2p, nodes)
    c = Node("C", directory, b.p2p, nodes)
    wait_for(lambda: all(n.call("getconnectioncount") for n in nodes) or None, "they connect")

    say("Two wallets: Alice asks node A, Bob asks node C")
    alice, bob = Wallet("alice", directory, a), Wallet("bob", directory, c)
    for wallet in (alice, bob):
        wallet.run("create")
    alice_address, bob_address = alice.address(), bob.address()
    print(f"Alice: {alice_address}\nBob:   {bob_address}")

    say("Node A mines; coins of a new block can be spent 100 blocks later")
    mine(a, 102, alice_address, nodes)
    alice.run("balance")

    say("Alice pays Bob")
    alice.run("send", bob_address, "4.25", "--memo", "invoice 1", "--yes")
    query = {"addresses": [bob_address]}
    wait_for(
        lambda: c.call("getaddressbalance", query)["unconfirmed"] or None, "the payment reaches C"
    )
    print("The payment has reached node C and waits there to be mined.")

    say("Node B mines it; node C is asked for Bob's balance by JSON-RPC (base units, 8 decimals)")
    mine(b, 1, alice_address, nodes)
    c.ask("getaddressbalance", query)
    bob.run("balance")
    bob.run("history")

    say("Alice issues an asset and gives some of it to Bob")
    alice.run("issue", "GOLD", "1000", "--name", "Gold, grams", "--decimals", "3", "--yes")
    mine(b, 1, alice_address, nodes)
    alice.run("send", bob_address, "12.5", "--asset", "GOLD", "--yes")
    mine(b, 1, alice_address, nodes)
    bob.run("balance")


def tell(directory: Path, nodes: list[Node], began: float) -> None:
    node = nodes[2]
    pids = " ".join(str(n.process.pid) for n in nodes)
    here = "." if Path.cwd() == Path(__file__).resolve().parents[1] else Path.cwd()
    tael = BIN.relative_to(Path.cwd()) / "tael" if BIN.is_relative_to(Path.cwd()) else BIN / "tael"
    say(f"The network runs on ({time.monotonic() - began:.0f} s). Everything is in {directory}")
    print(f"""
  Bob's wallet, at node C (from {here}):
    export TAEL_NETWORK=regtest TAEL_WALLET={directory}/bob.wallet TAEL_PASSPHRASE=demo
    export TAEL_RPC=http://{node.rpc} TAEL_DATADIR={node.datadir}
    {tael} balance
    {tael} --help

  JSON-RPC of node C:
    curl -u "$(cat {node.datadir}/.cookie)" -H 'content-type: application/json' \\
      -d '{{"method": "getblockchaininfo"}}' http://{node.rpc}

  Ten more blocks, paid to Bob:
    curl -u "$(cat {node.datadir}/.cookie)" -H 'content-type: application/json' \\
      -d '{{"method": "generatetoaddress", "params": [10, "ADDRESS"]}}' http://{node.rpc}

  The logs:    tail -f {directory}/*.log
  To end it:   kill {pids}; while kill -0 {pids} 2>/dev/null; do sleep 0.1; done; rm -r {directory}
""")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--keep", action="store_true", help="leave the network running")
    keep: bool = parser.parse_args().keep
    began = time.monotonic()
    directory = Path(tempfile.mkdtemp(prefix="tael-demo-"))
    nodes: list[Node] = []
    is_kept = is_interrupted = False
    try:
        play(directory, nodes)
        if keep:
            tell(directory, nodes, began)
            is_kept = True
        else:
            say(f"That was all ({time.monotonic() - began:.0f} s). Try: scripts/demo --keep")
    except DemoError as error:
        sys.exit(f"demo: {error}\nThe logs of the nodes are in {directory}.")
    except KeyboardInterrupt:
        is_interrupted = True
    except BrokenPipeError:
        # Whoever read the output is gone; what Python still has for it goes nowhere, in silence.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        is_interrupted = True
    finally:
        if not is_kept:
            for node in nodes:
                node.stop()
    if not is_kept:
        shutil.rmtree(directory)
    if is_interrupted:
        sys.exit("demo: interrupted; the nodes were ended")


if __name__ == "__main__":
    main()
