"""`taeld status`: what a running node says of itself, asked by JSON-RPC."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import click
import msgspec

from node.asking import NoNode, Starting, ask
from node.config import ConfigError, Settings

EVERY_S = 2.0
BLOCKS_SHOWN = 5
FEE_TARGETS = (1, 3, 6, 24)
"""Blocks within which a payment is to be confirmed."""
READY, NOT_READY, UNKNOWN = 0, 1, 2
"""Exit codes; the last also if none runs."""
VIEW = "node.operations.status_view"
"""Loaded when it is needed: what draws tables takes memory that a node has no use for."""


Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Word = Annotated[str, msgspec.Meta(pattern=r"^[ -Z^-~]{0,100}$")]
"""Signs of ASCII, without those that the drawing would take for markup."""
Hash = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]


class BlockLine(msgspec.Struct, frozen=True):
    """A block of the best chain."""

    height: Count
    hash: Hash
    time: Count
    txs: Count


class PeerLine(msgspec.Struct, frozen=True):
    """A connection. Times in seconds since 1970."""

    address: str
    inbound: bool
    encrypted: bool
    agent: str
    height: int
    connected: Count
    sent: Count
    received: Count
    ping_s: float | None


class Sync(msgspec.Struct, frozen=True):
    """How far the node is behind the best header."""

    blocks: Count
    headers: Count
    eta_s: int | None = None
    """None: not known (yet)."""


class Waiting(msgspec.Struct, frozen=True):
    """What is drawn of getmempoolinfo."""

    size: Count
    usage: Count
    maxmempool: Count
    total_fee: Word


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is shown."""

    state: str
    """`ready`, `not ready`, `starting`, `not running` or `unknown`."""
    why: str = ""
    """Of the last three."""
    network: Word = ""
    version: Word = ""
    uptime_s: Count = 0
    ticker: Word = ""
    sync: Sync | None = None
    tip_time: Count = 0
    difficulty: float = 0.0
    mempool: Mapping[str, Any] = {}
    """As getmempoolinfo answers."""
    fees: Mapping[int, Word] = {}
    """Native coins per 1,000 cost, by the blocks that one is willing to wait."""
    blocks: tuple[BlockLine, ...] = ()
    """The last ones, newest first."""
    peers: tuple[PeerLine, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        match self.state:
            case "ready":
                return READY
            case "not running" | "unknown":
                return UNKNOWN
            case _:
                return NOT_READY


class Pace:
    """How fast blocks are connected, from what was seen before."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._first: tuple[float, int] | None = None

    def eta_s(self, blocks: int, headers: int) -> int | None:
        """Seconds until all headers have their blocks; None if that cannot be told."""
        now = self._monotonic()
        if self._first is None:
            self._first = now, blocks
        began, at = self._first
        if blocks <= at or now <= began:
            return None
        return int((headers - blocks) * (now - began) / (blocks - at))


def look(settings: Settings, pace: Pace) -> Status:
    """Ask the node, or whatever listens where it should."""
    try:
        status = _look(settings, pace)
        msgspec.convert(status.mempool, Waiting)
        return msgspec.convert(msgspec.to_builtins(status), Status)
    except NoNode as error:
        return Status(state="not running", why=str(error))
    except Starting as error:
        return Status(state="starting", why=str(error))
    except ConfigError as error:
        return Status(state="unknown", why=str(error))
    except (ArithmeticError, LookupError, TypeError, ValueError):
        why = "what answers is no taeld of this version: its answers have another form"
        return Status(state="unknown", why=why)


def _look(settings: Settings, pace: Pace) -> Status:
    chain, ready = ask(settings, "getblockchaininfo"), ask(settings, "getreadiness")
    network = ask(settings, "getnetworkinfo")
    peers = tuple(map(_peer, ask(settings, "getpeerinfo")))
    reasons = [f"{reason['name']}: {reason['detail']}" for reason in ready["reasons"]]
    sync = Sync(chain["blocks"], chain["headers"])
    if sync.blocks < sync.headers:
        eta_s = pace.eta_s(sync.blocks, sync.headers)
        sync = msgspec.structs.replace(sync, eta_s=eta_s)
    others = [text for text in (chain["warnings"], network["warnings"]) if text]
    alone = [] if peers else ["no peers: nothing is heard of others"]
    return Status(
        state="ready" if ready["ready"] else "not ready",
        network=chain["network"],
        version=str(network["subversion"]).strip("/").partition(":")[2],
        uptime_s=ask(settings, "uptime"),
        ticker=chain["ticker"],
        sync=sync,
        tip_time=chain["time"],
        difficulty=float(chain["difficulty"]),
        mempool=ask(settings, "getmempoolinfo"),
        fees={
            target: str(ask(settings, "estimatesmartfee", target)["feerate"])
            for target in FEE_TARGETS
        },
        blocks=_blocks(settings, chain["blocks"]),
        peers=peers,
        warnings=(*reasons, *others, *alone),
    )


def _blocks(settings: Settings, height: int) -> tuple[BlockLine, ...]:
    found = []
    for at in range(height, max(-1, height - BLOCKS_SHOWN), -1):
        try:
            header = ask(settings, "getblockheader", ask(settings, "getblockhash", at))
        except (NoNode, Starting):
            raise
        except ConfigError:
            break  # taken off the chain in the meantime
        found.append(BlockLine(at, header["hash"], header["time"], header["nTx"]))
    return tuple(found)


def _peer(shown: Mapping[str, Any]) -> PeerLine:
    ping_s = float(shown["pingtime"]) if "pingtime" in shown else None
    return PeerLine(
        address=shown["addr"], inbound=shown["inbound"], encrypted=shown["encrypted"],
        agent=shown["subver"], height=shown["synced_blocks"], connected=shown["conntime"],
        sent=shown["bytessent"], received=shown["bytesrecv"], ping_s=ping_s,
    )  # fmt: skip


def run_status(
    settings: Settings, once: bool, as_json: bool, time: Callable[[], float],
    monotonic: Callable[[], float], sleep: Callable[[float], None],
) -> int:  # fmt: skip
    """Show the node, once or until interrupted; return the exit code.

    `time` gives seconds since 1970.
    """
    pace = Pace(monotonic)
    status = look(settings, pace)
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(status), indent=2))
        return status.exit_code
    view = importlib.import_module(VIEW)
    if once or not view.is_live():
        view.show(status, time())
        return status.exit_code

    def again() -> Status:
        nonlocal status
        sleep(EVERY_S)
        status = look(settings, pace)
        return status

    view.show_live(status, again, time)
    return status.exit_code
