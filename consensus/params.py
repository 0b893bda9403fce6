"""Networks as data, and the limits that every network shares.

A private currency is one `Params` value, usually read from a TOML file. All of it is hashed into the
memo of the genesis coinbase, so the chain id (the genesis hash) covers the rules.

Source: docs/protocol.md, "Network parameters" and "Limits".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from consensus.address import AddressError, decode_address
from consensus.codec import encode
from consensus.hashes import hash_params
from consensus.pow import is_canonical_bits

COIN = 100_000_000
"""Base units of the native coin in one coin: 8 decimals."""
AMOUNT_MAX = 2**63 - 1
BLOCK_BYTES_MAX = 4_000_000
BLOCK_COST_MAX = 4_000_000
TX_BYTES_MAX = 100_000
TX_COST_MAX = 100_000
MEMO_BYTES_MAX = 128
LOCK_DEPTH_MAX = 8
LOCK_NODES_MAX = 64
UINT32_MAX = 2**32 - 1
EXPIRY_MARGIN = 20
"""Outputs of a transaction mined closer than this to its expiry mature like a coinbase."""
COINBASE_MATURITY = 100
MEDIAN_TIME_SPAN = 11
ALLOCATIONS_MAX = 1_000


class Allocation(msgspec.Struct, frozen=True, array_like=True):
    """Coins that exist from the start."""

    lock: bytes
    amount: int


class Params(msgspec.Struct, frozen=True, array_like=True):
    """The parameters of a network. The order of the fields is that of the canonical encoding."""

    name: bytes
    """1–32 characters a–z, 0–9 and hyphen."""
    hrp: bytes
    """Human-readable prefix of addresses, 1–16 characters a–z."""
    ticker: bytes
    """What the native coin is called, 1–12 characters A–Z and 0–9."""
    genesis_time: int
    """Seconds since 1970."""
    interval_s: int
    """Wanted seconds between blocks."""
    half_life_blocks: int
    """Difficulty halves or doubles for each this many intervals behind or ahead of schedule."""
    spacing_s: int
    """Least seconds between a block and its parent."""
    future_s: int
    """How far a header's time may lie ahead of the clock before it has to wait."""
    subsidy: int
    """Base units that a block may create at first."""
    halving_blocks: int
    """Blocks after which the subsidy halves."""
    pow_limit_bits: int
    """Easiest target, compact form; also the target of the first blocks."""
    retarget: bool
    """False: every block has the easiest target (for tests)."""
    allocations: tuple[Allocation, ...] = ()

    def subsidy_at(self, height: int) -> int:
        """Base units that the block at `height` may create beside its fees."""
        halvings = height // self.halving_blocks
        return self.subsidy >> halvings if halvings < 64 else 0

    def hash(self) -> bytes:
        """32 bytes that stand for every rule that can differ between networks."""
        return hash_params(encode(self))


MAIN = Params(
    name=b"main", hrp=b"tael", ticker=b"TAEL", genesis_time=1_795_435_200, interval_s=30,
    half_life_blocks=288, spacing_s=5, future_s=120, subsidy=5 * COIN, halving_blocks=4_200_000,
    pow_limit_bits=0x1E00FFFF, retarget=True,
)  # fmt: skip
TEST = msgspec.structs.replace(MAIN, name=b"test", hrp=b"ttael", pow_limit_bits=0x1F00FFFF)
REGTEST = msgspec.structs.replace(
    MAIN, name=b"regtest", hrp=b"rtael", spacing_s=0, future_s=7_200, pow_limit_bits=0x207FFFFF,
    retarget=False,
)  # fmt: skip
NETWORKS: Mapping[str, Params] = {"main": MAIN, "test": TEST, "regtest": REGTEST}


LEAST_WORK: Mapping[str, int] = {"main": 0, "test": 0, "regtest": 0}
"""Work that the chain of each network is known to have had when this was released. Beside `Params`,
as it is no rule: what it says may change, and the chain id may not."""


