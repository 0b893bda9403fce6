"""Crowds of connections that do nothing useful: when each is cut."""

from __future__ import annotations

import asyncio
import select
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import cast

from p2p.messages import Ping, Pong
from scripts.attacks.stranger import GONE, Outcome, Stranger, Target
from tests.support.p2p_node import ToyNode

CUT_S_MAX = 30.0
"""When a connection that never was of use has to be gone."""
ANSWERED_S_MAX = 115.0
"""One that answered its first ping is given up after the next: 30 s later, and 60 s for the answer."""
BYTE_S = 0.5
LOOK_S = 0.05
SILENT_HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"
GUEST = ToyNode()
Conduct = Callable[[Stranger], Awaitable[None]]


async def _silent(peer: Stranger) -> None:
    pass


async def _half_a_head(peer: Stranger) -> None:
    peer.writer.write(SILENT_HEAD)


async def _bytewise(peer: Stranger) -> None:
    for byte in SILENT_HEAD + b"X-Slow: " + b"y" * 400:
        peer.writer.write(bytes((byte,)))
        await asyncio.sleep(BYTE_S)


async def _upgraded(peer: Stranger) -> None:
    await peer.upgrade()


async def _greeted(peer: Stranger) -> None:
    await peer.greet(GUEST)


async def _answered(peer: Stranger) -> None:
    await peer.greet(GUEST)
    while True:
        match await peer.receive():
            case Ping(nonce):
                peer.say(Pong(nonce))
                return


async def silent(target: Target, count: int) -> Outcome:
    return await _crowd(target, count, _silent)


async def half_heads(target: Target, count: int) -> Outcome:
    return await _crowd(target, count, _half_a_head)


async def bytewise(target: Target, count: int) -> Outcome:
    return await _crowd(target, count, _bytewise)


async def upgraded(target: Target, count: int) -> Outcome:
    return await _crowd(target, count, _upgraded)


async def greeted(target: Target, count: int) -> Outcome:
    return await _crowd(target, count, _greeted)


async def answered(target: Target, count: int) -> Outcome:
    return await _crowd(target, count, _answered, ANSWERED_S_MAX)


async def _crowd(
    target: Target, count: int, conduct: Conduct, cut_s_max: float = CUT_S_MAX
) -> Outcome:
    """Hold as many connections as the node lets us, which behave like `conduct` and never read on."""
    held = [_hold(target, number, conduct, cut_s_max) for number in range(count)]
    times = await asyncio.gather(*held)
    cut = [time for time in times if time is not None]
    kept = count - len(cut)
    failures = (f"{kept} of {count} were not cut within {cut_s_max:.0f} s",) if kept else ()
    if not cut:
        return Outcome("none was cut", failures)
    at_once = sum(time < 1 for time in cut)
    return Outcome(
        f"{len(cut)} of {count} cut, {at_once} of them within a second, half within "
        f"{statistics.median(cut):.1f} s, the last after {max(cut):.1f} s",
        failures,
    )


async def _hold(
    target: Target, number: int, conduct: Conduct, cut_s_max: float
) -> float | None:  # fmt: skip
    """Seconds until the node ended one connection; None if it did not."""
    began = time.monotonic()
    acting: asyncio.Task[None] | None = None
    try:
        async with Stranger(target, number) as peer:
            acting = asyncio.ensure_future(conduct(peer))
            while not _is_cut(peer):
                if time.monotonic() - began > cut_s_max:
                    return None
                if acting.done():
                    acting.result()
                    with suppress(RuntimeError):  # it does so already
                        cast(asyncio.Transport, peer.writer.transport).pause_reading()
                await asyncio.sleep(LOOK_S)
    except GONE:
        pass
    finally:
        if acting is not None:
            acting.cancel()
            await asyncio.gather(acting, return_exceptions=True)
    return time.monotonic() - began


def _is_cut(peer: Stranger) -> bool:
    """Whether the node has ended it. Seen without reading."""
    if peer.writer.is_closing():
        return True
    look = select.poll()
    look.register(peer.writer.get_extra_info("socket").fileno(), select.POLLRDHUP)
    return bool(look.poll(0))
