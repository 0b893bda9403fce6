"""What the event log costs a node that syncs: `python -m scripts.event_sync`.

Counted is the processor time of the node's main process, in which the log does its work; the time on the wall
depends on what else goes on.

A node that has nothing gets the same chain from a peer on this machine, in turn without the log, with it, and
with it while many addresses are watched, of which every payment pays one.
"""

from __future__ import annotations

import os
import re
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import click

from consensus.address import encode_address
from consensus.hashes import LockHash
from consensus.tx import BURN_LOCK
from node.blockfiles import RecordFiles
from scripts.bench.workload import Workload
from tests.support.daemon import Daemon, running, wait_for

PER_BLOCK = 500
PER_CALL = 1_000
_TIP = re.compile(r"\bblock (\d+), [0-9a-f]{64}")
WAYS = ("off", "on", "on, addresses watched")
LIMIT_S = 600.0


def run(
    directory: Path, network: str, peer: Daemon, height: int, options: tuple[str, ...],
    watched: list[str],
) -> tuple[float, float]:  # fmt: skip
    """Seconds from connecting to the last block, on the wall and of the processor."""
    node = Daemon(directory, *options, network=network)
    with running(node):
        for start in range(0, len(watched), PER_CALL):
            node.call("watchaddresses", watched[start : start + PER_CALL])
        began, worked = time.monotonic(), _worked_s(node.pid)
        node.call("addnode", peer.p2p, "add")
        wait_for(lambda: _tip(node) == height, "it is at the tip", LIMIT_S, 0.005)
        taken = time.monotonic() - began, _worked_s(node.pid) - worked
        if options:
            info = node.call("geteventsinfo")
            assert info["height"] == height
            click.echo(f"    {info['last']} events on the disk", err=True)
    return taken


def _worked_s(pid: int) -> float:
    """Processor time that a process has taken, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _tip(node: Daemon) -> int:
    found = (match for line in reversed(node.log) if (match := _TIP.search(line)))
    return int(next(found, {1: "0"})[1])


def _addresses(workload: Workload, hrp: str, count: int) -> list[str]:
    """Those that the first payments pay, and others that nobody pays."""
    locks: dict[LockHash, None] = {}
    for block in workload.blocks():
        for tx in block.txs[1:]:
            locks |= dict.fromkeys(out.lock for out in tx.body.outputs if out.lock != BURN_LOCK)
    for number in range(count - len(locks)):
        locks[LockHash(number.to_bytes(32, "little")[:31] + b"\x01")] = None
    return [encode_address(hrp, lock) for lock in list(locks)[:count]]


@click.command()
@click.option("--payments", type=click.IntRange(1_000), default=20_000, show_default=True)
@click.option("--watched", type=click.IntRange(0, 100_000), default=100_000, show_default=True)
@click.option("--runs", type=click.IntRange(1), default=3, show_default=True)
def main(payments: int, watched: int, runs: int) -> None:
    """Time a sync without the event log and with it."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        workload = Workload(payments, PER_BLOCK)
        network = directory / "network.toml"
        network.write_text(workload.network_toml())
        files = RecordFiles(directory / "peer" / "blocks", "blk")
        files.append(workload.genesis.raw)
        height = 0
        for block in workload.blocks():
            files.append(block.raw)
            height += 1
        files.close()
        hrp = workload.params.hrp.decode()
        addresses = _addresses(workload, hrp, watched)
        taken: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
        peer = Daemon(directory / "peer", "--reindex", network=str(network))
        with running(peer):
            wait_for(lambda: peer.call("getblockcount") == height, "the peer is ready", LIMIT_S)
            for number in range(runs):
                for way in WAYS:
                    options = () if way == "off" else ("--events",)
                    place = directory / f"{number}-{WAYS.index(way)}"
                    which = addresses if "watched" in way else []
                    taken[way].append(run(place, str(network), peer, height, options, which))
                    click.echo(
                        "{}: {:.2f} s, {:.2f} s worked".format(way, *taken[way][-1]), err=True
                    )
        for way in WAYS:
            wall, worked = (statistics.median(column) for column in zip(*taken[way], strict=True))
            click.echo(
                f"event log {way}: {1e6 * worked / payments:.0f} us of the processor for each payment, "
                f"{payments / wall:,.0f} payments a second; medians of {runs}"
            )


if __name__ == "__main__":
    main()
