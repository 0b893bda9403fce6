"""Settings of a node: the command line over a TOML file over defaults, all under the same names."""

from __future__ import annotations

import difflib
import ipaddress
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from consensus.address import AddressError, decode_address
from consensus.hashes import LockHash
from consensus.params import LEAST_WORK, NETWORKS, Params, ParamsError, params_from_mapping
from p2p.ports import Endpoint
from p2p.tls import TlsError, parse_fingerprint

HOME = Path("~/.tael")
CONFIG_NAME = "taeld.toml"
FILE_BYTES_MAX = 1 << 20
PORTS: Mapping[str, tuple[int, int]] = {
    "main": (9931, 9932),
    "test": (19931, 19932),
    "regtest": (29931, 29932),
}
PRIVATE_PORTS = (39931, 39932)
"""Ports for RPC and peers of every network that is not built in."""
WEB_PORT_AFTER = 2
"""The web server's port of a network lies so far behind that of its RPC."""
ELECTRUM_PORT_AFTER = 3
"""That of the Electrum server likewise."""
STRATUM_PORT_AFTER = 4
"""The port for miners."""
ZMQ_PORT_AFTER = 5
"""And that of ZeroMQ."""
PORT_MAX = 65_535
MEGABYTE = 1_000_000
_ENDPOINT = re.compile(
    r"(\[(?P<ipv6>[^\[\]]+)\]|(?P<host>[A-Za-z0-9._-]+))(:(?P<port>[0-9]{1,5}))?"
)


_WORK = re.compile(r"(0x)?0*(?P<digits>[0-9A-Fa-f]{0,64})")


class ConfigError(ValueError):
    """A setting that makes no sense; the text names it and says why."""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting. Field names with a hyphen for `_` are options and entries of the file."""

    network: str = "main"
    datadir: str = ""
    rpc: str = ""
    p2p: str = ""
    connect: tuple[str, ...] = ()
    listen: bool = True
    outbound: int = 8
    p2p_tls: str = "on"
    members: str = ""
    mine_to: str = ""
    mine_processes: int = 1
    mine_interval: int = 1
    mine_stale_genesis: bool = False
    rpc_user: tuple[str, ...] = ()
    rpc_host: tuple[str, ...] = ()
    web: str = ""
    web_host: tuple[str, ...] = ()
    stratum: str = ""
    stratum_to: str = ""
    electrum: str = ""
    events: bool = False
    zmq: str = ""
    mempool_mb: int = 300
    min_fee_rate: int = 1_000
    least_work: str = ""
    index: bool = True
    verify_processes: int = -1
    log_level: str = "info"
    log_json: bool = False
    log_file: str = ""
    log_mb: int = 100
    ready_behind: int = 2
    ready_tip_age: int = 0
    ready_free_mb: int = 500
    reindex: bool = False


_BOUNDS: Mapping[str, tuple[int, int]] = {
    "outbound": (0, 64),
    "mine_processes": (1, 256),
    "mine_interval": (0, 86_400),
    "mempool_mb": (1, 100_000),
    "min_fee_rate": (0, 10**12),
    "verify_processes": (-1, 256),
    "log_mb": (1, 100_000),
    "ready_behind": (0, 1_000_000),
    "ready_tip_age": (0, 10**9),
    "ready_free_mb": (0, 10**9),
}
TLS_MODES = ("off", "on", "required")
LOG_LEVELS = ("debug", "info", "warning", "error")


class Settings(msgspec.Struct, frozen=True):
    """A configuration that was checked, with everything looked up."""

    config: Config
    params: Params
    datadir: Path
    rpc: Endpoint
    p2p: Endpoint | None
    connect: tuple[Endpoint, ...]
    mine_to: LockHash | None
    pins: Mapping[Endpoint, bytes] = {}
    """Fingerprints of the certificates that some of `connect` must show."""
    members: Path | None = None
    log_file: Path | None = None
    """Where to log; None: to standard error."""
    web: Endpoint | None = None
    """Where browsers are answered; None: nowhere."""
    stratum: Endpoint | None = None
    """Where miners are given work; None: nowhere."""
    stratum_to: LockHash | None = None
    """Who is paid for it; None: whom the miners name."""
    electrum: Endpoint | None = None
    """Where clients of the Electrum protocol are answered; None: nowhere."""
    zmq: Endpoint | None = None
    """Where news is published over ZeroMQ; None: nowhere."""
    least_work: int = 0
    """What a chain of peers must have before its headers are kept."""


def read_toml(path: Path) -> dict[str, Any]:
    """The entries of a TOML file. Raises: ConfigError."""
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    if len(data) > FILE_BYTES_MAX:
        raise ConfigError(f"{path} is larger than {FILE_BYTES_MAX} bytes")
    try:
        return tomllib.loads(data.decode("utf-8"))
    except RecursionError:
        raise ConfigError(f"{path} is not a TOML file: nested too deeply") from None
    except ValueError as error:  # of syntax, of encoding, or a number of too many digits
        raise ConfigError(f"{path} is not a TOML file: {error}") from None


def load_params(network: str) -> Params:
    """The network called `network`, or described by the file of that name. Raises: ConfigError."""
    if network in NETWORKS:
        return NETWORKS[network]
    if not network.endswith(".toml"):
        raise ConfigError(
            f"--network {network!r} is none of {', '.join(NETWORKS)} and no file NAME.toml"
        )
    path = _path("network", network)
    try:
        return params_from_mapping(read_toml(path))
    except ParamsError as error:
        raise ConfigError(f"{path}: {error}") from None


def data_directory(named: str, params: Params) -> Path:
    """The directory that was named, or else the network's own. Raises: ConfigError."""
    return _path("datadir", named) if named else _path("datadir", f"{HOME}/{params.name.decode()}")


