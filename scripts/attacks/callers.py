"""Attacks on JSON-RPC: guessed passwords, and how long their refusal takes."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import random
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from node.rpc.auth import COOKIE_USER
from scripts.attacks.stranger import GONE, Outcome, Target, parted, source
from tests.support.raw_peer import LIMIT_S

USER, PASSWORD = "operator", "correct horse battery staple"
"""A user of the node that is attacked."""
GUESSERS = 64
"""Who guess at once, from four addresses."""
PER_ADDRESS = 16
WAITING = 8
"""Guesses of one address that the node keeps waiting; the next is refused at once."""
SEED = 20_261_124
SPREAD_TO_ERROR = 0.93
"""From the distance of the quartiles to the standard error of a median: 1.253 / 1.349."""
TRIES_PER_TIME = 4
"""Guesses made for one that is measured, at most: now and then one finds a place to wait."""
ERRORS_MAX = 4.0
"""How far two medians may lie apart, in standard errors of that."""


class Caller:
    """Makes one call on each connection, as whoever it is told to be."""

    def __init__(self, target: Target, number: int = 0, per_address: int = PER_ADDRESS) -> None:
        self._target = target
        self._source = source(number, per_address)

    async def call(self, method: str, params: Sequence[Any] = ()) -> Any:
        """The result of a good call. Raises: OSError, EOFError, TimeoutError."""
        status, body, _ = await self.try_as(self._target.cookie, method, params)
        if status != 200:
            raise OSError(f"status {status}")
        return json.loads(body)["result"]

    async def try_as(
        self, credentials: bytes, method: str = "getblockcount", params: Sequence[Any] = ()
    ) -> tuple[int, bytes, float]:
        """Status, body and seconds from the request to the answer."""
        content = json.dumps({"id": 1, "method": method, "params": list(params)}).encode()
        head = (
            f"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(content)}\r\n"
            f"Authorization: Basic {base64.b64encode(credentials).decode()}\r\n\r\n"
        )
        async with asyncio.timeout(LIMIT_S):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", self._target.rpc_port, local_addr=(self._source, 0)
            )
            try:
                began = time.monotonic()
                writer.write(head.encode() + content)
                answer = await reader.readuntil(b"\r\n\r\n")
                took = time.monotonic() - began
                length = int(answer.lower().partition(b"content-length:")[2].split()[0])
                return int(answer.split()[1]), await reader.readexactly(length), took
            finally:
                writer.transport.abort()


async def bad_logins(target: Target, count: int) -> Outcome:
    """Wrong passwords from four addresses, as fast as they are refused."""
    statuses, began = Counter[int](), time.monotonic()

    async def some(number: int, guesses: range) -> None:
        caller = Caller(target, number)
        for guess in guesses:
            status, _, _ = await caller.try_as(f"{USER}:guess {guess}".encode())
            statuses[status] += 1

    shares = parted(count, GUESSERS)
    await asyncio.gather(*(some(number, share) for number, share in enumerate(shares)))
    took = time.monotonic() - began
    failures = () if set(statuses) == {401, 429} else (f"statuses {dict(statuses)}",)
    return Outcome(
        f"{statuses.total()} refused in {took:.1f} s, {statuses[401]} of them after a delay, "
        f"{statuses[429]} at once",
        failures,
    )


class _Median(NamedTuple):
    """In seconds, with its standard error."""

    value: float
    error: float


class _Pair(NamedTuple):
    what: str
    right: bytes
    """Begins like what is good."""
    wrong: bytes


def _pairs(cookie: bytes) -> list[_Pair]:
    secret = cookie.partition(b":")[2]
    other = bytes((secret[0] ^ 1,))
    user, password = USER.encode(), PASSWORD.encode()
    return [
        _Pair("name", user[:1] + b"xxxxxxx:x", b"z" + b"xxxxxxx:x"),
        _Pair("whole name", user + b":x", b"nobody__:x"),
        _Pair("password", user + b":" + password[:1] + b"x" * 27, user + b":z" + b"x" * 27),
        _Pair(
            "cookie",
            COOKIE_USER.encode() + b":" + secret[:1] + b"x" * 63,
            COOKIE_USER.encode() + b":" + other + b"x" * 63,
        ),
    ]


async def timing(target: Target, count: int) -> Outcome:
    """How long guesses take whose first byte is right, and such whose first byte is wrong.

    Guesses that wait are delayed by a quarter of a second; to measure what is left, others take the places
    of their address, so that each is answered as soon as it is compared.
    """
    filling = [asyncio.create_task(_fill(target, number)) for number in range(3 * WAITING)]
    caller, rng = Caller(target), random.Random(SEED)
    parts, failures = [], []
    try:
        for pair in _pairs(target.cookie):
            right, wrong = await _compare(caller, pair, count, rng)
            apart, error = right.value - wrong.value, math.hypot(right.error, wrong.error)
            parts.append(
                f"{pair.what} {1e6 * apart:+.1f} ± {1e6 * error:.1f} µs of {1e6 * wrong.value:.0f}"
            )
            if abs(apart) > ERRORS_MAX * error:
                failures.append(f"{pair.what}: the first byte shows")
    finally:
        for task in filling:
            task.cancel()
        await asyncio.gather(*filling, return_exceptions=True)
    return Outcome(f"medians of {count} each: " + ", ".join(parts), tuple(failures))


async def _fill(target: Target, number: int) -> None:
    """Have guesses of the first address wait without end."""
    caller = Caller(target, number, 3 * WAITING)
    while True:
        try:
            status, _, _ = await caller.try_as(b"nobody:x")
        except GONE:
            continue
        if status == 429:
            await asyncio.sleep(0.05)


async def _compare(
    caller: Caller, pair: _Pair, count: int, rng: random.Random
) -> tuple[_Median, _Median]:
    """Medians of the seconds until a guess is refused, in a random order."""
    times: dict[bytes, list[float]] = {pair.right: [], pair.wrong: []}
    for _ in range(TRIES_PER_TIME * count):
        tries = [pair.right, pair.wrong]
        rng.shuffle(tries)
        for credentials in tries:
            status, _, took = await caller.try_as(credentials)
            if status == 429:
                times[credentials].append(took)
        if min(map(len, times.values())) >= count:
            break
    else:
        raise ConnectionError("too few guesses are refused at once")
    return _median(times[pair.right]), _median(times[pair.wrong])


def _median(times: Sequence[float]) -> _Median:
    """Of times, some of which are far too long: the spread is that of the middle half."""
    low, value, high = statistics.quantiles(times, n=4)
    return _Median(value, SPREAD_TO_ERROR * (high - low) / math.sqrt(len(times)))
