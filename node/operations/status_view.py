"""What `taeld status` draws: text that fits 80 columns, and says all without colours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from node.operations.status import BlockLine, PeerLine, Status, Sync

WIDTH_MIN = 80
PEERS_SHOWN = 12
BAR_CELLS = 30
_STYLES = {"ready": "bold green", "not ready": "bold yellow", "starting": "bold yellow"}
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))
_SIZES = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


def is_live() -> bool:
    """Whether somebody looks at a terminal that can be drawn anew."""
    return Console().is_terminal and not Console().is_dumb_terminal


def show(status: Status, now: float) -> None:
    """Print it once."""
    console = Console(highlight=False)
    width = max(console.width, WIDTH_MIN)
    console.print(draw(status, now), width=width, soft_wrap=False)


def show_live(status: Status, again: Callable[[], Status], time: Callable[[], float]) -> None:
    """Draw what `again` returns, in place of what was there, until interrupted."""
    console = Console(highlight=False)
    with suppress(KeyboardInterrupt), Live(
        draw(status, time()), console=console, auto_refresh=False, screen=True
    ) as live:  # fmt: skip
        while True:
            status = again()
            live.update(draw(status, time()), refresh=True)
    show(status, time())


def draw(status: Status, now: float) -> RenderableType:
    """All of it; `now` is seconds since 1970."""
    return Group(*_parts(status, now))


def _parts(status: Status, now: float) -> Iterator[RenderableType]:
    title = Text.assemble(
        ("taeld", "bold"), f" {status.version}  {status.network}  " if status.version else "  ",
        (status.state, _STYLES.get(status.state, "bold red")),
    )  # fmt: skip
    if status.uptime_s:
        title.append(f"  up {span(status.uptime_s)}")
    yield title
    if status.sync is None:
        yield plain(status.why)
        return
    for warning in status.warnings:
        yield Text.assemble(("! ", "bold yellow"), plain(warning))
    yield Text()
    yield _facts(status, status.sync, now)
    yield Text()
    yield _blocks(status.blocks, now)
    if status.peers:
        yield Text()
        yield _peers(status.peers, now)


def _facts(status: Status, sync: Sync, now: float) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    age = span(max(0, now - status.tip_time))
    table.add_row("Chain", f"block {sync.blocks:,}, {age} old, difficulty {status.difficulty:.6g}")
    if sync.blocks < sync.headers:
        table.add_row("Sync", Text(_progress(sync)))  # its brackets are no markup
    mempool = status.mempool
    table.add_row(
        "Mempool",
        f"{mempool['size']:,} waiting, {size(mempool['usage'])} of {size(mempool['maxmempool'])}, "
        f"fees {mempool['total_fee']} {status.ticker}",
    )
    fees = ", ".join(f"{target}: {fee}" for target, fee in status.fees.items())
    table.add_row("Fees", f"{status.ticker} per 1,000 cost, by blocks to wait\n{fees}")
    return table


def _progress(sync: Sync) -> str:
    done = sync.blocks * BAR_CELLS // max(1, sync.headers)
    bar = "#" * done + "." * (BAR_CELLS - done)
    eta = f"about {span(sync.eta_s)} left" if sync.eta_s is not None else "time left unknown"
    percent = sync.blocks * 100 // max(1, sync.headers)
    return f"[{bar}] {percent} %\n{sync.blocks:,} of {sync.headers:,} blocks, {eta}"


def _blocks(blocks: tuple[BlockLine, ...], now: float) -> Table:
    table = _table("Block", "Age", "Txs", "Hash")
    for block in blocks:
        age = span(max(0, now - block.time))
        table.add_row(f"{block.height:,}", age, f"{block.txs:,}", f"{block.hash[:44]}…")
    return table


def _peers(peers: tuple[PeerLine, ...], now: float) -> Table:
    title = f"Peers ({len(peers)})"
    table = _table(title, "Way", "Crypt", "Height", "For", "Sent", "Received", "Ping")
    for peer in peers[:PEERS_SHOWN]:
        table.add_row(
            plain(peer.address), "in" if peer.inbound else "out",
            "yes" if peer.encrypted else "no", f"{peer.height:,}", span(now - peer.connected),
            size(peer.sent), size(peer.received),
            f"{peer.ping_s * 1_000:.0f} ms" if peer.ping_s is not None else "",
        )  # fmt: skip
    if len(peers) > PEERS_SHOWN:
        table.add_row(f"and {len(peers) - PEERS_SHOWN} more")
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, no_wrap=True, overflow="ellipsis" if number == 0 else "fold")
    return table


def plain(text: str) -> Text:
    """What others sent may hold anything, and must not command the terminal."""
    return Text("".join(character if character.isprintable() else "?" for character in text))


def span(seconds: float) -> str:
    """A length of time, for people."""
    for unit, length in _UNITS:
        if seconds >= length:
            return f"{int(seconds // length):,} {unit}"
    return f"{int(max(0, seconds))} s"


def size(number: int) -> str:
    """A number of bytes, for people."""
    for unit, length in _SIZES:
        if number >= length:
            return f"{number / length:.1f} {unit}"
    return f"{number} B"