def _path(option: str, text: str) -> Path:
    try:
        if "\0" in text:
            raise ConfigError(f"{option} {text!r} is no path")
        return Path(text).expanduser()
    except RuntimeError as error:  # no such user, or one without a home
        raise ConfigError(f"{option} {text!r}: {error}") from None


def parse_endpoint(option: str, text: str, default_port: int) -> Endpoint:
    """`HOST`, `HOST:PORT`, an IPv6 address or `[IPv6]:PORT`. Raises: ConfigError."""
    if _is_ipv6(text):
        return Endpoint(text, default_port)
    if text.isdecimal():
        raise ConfigError(f"{option} {text[:80]!r} is a port alone; give 127.0.0.1:{text[:80]}")
    match = _ENDPOINT.fullmatch(text)
    if match is None or (match["ipv6"] and not _is_ipv6(match["ipv6"])):
        raise ConfigError(f"{option} {text[:80]!r} is not HOST:PORT")
    port = int(match["port"]) if match["port"] else default_port
    if port > PORT_MAX:
        raise ConfigError(f"{option} {text!r}: a port is at most {PORT_MAX}")
    return Endpoint(match["ipv6"] or match["host"], port)


def _is_ipv6(text: str) -> bool:
    if "[" in text or "]" in text:  # a zone may hold any character, and these end an address
        return False
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def merge(
    file: Mapping[str, Any], options: Mapping[str, Any], path: Path | None = None
) -> Config:  # fmt: skip
    """What the file at `path` says, overruled by the options that were given. Raises: ConfigError."""
    known = {name.replace("_", "-"): name for name in Config.__struct_fields__}
    fields: dict[str, Any] = {}
    for key, value in file.items():
        if key not in known:
            raise ConfigError(
                f"{_begin(path)}unknown entry {key!r}; {_nearest(key, sorted(known))}"
            )
        fields[known[key]] = value
    fields |= options

    def named(field: str) -> str:
        return f"{_begin(None if field in options else path)}{field.replace('_', '-')}"

    try:
        config = msgspec.convert(fields, Config, strict=True)
    except msgspec.ValidationError as error:
        what, _, field = str(error).partition(" - at `$.")
        raise ConfigError(f"{named(field.rstrip('`'))}: {what}") from None
    for name, (low, high) in _BOUNDS.items():
        if not low <= getattr(config, name) <= high:
            raise ConfigError(f"{named(name)} must be from {low} to {high}")
    if config.log_level not in LOG_LEVELS:
        raise ConfigError(f"{named('log_level')} must be one of {', '.join(LOG_LEVELS)}")
    if config.p2p_tls not in TLS_MODES:
        raise ConfigError(f"{named('p2p_tls')} must be one of {', '.join(TLS_MODES)}")
    return config


