"""The process that searches for a nonce. Started by `node.miner`; needs nothing but Python.

Reads jobs from its standard input and writes results to its standard output, both in records of a
fixed size. A new job takes the place of the one before. It ends when its input ends, which happens
whenever the parent does.

    job:     id (8) || first 76 bytes of a header || target (32), all big-endian but the header
    result:  id (8) || hashes done since the last result (8) || 0, or 1 if found || nonce (4)
"""

from __future__ import annotations

import hashlib
import os
import select
import signal
import struct
from collections.abc import Callable

JOB = struct.Struct(">Q76s32s")
RESULT = struct.Struct(">QQBI")
NONCES = 1 << 32
BATCH = 20_000
"""Hashes between two looks at the input: some hundredths of a second."""
NICENESS = 15
STDIN, STDOUT = 0, 1


def search(head: bytes, target: bytes, start: int, count: int) -> int | None:
    """The first nonce of `count` from `start` on whose header hash is at most `target`.

    `head`: the 76 bytes before the nonce. `target`: 32 bytes, big-endian.
    """
    # The first 64 bytes are the same for every nonce, so their half of the work is done once.
    copy = hashlib.sha256(head[:64]).copy
    tail = head[64:]
    sha256 = hashlib.sha256
    for nonce in range(start, min(start + count, NONCES)):
        state = copy()
        state.update(tail + nonce.to_bytes(4, "little"))
        digest = sha256(state.digest()).digest()
        # A hash is a little-endian number, so its last byte decides first; for nearly every nonce
        # that one comparison is enough.
        if digest[31] <= target[0] and digest[::-1] <= target:
            return nonce
    return None


def read_jobs(pending: bytes, wait: bool) -> tuple[bytes | None, bytes]:
    """The newest complete job that has come, or None, and the bytes of an incomplete one behind it.

    Raises EOFError when the parent is gone.
    """
    job = None
    while wait or select.select([STDIN], [], [], 0)[0]:
        data = os.read(STDIN, 64 * JOB.size)
        if not data:
            raise EOFError
        pending += data
        whole = len(pending) - len(pending) % JOB.size
        if whole:
            job, pending = pending[whole - JOB.size : whole], pending[whole:]
            wait = False
    return job, pending


def run(write: Callable[[bytes], object]) -> None:
    """Work until the input ends."""
    pending = b""
    job: bytes | None = None
    number, head, target, nonce = 0, b"", b"", NONCES
    while True:
        job, pending = read_jobs(pending, wait=nonce >= NONCES)
        if job is not None:
            number, head, target = JOB.unpack(job)
            nonce = 0
        found = search(head, target, nonce, BATCH)
        done = BATCH if found is None else found + 1 - nonce
        write(RESULT.pack(number, done, found is not None, found or 0))
        nonce = nonce + BATCH if found is None else NONCES


def main() -> None:
    """Entry point of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to deal with
    os.nice(NICENESS)
    try:
        run(lambda result: os.write(STDOUT, result))
    except (EOFError, BrokenPipeError):
        return


if __name__ == "__main__":
    main()
