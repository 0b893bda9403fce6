"""The process that checks signatures for a node: `python -m node.verify_worker`.

It reads requests from standard input, each a count (4 bytes, big-endian) and that many 129-byte
triples, and answers each with one byte on standard output: 1 if all hold. It ends with its input.
"""

from __future__ import annotations

import sys
from typing import BinaryIO

from consensus.keys import SIGCHECK_BYTES, are_signed

COUNT_BYTES = 4


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer until the input ends."""
    while len(head := requests.read(COUNT_BYTES)) == COUNT_BYTES:
        size = int.from_bytes(head, "big") * SIGCHECK_BYTES
        data = requests.read(size)
        if len(data) < size:
            return
        triples = (data[i : i + SIGCHECK_BYTES] for i in range(0, size, SIGCHECK_BYTES))
        answers.write(b"\x01" if are_signed(triples) else b"\x00")
        answers.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
