"""Users who ask for too much, or for everything at once: answers are bounded, and others are served."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import random
import threading
import time
from pathlib import Path
from typing import NamedTuple

from consensus.tx import NATIVE, TxOut
from tests.support.alive import alive
from tests.support.chain import ALICE, ToyChain, blocks_of
from tests.support.daemon import Daemon, feed, running

MEMBERS = 1_000
ANSWER_BYTES_MAX = 33 << 20
GROWTH_BYTES_MAX = 256 << 20
"""For an answer of 32 MiB on its way through node and socket; the whole batch would be 130 MB."""


CALLERS, REQUESTS = 12, 80
GOOD = ("call", "batch", "error", "told", "chunks", "junk")
BAD = ("page", "stranger")
"""Refused, and with that the connection ends."""
SEED = 20_261_127
ANSWER_S_MAX = 20.0


def peak_of(node: Daemon) -> int:
    """Most bytes of memory that the process ever had."""
    status = Path(f"/proc/{node.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1_024


def ask_for_all(node: Daemon, block: str) -> bytes:
    """The answer to a batch that asks for one large block again and again."""
    batch = [{"method": "getblock", "params": [block, 0], "id": n} for n in range(MEMBERS)]
    token = base64.b64encode((node.datadir / ".cookie").read_bytes()).decode()
    connection = http.client.HTTPConnection("127.0.0.1", node.rpc_port, timeout=60)
    try:
        headers = {"Content-Type": "application/json", "Authorization": f"Basic {token}"}
        connection.request("POST", "/", json.dumps(batch), headers)
        return connection.getresponse().read()
    finally:
        connection.close()


def test_a_batch_for_a_thousand_large_blocks_is_cut_short_and_others_are_served(
    tmp_path: Path,
) -> None:
    chain = ToyChain()
    (coin,) = chain.fund(ALICE)
    chain.mine([chain.spend([coin], [TxOut(NATIVE, 100_000, ALICE.lock, bytes(128))] * 350)])
    block = chain.tip.hash[::-1].hex()
    node = Daemon(tmp_path / "node")
    answers: list[bytes] = []
    with running(node):
        feed(node, blocks_of(chain))
        before = peak_of(node)
        asking = threading.Thread(target=lambda: answers.append(ask_for_all(node, block)))
        asking.start()
        while asking.is_alive():
            began = time.monotonic()
            assert node.call("getblockcount") == chain.tip.height
            assert time.monotonic() - began < 1
        asking.join()
        assert peak_of(node) - before < GROWTH_BYTES_MAX
    assert len(answers[0]) < ANSWER_BYTES_MAX
    members = json.loads(answers[0])
    assert len(members) == MEMBERS
    assert members[0]["result"] == chain.blocks[chain.tip.hash].raw.hex()
    assert members[-1]["error"]["code"] == -32002


class Asked(NamedTuple):
    """A request, and what has to come back."""

    raw: bytes
    status: int
    ids: object
    """Of the answer, in its order; None if it has none."""


def asked(kind: str, token: str, number: int) -> Asked:
    """A request of that kind; `number` is told in it, so that its answer can be known."""
    call = {"jsonrpc": "2.0", "method": "getblockhash", "params": [0], "id": number}
    lines = ["Host: 127.0.0.1", f"Authorization: Basic {token}"]
    status, ids, body = 200, object(), json.dumps(call).encode()
    match kind:
        case "call" | "chunks":
            ids = number
        case "batch":
            ids = [number + part for part in range(30)]
            body = json.dumps([call | {"id": one} for one in ids]).encode()
        case "error":
            ids, body = number, json.dumps(call | {"method": "no such thing"}).encode()
        case "told":
            del call["id"]
            status, ids, body = 204, None, json.dumps(call).encode()
        case "junk":
            status, ids, body = 400, None, b'{"id": ' + b"[" * 200
        case "page":
            status, ids = 403, None
            lines.append("Origin: https://evil.example")
        case "stranger":
            status, ids = 403, None
            lines[0] = "Host: evil.example"
    if kind == "chunks":
        lines.append("Transfer-Encoding: chunked")
        half = len(body) // 2
        parts = (body[:half], body[half:], b"")
        body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    else:
        lines.append(f"Content-Length: {len(body)}")
    head = "\r\n".join(["POST / HTTP/1.1", *lines, "", ""]).encode()
    return Asked(head + body, status, ids)


async def answers_of(reader: asyncio.StreamReader, expected: list[Asked]) -> int:
    """Read what comes; how many requests were answered before the node ended the connection.

    Raises: AssertionError, if an answer is none to the request in whose turn it comes.
    """
    for count, request in enumerate(expected):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return count
        assert int(head.split()[1]) == request.status, (head, request)
        _, mark, rest = head.lower().partition(b"content-length:")
        content = await reader.readexactly(int(rest.split()[0]) if mark else 0)
        if request.status == 200:
            answer = json.loads(content)
            found = [one["id"] for one in answer] if isinstance(answer, list) else answer["id"]
            assert found == request.ids
    return len(expected)


async def call_at_once(node: Daemon, token: str, caller: int) -> int:
    """Send requests in bursts that are cut anywhere; how many were answered."""
    rng = random.Random(SEED + caller)
    kinds = rng.choices(GOOD, k=REQUESTS)
    if caller % 2:
        kinds[rng.randrange(REQUESTS)] = rng.choice(BAD)
    expected = [
        asked(kind, token, (caller * REQUESTS + place) * 100) for place, kind in enumerate(kinds)
    ]
    reader, writer = await asyncio.open_connection("127.0.0.1", node.rpc_port, limit=1 << 20)

    async def send(data: bytes) -> None:
        at = 0
        while at < len(data):
            size = rng.choice([1, 7, 100, 3_000, 40_000])
            writer.write(data[at : at + size])
            at += size
            await writer.drain()

    count = at = 0
    try:
        while count == at < REQUESTS:
            # Now and then all is answered: what comes then is served by its known head, without aiohttp.
            burst = expected[at : at + rng.choice([1, 2, 3, 40])]
            at += len(burst)
            sending = asyncio.create_task(send(b"".join(request.raw for request in burst)))
            async with asyncio.timeout(ANSWER_S_MAX):
                count += await answers_of(reader, burst)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
    finally:
        writer.transport.abort()
    # What is sent behind a refusal is not read, so the answers before it may be lost on their way.
    assert count == REQUESTS or caller % 2, f"cut off for nothing after {count}"
    return count


def test_mixtures_of_requests_sent_at_once_are_answered_each_in_its_turn(tmp_path: Path) -> None:
    node = Daemon(tmp_path / "node")

    async def scenario() -> list[int]:
        token = base64.b64encode((node.datadir / ".cookie").read_bytes()).decode()
        async with alive(node):
            return await asyncio.gather(
                *(call_at_once(node, token, caller) for caller in range(CALLERS))
            )

    with running(node):
        counts = asyncio.run(scenario())
        assert sum(counts) > CALLERS, counts
