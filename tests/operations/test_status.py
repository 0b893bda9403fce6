"""`taeld status`, as people and scripts run it."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from rich.console import Console

from node.config import Config, settle
from node.operations.status import Pace, PeerLine, Status, Sync, look
from node.operations.status_view import draw
from tests.support.daemon import ROOT, Daemon, running, wait_for

ADDRESS = "rtael1ppx20w60p4cugw0yl46q7gaj6gt27d5us9dg4zytqzctpflvel53s5udnd9"
NOW = 1_800_000_000


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, Daemon]]:
    first = Daemon(tmp_path_factory.mktemp("first"), "--ready-free-mb", "0")
    with running(first):
        first.call("generatetoaddress", 7, ADDRESS)
        second = Daemon(
            tmp_path_factory.mktemp("second"),
            "--connect",
            first.p2p,
            "--ready-free-mb",
            "999999999",
        )
        with running(second):
            wait_for(lambda: second.call("getblockcount") == 7, "they are in step")
            yield first, second


def command(daemon: Daemon, *options: str) -> list[str]:
    return [
        sys.executable, "-m", "node", "--network", "regtest", "--datadir", str(daemon.datadir),
        "status", "--rpc", f"127.0.0.1:{daemon.rpc_port}", *options,
    ]  # fmt: skip


def status(daemon: Daemon, *options: str, **environment: str) -> tuple[int, str]:
    made = subprocess.run(
        command(daemon, *options), cwd=ROOT, capture_output=True, text=True, check=False,
        env=os.environ | environment,
    )  # fmt: skip
    assert made.stderr == ""
    return made.returncode, made.stdout


def test_ready_node_ends_with_zero_and_tells_programs_everything(
    pair: tuple[Daemon, Daemon],
) -> None:
    code, out = status(pair[0], "--json")
    found = json.loads(out)
    assert (code, found["state"], found["warnings"]) == (0, "ready", [])
    assert (found["sync"]["blocks"], found["sync"]["headers"]) == (7, 7)
    assert [block["height"] for block in found["blocks"]] == [7, 6, 5, 4, 3]
    assert found["fees"]["1"] == "0.00001000"
    assert [peer["inbound"] for peer in found["peers"]] == [True]
    assert found["peers"][0]["encrypted"] is True


def test_node_that_is_not_ready_ends_with_one_and_says_why(pair: tuple[Daemon, Daemon]) -> None:
    code, out = status(pair[1], "--once")
    assert code == 1
    assert "not ready" in out
    assert "! disk-full: " in out


def test_node_that_does_not_run_ends_with_two(tmp_path: Path) -> None:
    code, out = status(Daemon(tmp_path), "--json")
    assert (code, json.loads(out)["state"]) == (2, "not running")
    code, out = status(Daemon(tmp_path), "--once")
    assert code == 2
    assert "no node runs with --datadir" in out


def test_node_that_knows_us_not_ends_with_two(pair: tuple[Daemon, Daemon], tmp_path: Path) -> None:
    stranger = Daemon(tmp_path)
    (tmp_path / ".cookie").write_text("__cookie__:wrong")
    stranger.rpc_port = pair[0].rpc_port
    code, out = status(stranger, "--json")
    assert (code, json.loads(out)["state"]) == (2, "unknown")


def test_settings_that_make_no_sense_are_not_taken_for_a_node_that_is_not_ready(
    tmp_path: Path,
) -> None:
    settings = tmp_path / "taeld.toml"
    settings.write_text("mempool-mb = 0")
    made = subprocess.run(
        command(Daemon(tmp_path), "--once"), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (made.returncode, made.stdout) == (2, "")
    assert made.stderr == f"taeld: {settings}: mempool-mb must be from 1 to 100000\n"


def test_text_has_neither_colours_nor_long_lines_where_nobody_draws(
    pair: tuple[Daemon, Daemon],
) -> None:
    code, out = status(pair[0], "--once", COLUMNS="80", NO_COLOR="1")
    assert code == 0
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 80
    for part in ("block 7", "Mempool", "Fees", "Peers (1)", "Hash"):
        assert part in out


def test_terminal_is_drawn_again_and_again_until_interrupted(pair: tuple[Daemon, Daemon]) -> None:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        command(pair[0]), cwd=ROOT, stdin=follower, stdout=follower, stderr=follower,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "80", "LINES": "40"}, start_new_session=True,
    )  # fmt: skip
    os.close(follower)
    seen = b""

    def read_until(text: bytes) -> None:
        nonlocal seen
        deadline = time.monotonic() + 20
        while text not in seen:
            assert time.monotonic() < deadline, seen
            if select.select([leader], [], [], 0.5)[0]:
                seen += os.read(leader, 65_536)

    try:
        read_until(b"block 7")
        pair[0].call("generatetoaddress", 1, ADDRESS)
        read_until(b"block 8")
        os.kill(process.pid, 2)
        read_until(b"\x1b[?1049l")
        assert process.wait(20) == 0
    finally:
        process.kill()
        os.close(leader)


def drawn(found: Status, width: int = 80) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(draw(found, NOW))
    return captured.get()


def made(peers: tuple[PeerLine, ...] = (), warnings: tuple[str, ...] = ()) -> Status:
    mempool = {"size": 3, "usage": 5_000, "maxmempool": 10**9, "total_fee": "0.5"}
    return Status(
        state="not ready", network="main", version="0.1.0", ticker="TAEL", mempool=mempool,
        sync=Sync(250, 1_000, 7_260), tip_time=NOW - 90_000, fees={1: "0.00001000"}, peers=peers,
        warnings=warnings,
    )  # fmt: skip


def test_progress_shows_what_is_done_and_the_time_left() -> None:
    text = drawn(made())
    assert "[#######......................." in text
    assert "250 of 1,000 blocks, about 2 h left" in text
    assert "1 d old" in text


def test_what_a_peer_sent_cannot_command_the_terminal() -> None:
    peer = PeerLine("[2001:db8:1111:2222:3333:4444:5555:6666]:65535\x1b[31m", True, False,
                    "\x1b]0;evil\x07", 7, NOW - 5, 10**12, 0, 0.25)  # fmt: skip
    text = drawn(made((peer,) * 40, warnings=("[bold]\x1b[2J",)))
    assert "\x1b" not in text
    assert "[bold]?[2J" in text
    assert "and 28 more" in text
    assert all(len(line) <= 80 for line in text.splitlines())


def test_time_left_follows_the_blocks_that_were_seen_to_come() -> None:
    now = 0.0
    pace = Pace(lambda: now)
    assert pace.eta_s(100, 1_000) is None
    now = 10.0
    assert pace.eta_s(100, 1_000) is None
    assert pace.eta_s(200, 1_000) == 80


class Impostor(BaseHTTPRequestHandler):
    """Listens where a node should, and answers the same to everything."""

    body = b""

    def do_POST(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"null", b"1", b"[" * 100_000, b"{}", b'{"error": []}', b'{"error": {"code": 1}}',
        b'{"result": 5}', b'{"result": []}', b'{"result": {}}', b'{"result": {"reasons": 1}}',
    ],
)  # fmt: skip
def test_what_answers_like_no_node_ends_with_two_and_one_line(tmp_path: Path, body: bytes) -> None:
    (tmp_path / ".cookie").write_text("__cookie__:x")
    server = HTTPServer(("127.0.0.1", 0), type("Saying", (Impostor,), {"body": body}))
    Thread(target=server.serve_forever, daemon=True).start()
    impostor = Daemon(tmp_path)
    impostor.rpc_port = server.server_port
    try:
        code, out = status(impostor, "--json")
    finally:
        server.shutdown()
        server.server_close()
    assert (code, json.loads(out)["state"] in ("unknown", "not running")) == (2, True)


def asked(answers: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> str:
    """The state of a node that gives `answers`."""
    monkeypatch.setattr("node.operations.status.ask", lambda _, method, *more: answers[method])
    return look(settle(Config()), Pace(lambda: 0.0)).state


def test_answers_that_could_not_be_drawn_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: dict[str, Any] = {
        "getblockchaininfo": {
            "blocks": 0, "headers": 0, "warnings": "", "network": "main", "ticker": "TAEL", "time": 5,
            "difficulty": "1.0",
        },
        "getreadiness": {"ready": True, "reasons": []},
        "getnetworkinfo": {"warnings": "", "subversion": "/tael:1/"},
        "getpeerinfo": [], "uptime": 5, "estimatesmartfee": {"feerate": "0.1"},
        "getmempoolinfo": {"size": 0, "usage": 0, "maxmempool": 5, "total_fee": "0.1"},
        "getblockhash": "00" * 32, "getblockheader": {"hash": "00" * 32, "time": 5, "nTx": 1},
    }  # fmt: skip
    assert asked(answers, monkeypatch) == "ready"
    for method, name, value in (
        ("getblockchaininfo", "ticker", "[bold]"), ("getblockchaininfo", "time", -1),
        ("getblockchaininfo", "difficulty", 10**400), ("getmempoolinfo", "size", "many"),
        ("getblockheader", "hash", "[link=x]"),
    ):  # fmt: skip
        changed = answers | {method: answers[method] | {name: value}}
        assert asked(changed, monkeypatch) == "unknown", name
