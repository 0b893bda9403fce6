"""The load generator: requests made ready beforehand, on connections that are kept.

    python -m scripts.bench.load FILE

`FILE` is a MessagePack `Job`; the answer is a JSON `Outcome` on standard output. It runs in a process
of its own and does nothing per request but send, receive and look at two clocks, so that it measures
the server: `busy` tells which share of its time it computed. Each connection has one request on its
way at a time; a request is HTTP/1.1 and JSON-RPC as Bitcoin's clients send it.
"""

from __future__ import annotations

import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from scripts.bench.rows import percentile
from scripts.bench.server import LIMIT_S, ROOT, BenchError, Server

_RECEIVED = 1 << 20
_OK = b"HTTP/1.1 200"
_END = b"\r\n\r\n"


class Job(msgspec.Struct, frozen=True):
    """What is to be sent where. Sent from the start again until `count` are answered."""

    port: int
    connections: int
    authorization: str
    bodies: list[bytes]
    count: int
    seconds: float = LIMIT_S
    """Time after which it ends early."""
    kinds: int = 1
    """Kinds of requests: the first of each, the second of each, and so on."""


class Outcome(msgspec.Struct, frozen=True):
    """What was seen."""

    answered: int
    rate: float
    p50_ms: float
    p99_ms: float
    most_ms: float
    busy: float
    """Share of its time that the generator computed."""
    failed: int
    failure: str
    """The first answer that was none."""
    kinds_p99_ms: list[float]
    """Of each kind."""


class _Connection:
    def __init__(self, job: Job) -> None:
        self.socket = socket.create_connection(("127.0.0.1", job.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent_at = 0.0
        self.kind = 0
        self._received = b""
        self._length = -1

    def send(self, request: bytes) -> None:
        self.sent_at = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> bytes | None:
        """The answer, once it is whole. Raises: BenchError."""
        more = self.socket.recv(_RECEIVED)
        if not more:
            raise BenchError("the server closed a connection")
        self._received = self._received + more if self._received else more
        if self._length < 0:
            end = self._received.find(_END)
            if end < 0:
                return None
            head = self._received[:end].lower()
            at = head.find(b"content-length:")
            self._length = end + len(_END) + int(head[at + 15 :].split(b"\r", 1)[0])
        if len(self._received) < self._length:
            return None
        whole, self._received, self._length = self._received, b"", -1
        return whole


def _requests(job: Job) -> list[bytes]:
    head = (
        "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Authorization: {job.authorization}\r\nContent-Length: "
    ).encode()
    return [head + b"%d\r\n\r\n" % len(body) + body for body in job.bodies]


def generate(job: Job) -> Outcome:
    """Do the job in this process."""
    requests = _requests(job)
    selector = selectors.EpollSelector()
    connections = [_Connection(job) for _ in range(job.connections)]
    for connection in connections:
        selector.register(connection.socket, selectors.EVENT_READ, connection)
    taken: list[float] = []
    by_kind: list[list[float]] = [[] for _ in range(job.kinds)]
    failures: list[bytes] = []
    sent = 0
    began, cpu = time.perf_counter(), time.process_time()
    for connection in connections[: job.count]:
        connection.kind = sent % job.kinds
        connection.send(requests[sent % len(requests)])
        sent += 1
    open_requests = sent
    while open_requests:
        for key, _ in selector.select():
            connection = key.data
            answer = connection.receive()
            if answer is None:
                continue
            now = time.perf_counter()
            taken.append(now - connection.sent_at)
            if job.kinds > 1:
                by_kind[connection.kind].append(now - connection.sent_at)
            if not answer.startswith(_OK):
                failures.append(answer)
            if sent < job.count and now - began < job.seconds:
                connection.kind = sent % job.kinds
                connection.send(requests[sent % len(requests)])
                sent += 1
            else:
                open_requests -= 1
    wall, busy = time.perf_counter() - began, time.process_time() - cpu
    return Outcome(
        answered=len(taken),
        rate=len(taken) / wall,
        p50_ms=percentile(taken, 0.5) * 1e3,
        p99_ms=percentile(taken, 0.99) * 1e3,
        most_ms=max(taken) * 1e3,
        busy=busy / wall,
        failed=len(failures),
        failure=failures[0].decode(errors="replace")[-300:] if failures else "",
        kinds_p99_ms=[percentile(times, 0.99) * 1e3 for times in by_kind if times],
    )


def bodies_of(method: str, parameters: Sequence[Sequence[object]]) -> list[bytes]:
    """Requests that call `method`, once with each list of parameters."""
    return [
        msgspec.json.encode({"id": 1, "method": method, "params": list(params)})
        for params in parameters
    ]


def begin_load(
    server: Server, directory: Path, bodies: list[bytes], connections: int,
    count: int | None = None, seconds: float = LIMIT_S, kinds: int = 1,
) -> subprocess.Popen[bytes]:  # fmt: skip
    """Start a generator beside this process."""
    job = Job(
        server.rpc_port, connections, server.authorization, bodies, count or len(bodies), seconds,
        kinds,
    )  # fmt: skip
    path = directory / "job.msgpack"
    path.write_bytes(msgspec.msgpack.encode(job))
    command = [sys.executable, "-m", "scripts.bench.load", str(path)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)


def end_load(generator: subprocess.Popen[bytes]) -> Outcome:
    """Wait for what it saw. Raises: BenchError (a request failed)."""
    output, _ = generator.communicate()
    if generator.returncode:
        raise BenchError(f"the load generator ended with {generator.returncode}")
    outcome = msgspec.json.decode(output, type=Outcome)
    if outcome.failed:
        raise BenchError(f"{outcome.failed} of {outcome.answered} failed: {outcome.failure}")
    return outcome


def load(
    server: Server, directory: Path, bodies: list[bytes], connections: int,
    count: int | None = None, seconds: float = LIMIT_S,
) -> Outcome:  # fmt: skip
    """Send requests and wait for what was seen. Raises: BenchError (a request failed)."""
    return end_load(begin_load(server, directory, bodies, connections, count, seconds))


def outcome_figures(prefix: str, outcome: Outcome) -> Iterator[tuple[str, float]]:
    """The figures of an outcome, by the keys that `load_quantities` has."""
    yield f"{prefix}_rate", outcome.rate
    yield f"{prefix}_p50", outcome.p50_ms
    yield f"{prefix}_p99", outcome.p99_ms
    yield f"{prefix}_busy", outcome.busy * 100


def main() -> None:
    job = msgspec.msgpack.decode(Path(sys.argv[1]).read_bytes(), type=Job)
    print(msgspec.json.encode(generate(job)).decode())


if __name__ == "__main__":
    main()