class ParamsError(ValueError):
    """A network description that makes no sense; the text says which entry and why."""


_BOUNDS: Mapping[str, tuple[int, int]] = {
    "genesis_time": (1, UINT32_MAX),
    "interval_s": (1, 86_400),
    "half_life_blocks": (1, 1_000_000),
    "spacing_s": (0, 3_600),
    "future_s": (1, 86_400),
    "subsidy": (0, AMOUNT_MAX),
    "halving_blocks": (1, UINT32_MAX),
    "pow_limit_bits": (1, UINT32_MAX),
}


def params_from_mapping(source: Mapping[str, Any]) -> Params:
    """A network from the entries of a TOML file; what is absent is as on main.

    `name`, `hrp`, `ticker` and `genesis_time` are required. `allocations` is a list of tables with
    `address` and `amount` (base units). Raises: ParamsError.
    """
    known = set(Params.__struct_fields__)
    for key in source:
        if key not in known:
            raise ParamsError(f"unknown entry {key!r}; known are {', '.join(sorted(known))}")
    fields: dict[str, Any] = {}
    for key, pattern in (("name", r"[a-z0-9-]{1,32}"), ("hrp", "[a-z]{1,16}"),
                         ("ticker", "[A-Z0-9]{1,12}")):  # fmt: skip
        value = source.get(key)
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ParamsError(f"{key} must be a text matching {pattern}")
        fields[key] = value.encode("ascii")
    if source["name"] in NETWORKS:
        raise ParamsError(f"name {source['name']!r} is that of a built-in network")
    if fields["hrp"] in {network.hrp for network in NETWORKS.values()}:
        raise ParamsError(f"hrp {source['hrp']!r} is that of a built-in network")
    if "genesis_time" not in source:
        raise ParamsError("genesis_time is required (seconds since 1970)")
    for key, (low, high) in _BOUNDS.items():
        value = source.get(key, getattr(MAIN, key))
        if type(value) is not int or not low <= value <= high:
            raise ParamsError(f"{key} must be an integer from {low} to {high}")
        fields[key] = value
    if not is_canonical_bits(fields["pow_limit_bits"]):
        raise ParamsError("pow_limit_bits is not the compact form of a target")
    retarget = source.get("retarget", True)
    if type(retarget) is not bool:
        raise ParamsError("retarget must be true or false")
    fields["allocations"] = _allocations(source.get("allocations", []), source["hrp"])
    # Each halving adds half as much as the one before, so all together less than twice the first.
    most = 2 * fields["subsidy"] * fields["halving_blocks"]
    if most + sum(entry.amount for entry in fields["allocations"]) > AMOUNT_MAX:
        raise ParamsError(
            f"subsidy, halving_blocks and allocations would make more than {AMOUNT_MAX} base units"
        )
    return Params(retarget=retarget, **fields)


def _allocations(source: Any, hrp: str) -> tuple[Allocation, ...]:
    if not isinstance(source, list) or len(source) > ALLOCATIONS_MAX:
        raise ParamsError(f"allocations must be a list of at most {ALLOCATIONS_MAX} tables")
    made: list[Allocation] = []
    for number, entry in enumerate(source, 1):
        where = f"allocation {number}"
        if not isinstance(entry, Mapping) or set(entry) != {"address", "amount"}:
            raise ParamsError(f"{where} must have exactly `address` and `amount`")
        amount = entry["amount"]
        if type(amount) is not int or not 1 <= amount <= AMOUNT_MAX:
            raise ParamsError(f"{where}: amount must be a positive integer of base units")
        try:
            made.append(Allocation(decode_address(hrp, str(entry["address"])), amount))
        except AddressError as error:
            raise ParamsError(f"{where}: {error}") from None
    if sum(entry.amount for entry in made) > AMOUNT_MAX:
        raise ParamsError(f"allocations add up to more than {AMOUNT_MAX}")
    return tuple(made)
