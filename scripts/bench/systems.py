"""The nodes that are compared: how each is started, and what its log calls things."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from node.blockfiles import RecordFiles
from scripts.bench.chains import Prepared, read_blocks
from scripts.bench.rows import OURS
from scripts.bench.server import Server, free_port

PEER = "litecoind"
KERNEL = "libbitcoinkernel"
USER = "bench:bench"


class System(Protocol):
    """A node program."""

    name: str
    prepared: Prepared
    opening: str
    """In the line of the log after which it opens its database to replay."""
    ready: str
    """In the line of the log after which it connects to its peers."""

    def lay(self, datadir: Path, leave: int = 0) -> None:
        """A data directory with nothing but block files, `leave` blocks short."""

    def start(
        self,
        datadir: Path,
        *,
        connect: Sequence[int] = (),
        replay: bool = False,
        index: bool = True,
        delay: bool = True,
    ) -> Server:
        """Start it. `delay` False: relay without the deliberate delay of payments."""

    def tip_line(self, height: int) -> str:
        """What its log says when the block at `height` becomes its tip."""

    def template_params(self) -> list[Any]:
        """Parameters of getblocktemplate."""


class Taeld:
    """The node of this project."""

    name = OURS
    opening = "rebuilding the database"
    ready = "peers at"

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared

    def lay(self, datadir: Path, leave: int = 0) -> None:
        files = RecordFiles(datadir / "blocks", "blk")
        blocks = read_blocks(self.prepared.blocks)
        for raw in blocks[: len(blocks) - leave]:
            files.append(raw)
        files.sync()
        files.close()

    def start(
        self, datadir: Path, *, connect: Sequence[int] = (), replay: bool = False,
        index: bool = True, delay: bool = True,
    ) -> Server:  # fmt: skip
        module = "node" if delay else "scripts.bench.undelayed"
        command = [
            sys.executable, "-m", module, "--network", str(self.prepared.network),
            "--datadir", str(datadir), "--rpc", "127.0.0.1:0", "--p2p", "127.0.0.1:0",
        ]  # fmt: skip
        for port in connect:
            command += ["--connect", f"127.0.0.1:{port}"]
        command += ["--reindex"] * replay + ["--no-index"] * (not index)
        server = Server(command)
        server.credentials = (datadir / ".cookie").read_bytes
        try:
            server.rpc_port = int(server.wait_line(r"JSON-RPC at http://127\.0\.0\.1:(\d+)")[1][1])
            if not replay:
                server.p2p_port = int(server.wait_line(r"peers at 127\.0\.0\.1:(\d+)")[1][1])
        except BaseException:
            server.stop()
            raise
        return server

    def tip_line(self, height: int) -> str:
        return rf"\b(at )?block {height}, "

    def template_params(self) -> list[Any]:
        return []


class Litecoind:
    """Litecoin Core. Its self-checks, which regtest switches on, are off."""

    name = PEER
    opening = r"Opening LevelDB in .*blocks/index"
    ready = "init message: Done loading"

    def __init__(self, prepared: Prepared, program: str) -> None:
        self.prepared = prepared
        self._program = program

    def lay(self, datadir: Path, leave: int = 0) -> None:
        lay_peer_blocks(self.prepared, datadir / "regtest" / "blocks", leave)

    def start(
        self, datadir: Path, *, connect: Sequence[int] = (), replay: bool = False,
        index: bool = True, delay: bool = True,
    ) -> Server:  # fmt: skip
        datadir.mkdir(parents=True, exist_ok=True)
        rpc_port, p2p_port = free_port(), free_port()
        user, password = USER.split(":")
        command = [
            self._program, "-regtest", f"-datadir={datadir}", "-assumevalid=0",
            "-checkmempool=0", "-checkblockindex=0", "-maxtipage=9999999999", "-disablewallet",
            "-printtoconsole", "-nodebuglogfile", "-server", f"-rpcuser={user}",
            f"-rpcpassword={password}", "-rpcbind=127.0.0.1", "-rpcallowip=127.0.0.1",
            f"-rpcport={rpc_port}", f"-bind=127.0.0.1:{p2p_port}", "-listen", "-listenonion=0",
            "-dnsseed=0",
            # Else every node wants the same port for Tor.
            f"-bind=127.0.0.1:{free_port()}=onion",
        ]  # fmt: skip
        command += [f"-connect=127.0.0.1:{port}" for port in connect] or ["-connect=0"]
        command += ["-reindex"] * replay
        command += ["-whitelist=noban@127.0.0.1"] * (not delay)
        server = Server(command)
        server.rpc_port, server.p2p_port = rpc_port, p2p_port
        server.credentials = USER.encode
        return server

    def tip_line(self, height: int) -> str:
        return rf"UpdateTip: .*height={height} "

    def template_params(self) -> list[Any]:
        return [{"rules": ["segwit", "mweb"]}]


def lay_peer_blocks(prepared: Prepared, directory: Path, leave: int = 0) -> None:
    """The block file of a peer."""
    directory.mkdir(parents=True, exist_ok=True)
    blocks = read_blocks(prepared.blocks)
    with (directory / "blk00000.dat").open("wb") as file:
        for raw in blocks[: len(blocks) - leave]:
            file.write(prepared.magic + len(raw).to_bytes(4, "little") + raw)


def copy(source: Path, target: Path) -> Path:
    """A copy of a data directory, to be changed."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    return target