def _begin(path: Path | None) -> str:
    """How a line begins about what stands in the file at `path`."""
    return "" if path is None else f"{path}: "


def _nearest(key: str, known: list[str]) -> str:
    found = difflib.get_close_matches(key, known, 1)
    return f"did you mean {found[0]!r}?" if found else f"known are {', '.join(known)}"


def _pinned(text: str, default_port: int) -> tuple[Endpoint, bytes | None]:
    """`HOST:PORT` or `HOST:PORT#FINGERPRINT`. Raises: ConfigError."""
    place, mark, fingerprint = text.partition("#")
    endpoint = parse_endpoint("connect", place, default_port)
    try:
        return endpoint, parse_fingerprint(fingerprint) if mark else None
    except TlsError as error:
        raise ConfigError(f"connect {text[:120]!r}: {error}") from None


def _optional(option: str, text: str, default_port: int) -> Endpoint | None:
    """Where a server listens that is off unless it is asked for. Raises: ConfigError."""
    return parse_endpoint(option, text, default_port) if text else None


def _work(text: str) -> int:
    """Hexadecimal, as `chainwork` of getblockchaininfo. Raises: ConfigError."""
    match = _WORK.fullmatch(text)
    if match is None or text in ("0x", ""):
        raise ConfigError(
            f"least-work {text[:80]!r} is not a hexadecimal number of at most 64 digits; "
            "getblockchaininfo shows that of a chain as chainwork"
        )
    return int(match["digits"] or "0", 16)


def _lock(option: str, address: str, params: Params) -> LockHash | None:
    """Whom an address stands for; None if none is given. Raises: ConfigError."""
    if not address:
        return None
    try:
        return decode_address(params.hrp.decode(), address)
    except AddressError as error:
        raise ConfigError(f"{option}: {error}") from None


def settle(config: Config) -> Settings:
    """Look everything up that a configuration names. Raises: ConfigError."""
    params = load_params(config.network)
    name = params.name.decode()
    rpc_port, p2p_port = PORTS.get(name, PRIVATE_PORTS)
    mine_to = _lock("mine-to", config.mine_to, params)
    stratum_to = _lock("stratum-to", config.stratum_to, params)
    if stratum_to is not None and not config.stratum:
        raise ConfigError("stratum-to: without stratum no miner is given work; give --stratum too")
    connect = dict(_pinned(text, p2p_port) for text in config.connect)
    pins = {endpoint: pin for endpoint, pin in connect.items() if pin is not None}
    if config.p2p_tls == "off" and (pins or config.members):
        raise ConfigError("p2p-tls: off leaves nothing to check members and fingerprints by")
    if config.electrum and not config.index:
        raise ConfigError("electrum: addresses cannot be looked up without the index")
    # Peers are strangers: only who says so listens beyond this machine.
    p2p = parse_endpoint("p2p", config.p2p or "127.0.0.1", p2p_port)
    return Settings(
        config=config,
        params=params,
        datadir=data_directory(config.datadir, params),
        rpc=parse_endpoint("rpc", config.rpc or "127.0.0.1", rpc_port),
        p2p=p2p if config.listen else None,
        connect=tuple(connect),
        pins=pins,
        stratum=_optional("stratum", config.stratum, rpc_port + STRATUM_PORT_AFTER),
        stratum_to=stratum_to,
        web=_optional("web", config.web, rpc_port + WEB_PORT_AFTER),
        electrum=_optional("electrum", config.electrum, rpc_port + ELECTRUM_PORT_AFTER),
        zmq=_optional("zmq", config.zmq.removeprefix("tcp://"), rpc_port + ZMQ_PORT_AFTER),
        members=_path("members", config.members) if config.members else None,
        log_file=_path("log-file", config.log_file) if config.log_file else None,
        mine_to=mine_to,
        least_work=_work(config.least_work) if config.least_work else LEAST_WORK.get(name, 0),
    )
