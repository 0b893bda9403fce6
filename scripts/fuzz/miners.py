"""Targets: what miners send over Stratum."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from functools import cache

from node.stratum.messages import LineError, decode_request
from node.stratum.session import Hopeless
from scripts.fuzz.target import Target, need
from tests.node.mempool_kit import Pool
from tests.stratum.office_kit import Desk, FakeOffice

LINES_MAX = 40
"""Of one input."""
_OPENING = (("mining.subscribe", ["fuzz"]), ("mining.authorize", ["alice", "x"]))


@cache
def _pool() -> Pool:
    return Pool()


def _desk() -> Desk:
    return Desk(FakeOffice(_pool()))


def stratum(data: bytes) -> None:
    """Lines before a session: each request has one answer, and only a line that is none ends it."""
    desk = _desk()
    for line in data.split(b"\n")[:LINES_MAX]:
        before = len(desk.lines)
        try:
            desk.session.take(line)
        except Hopeless:
            need(_is_no_request(line), "a request ends the connection")
            return
        answers = [sent for sent in desk.lines[before:] if "method" not in sent]
        is_asked = decode_request(line).method is not None
        need(len(answers) == is_asked, "a request has one answer, and an answer none")
    for mined in desk.office.blocks:
        need(mined.header.previous == _pool().chain.tip.hash, "blocks build on the tip")


def _is_no_request(line: bytes) -> bool:
    with suppress(LineError):
        decode_request(line)
        return False
    return True


def _written(requests: list[tuple[str, list[object]]]) -> bytes:
    return b"\n".join(
        json.dumps({"id": number, "method": method, "params": params}).encode()
        for number, (method, params) in enumerate(requests)
    )


def _seeds() -> Iterator[bytes]:
    desk = _desk()
    share: list[object] = [*desk.search(desk.begin())]
    opening: list[tuple[str, list[object]]] = [(name, list(params)) for name, params in _OPENING]
    asked: list[object] = [["version-rolling"], {"version-rolling.mask": "ffffffff"}]
    yield _written([*opening, ("mining.submit", share), ("mining.submit", share)])
    yield _written([("mining.configure", asked), *opening, ("mining.submit", [*share, "00002000"])])
    yield _written([*opening, ("mining.suggest_difficulty", [0.5]), ("mining.submit", share)])
    yield _written([("mining.extranonce.subscribe", []), ("mining.submit", share)])
    yield b'{"id": 1, "result": "miner/1", "error": null}\n{"id": "a", "method": "none"}'


TARGETS = (
    Target("stratum", "lines of a miner: one answer to each request, whatever it asks", stratum, _seeds),
)  # fmt: skip
