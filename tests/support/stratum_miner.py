"""A miner as Stratum knows it: it knows nothing of this currency, only the rules of that protocol.

What it hashes is put together as mining software does: from hexadecimal strings in words that stand the
wrong way round, which are turned before hashing.
"""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

LIMIT_S = 20.0
DIFFICULTY_ONE = 0x00000000FFFF0000000000000000000000000000000000000000000000000000


class Closed(Exception):
    """The other side has ended the connection."""


class Refusal(Exception):
    """An error that was answered."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


def sha256d(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def flip_words(data: bytes) -> bytes:
    return b"".join(data[at : at + 4][::-1] for at in range(0, len(data), 4))


@dataclass
class Work:
    """The difficulty of the moment, and the parameters of mining.notify."""

    difficulty: float
    job_id: str
    previous: str
    part1: str
    part2: str
    branches: list[str]
    version: str
    bits: str
    time: str
    is_clean: bool

    def head(
        self, extranonce1: str, extranonce2: str, time: str | None = None, rolled: int = 0
    ) -> bytes:
        """The first 76 bytes of the header, in the order in which they are hashed."""
        coinbase = bytes.fromhex(self.part1 + extranonce1 + extranonce2 + self.part2)
        root = sha256d(coinbase)
        for branch in self.branches:
            root = sha256d(root + bytes.fromhex(branch))
        version = f"{int(self.version, 16) | rolled:08x}"
        turned = bytes.fromhex(
            version + self.previous + flip_words(root).hex() + (time or self.time) + self.bits
        )
        return flip_words(turned)

    @staticmethod
    def digest(head: bytes, nonce: int) -> int:
        """What is compared with targets."""
        return int.from_bytes(sha256d(head + nonce.to_bytes(4, "little")), "little")

    @property
    def target(self) -> int:
        return min(2**256 - 1, int(DIFFICULTY_ONE / self.difficulty))

    @property
    def block_target(self) -> int:
        bits = int(self.bits, 16)
        return (bits & 0xFFFFFF) << 8 * ((bits >> 24) - 3)


class StratumMiner:
    """One connection."""

    def __init__(self, port: int, user: str | None = None, **connecting: Any) -> None:
        """With `user` it subscribes and authorizes at once."""
        self._socket = socket.create_connection(("127.0.0.1", port), LIMIT_S, **connecting)
        self._file = self._socket.makefile("rb")
        self._next_id = 0
        self.user = user or ""
        self.difficulty = 1.0
        self.works: list[Work] = []
        self.extranonce1 = ""
        self.extranonce2_size = 0
        self._extranonce2 = 0
        if user is not None:
            self.subscribe()
            assert self.ask("mining.authorize", user, "x") is True

    def __enter__(self) -> StratumMiner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def read(self) -> dict[str, Any]:
        """The next line. Raises: Closed; TimeoutError."""
        try:
            line = self._file.readline()
        except ConnectionError:
            raise Closed from None
        if not line.endswith(b"\n"):
            raise Closed
        message: dict[str, Any] = json.loads(line)
        if message.get("method") == "mining.set_difficulty":
            (self.difficulty,) = message["params"]
        elif message.get("method") == "mining.notify":
            self.works.append(Work(self.difficulty, *message["params"]))
        return message

    def read_to_the_end(self) -> None:
        """Return when the other side has ended the connection."""
        with suppress(Closed):
            while True:
                self.read()

    def ask(self, method: str, *params: Any) -> Any:
        """The result of a request. Raises: Refusal, Closed."""
        self._next_id += 1
        request = {"id": self._next_id, "method": method, "params": params}
        self.send(json.dumps(request).encode() + b"\n")
        while True:
            message = self.read()
            if message["id"] == self._next_id and "method" not in message:
                if message["error"] is not None:
                    raise Refusal(*message["error"][:2])
                return message["result"]

    def subscribe(self) -> None:
        _, self.extranonce1, self.extranonce2_size = self.ask("mining.subscribe", "tests/1.0")

    def work(self, after: int = 0) -> Work:
        """The newest job, once there are more than `after`."""
        while len(self.works) <= after:
            self.read()
        return self.works[-1]

    def search(
        self, work: Work, target: int | None = None, rolled: int = 0, above: int = -1
    ) -> list[str]:
        """The parameters of mining.submit for a share that was not found before; its hash is more than
        `above`, and no more than `target`."""
        self._extranonce2 += 1
        extranonce2 = f"{self._extranonce2:0{2 * self.extranonce2_size}x}"
        head = work.head(self.extranonce1, extranonce2, rolled=rolled)
        goal = work.target if target is None else target
        for nonce in range(1 << 24):
            if above < work.digest(head, nonce) <= goal:
                found = [self.user, work.job_id, extranonce2, work.time, f"{nonce:08x}"]
                return [*found, f"{rolled:08x}"] if rolled else found
        raise AssertionError("nothing found")

    def mine_block(self) -> bool:
        """Find a block of the newest job, and hand it in. Raises: Refusal."""
        work = self.work()
        return self.submit(self.search(work, min(work.target, work.block_target)))

    def submit(self, share: Sequence[str]) -> bool:
        return bool(self.ask("mining.submit", *share))
