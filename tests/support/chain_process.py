"""A chain in a process of its own that connects blocks and flushes, to be killed at any moment.

    python -m tests.support.chain_process DIRECTORY BLOCKS FLUSH_EVERY

BLOCKS is a file of records: length (4 bytes, big-endian) and a block. It prints a line before it
opens the directory, one when it has, then one for every block taken, and ends when all blocks are
connected and written.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from pathlib import Path

from consensus.block import Block, decode_block
from tests.support.node_chain import open_chain

FILE_BYTES_MAX = 20_000
"""Small, so that files are also begun and finished."""


def write_blocks(path: Path, blocks: Iterable[Block]) -> None:
    path.write_bytes(b"".join(len(b.raw).to_bytes(4, "big") + b.raw for b in blocks))


def read_blocks(path: Path) -> list[Block]:
    data, blocks = path.read_bytes(), []
    while data:
        length = int.from_bytes(data[:4], "big")
        blocks.append(decode_block(data[4 : 4 + length]))
        data = data[4 + length :]
    return blocks


def tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def connect(directory: Path, blocks: list[Block], flush_every: int) -> None:
    tell("opening")
    async with open_chain(directory, file_bytes_max=FILE_BYTES_MAX) as node:
        tell("open")
        flushing = asyncio.create_task(asyncio.sleep(0))
        node.chain.add_headers([block.header for block in blocks])
        for number, block in enumerate(blocks):
            await node.chain.accept_block(block.raw)
            if number % 3 == 0:
                await node.settled()
            if number % flush_every == 0:
                await flushing
                flushing = asyncio.create_task(node.chain.flush())
            tell(str(number))
        await flushing
        await node.settled()
        await node.chain.flush()


if __name__ == "__main__":
    asyncio.run(connect(Path(sys.argv[1]), read_blocks(Path(sys.argv[2])), int(sys.argv[3])))
