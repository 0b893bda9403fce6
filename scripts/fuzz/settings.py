"""Targets: what an operator writes."""

from __future__ import annotations

import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

from consensus.block import genesis
from consensus.codec import encode
from consensus.params import AMOUNT_MAX, ParamsError, params_from_mapping
from node.config import ConfigError, merge, parse_endpoint, read_toml, settle
from scripts.fuzz.target import ROOT, Target, need
from tests.support import second
from tests.support.chain import ALICE, BOB

_FOLDER = tempfile.TemporaryDirectory(prefix="tael-fuzz-")
_FILE = Path(_FOLDER.name) / "taeld.toml"


def config(data: bytes) -> None:
    _FILE.write_bytes(data)
    try:
        entries = read_toml(_FILE)
    except ConfigError as error:
        _check_text(error)
        try:
            tomllib.loads(data.decode("utf-8"))
        except (ValueError, RecursionError):
            return
        need(False, "what is TOML is read")
    # A network that is a file of its own is the business of the other target.
    if str(entries.get("network", "")).endswith(".toml"):
        return
    try:
        made = merge(entries, {})
        found = settle(made)
    except ConfigError as error:
        _check_text(error)
        return
    need(merge({}, {name: getattr(made, name) for name in made.__struct_fields__}) == made,
         "a configuration merges into itself")  # fmt: skip
    need(all(endpoint.port <= 65_535 for endpoint in found.connect), "ports exist")
    need((found.p2p is not None) == made.listen, "who listens has an address")


def network(data: bytes) -> None:
    """The description of a private currency."""
    _FILE.write_bytes(data)
    try:
        params = params_from_mapping(read_toml(_FILE))
    except (ConfigError, ParamsError) as error:
        _check_text(error)
        return
    fields = [getattr(params, name) for name in params.__struct_fields__]
    fields[-1] = [[entry.lock, entry.amount] for entry in params.allocations]
    need(second.enc(fields) == encode(params), "both encode the network to the same")
    block = genesis(params)
    need(second.genesis(fields) == block.raw, "both make the same first block")
    total = 2 * params.subsidy * params.halving_blocks
    total += sum(entry.amount for entry in params.allocations)
    need(total <= AMOUNT_MAX, "no more coins can come to be than an amount can say")
    heights = (0, 1, params.halving_blocks, 64 * params.halving_blocks, 2**32 - 1)
    for height in heights:
        ours = params.subsidy_at(height)
        other = second.subsidy(params.subsidy, params.halving_blocks, height)
        need(ours == other, "both pay the same subsidy")


def endpoint(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    try:
        found = parse_endpoint("connect", text, 9_932)
    except ConfigError as error:
        _check_text(error)
        return
    need(0 <= found.port <= 65_535, "the port exists")
    need(parse_endpoint("connect", str(found), 1) == found, "an address reads back")


def _check_text(error: Exception) -> None:
    need(bool(str(error)), "the error says what is wrong")


def _configs() -> Iterator[bytes]:
    yield b""
    yield f"""network = "regtest"
datadir = "/tmp/x"
rpc = "127.0.0.1:1"
p2p = "[::1]:2"
connect = ["a.b:3", "10.0.0.1", "::1"]
listen = false
mine-to = "{ALICE.address()}"
mine-processes = 2
mine-interval = 0
rpc-user = ["a:b$00"]
rpc-host = ["x"]
mempool-mb = 5
min-fee-rate = 0
least-work = "0x00ff"
index = false
verify-processes = -1
log-level = "debug"
log-json = true
reindex = true
""".encode()
    yield b'connect = "x"\n[a]\nb = 1979-05-27T07:32:00Z\nc = 1e9\n'


def _networks() -> Iterator[bytes]:
    yield (ROOT / "docs" / "example-currency.toml").read_bytes()
    address = BOB.address().encode().replace(b"rtael1", b"x1")
    yield b'name = "a"\nhrp = "x"\nticker = "X"\ngenesis_time = 1\nretarget = false\n'
    yield (
        b'name = "b-2"\nhrp = "rtl"\nticker = "X9"\ngenesis_time = 4294967295\nsubsidy = 1\n'
        b"halving_blocks = 1\npow_limit_bits = 0x207fffff\nspacing_s = 0\n"
        b'[[allocations]]\naddress = "%b"\namount = 5\n' % address
    )


TARGETS = (
    Target("config", "taeld.toml: one clear error, or settings that hold", config, _configs, 1_024),
    Target(
        "network", "a network's TOML: one clear error, or one genesis in both implementations",
        network, _networks, 1_024,
    ),
    Target(
        "endpoint", "HOST:PORT as people write it: reads back", endpoint,
        lambda: [b"a.b-c:1", b"[::1]:65535", b"::1", b"10.0.0.1", b"[fe80::1%25lo]:1", b"x:99999"],
        96,
    ),
)  # fmt: skip
