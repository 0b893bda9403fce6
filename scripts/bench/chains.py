"""The measured chains on disk, made once for all runs: blocks, payments that wait, addresses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import msgspec

from consensus.address import encode_address
from scripts.bench.bitcoin import BITCOIN, LITECOIN, MAGIC, BitcoinWorkload, BlockMaker
from scripts.bench.curve_chain import GrowthWorkload
from scripts.bench.workload import Payment, Workload


class Sizes(msgspec.Struct, frozen=True):
    """How much of everything."""

    payments: int = 50_000
    """In the chain."""
    per_block: int = 2_000
    waiting: int = 20_000
    """Signed and not sent."""
    reads: int = 8_000
    template: int = 5_000
    """Payments that wait while a template is asked for."""
    relay_blocks: int = 3
    relay_block: int = 2_000
    """Payments in a relayed block."""
    relayed: int = 60
    """Payments that are relayed one by one."""
    confirmed: int = 10_000
    """Payments sent to the first of three nodes."""
    history: int = 100_000
    """Entries in the history of one address."""
    load_s: float = 4.0
    """Most time that one kind of read is asked for."""
    read_s: float = 0.2
    """The same where there are many kinds."""
    block_every_s: float = 2.0
    """Between blocks while payments are confirmed; half of it while reads are answered."""
    rest_s: float = 2.0
    """Time after which a node that was started has nothing left to do."""


QUICK = Sizes(
    payments=1_200, per_block=200, waiting=400, reads=200, template=100, relay_blocks=1,
    relay_block=50, relayed=5, confirmed=200, history=500,
    load_s=0.2, read_s=0.02, block_every_s=0.5, rest_s=0.2,
)  # fmt: skip


class Prepared(msgspec.Struct, frozen=True):
    """Where a chain lies, and what is known of it."""

    directory: Path
    height: int
    address: str
    """For blocks that are made while measuring."""
    magic: bytes = b""
    payee: str = ""
    """Who got every payment, if it was one."""

    @property
    def blocks(self) -> Path:
        return self.directory / "blocks.msgpack"

    @property
    def network(self) -> Path:
        return self.directory / "bench.toml"

    def waiting(self) -> list[Payment]:
        path = self.directory / "waiting.msgpack"
        return msgspec.msgpack.decode(path.read_bytes(), type=list[Payment])


def read_blocks(path: Path) -> list[bytes]:
    """Every block of a chain, the first included."""
    return msgspec.msgpack.decode(path.read_bytes(), type=list[bytes])


def _write(
    directory: Path, blocks: Sequence[bytes], waiting: Iterable[Payment], address: str,
    magic: bytes = b"",
) -> Prepared:  # fmt: skip
    directory.mkdir(parents=True, exist_ok=True)
    prepared = Prepared(directory, len(blocks) - 1, address, magic)
    prepared.blocks.write_bytes(msgspec.msgpack.encode(blocks))
    (directory / "waiting.msgpack").write_bytes(msgspec.msgpack.encode(list(waiting)))
    return prepared


def make_ours(directory: Path, sizes: Sizes, payee: int | None = None) -> Prepared:
    """The chain for taeld. With `payee`, everything is paid to the key of that number."""
    workload = Workload(sizes.payments, sizes.per_block, payee)
    prepared = _write_ours(directory, workload, sizes.waiting)
    if payee is None:
        return prepared
    lock = workload.params.allocations[payee].lock
    return msgspec.structs.replace(prepared, payee=encode_address("bench", lock))


def _write_ours(directory: Path, workload: Workload, waiting: int) -> Prepared:
    blocks = [workload.genesis.raw, *(block.raw for block in workload.blocks())]
    address = encode_address("bench", workload.params.allocations[0].lock)
    prepared = _write(directory, blocks, workload.waiting(waiting), address)
    prepared.network.write_text(workload.network_toml())
    return prepared


def make_growth(directory: Path, coins: int, sizes: Sequence[int]) -> Prepared:
    """A chain for growth curves."""
    return _write_ours(directory, GrowthWorkload(coins, sizes), 0)


def make_peers(directory: Path, sizes: Sizes) -> dict[str, Prepared]:
    """The chains for Litecoin Core and libbitcoinkernel: the same payments, other headers."""
    workload = BitcoinWorkload(sizes.payments, sizes.per_block)
    makers = {chain.name: BlockMaker(chain) for chain in (LITECOIN, BITCOIN)}
    blocks = {chain.name: [chain.genesis] for chain in (LITECOIN, BITCOIN)}
    for body in workload.bodies():
        for name, maker in makers.items():
            blocks[name].append(maker.make(body))
    waiting = list(workload.waiting(sizes.waiting))
    return {
        name: _write(directory / name, chain, waiting, workload.address, MAGIC)
        for name, chain in blocks.items()
    }


def make_all(directory: Path, sizes: Sizes, with_peers: bool) -> dict[str, Prepared]:
    """Every chain, made side by side."""
    with ProcessPoolExecutor(2) as pool:
        ours = pool.submit(make_ours, directory / "tael", sizes)
        peers = pool.submit(make_peers, directory, sizes) if with_peers else None
        return {"tael": ours.result(), **(peers.result() if peers else {})}
