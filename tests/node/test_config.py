"""Settings: what is typed over the file over defaults, and one clear line for what makes no sense."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from consensus.params import NETWORKS
from node.config import (
    FILE_BYTES_MAX,
    Config,
    ConfigError,
    load_params,
    merge,
    parse_endpoint,
    read_toml,
    settle,
)
from p2p.ports import Endpoint
from tests.support.chain import ALICE

CAMPUS = """
name = "campus"
hrp = "camp"
ticker = "CMP"
genesis_time = 1790000000
"""


def settled(**options: Any) -> Any:
    return settle(merge({}, options))


def test_what_is_typed_counts_more_than_the_file_and_that_more_than_the_default() -> None:
    config = merge({"network": "test", "mempool-mb": 7}, {"network": "regtest"})
    assert (config.network, config.mempool_mb, config.min_fee_rate) == ("regtest", 7, 1_000)


def test_every_setting_can_stand_in_the_file_under_its_option_name() -> None:
    defaults = Config()
    file = {}
    for name in Config.__struct_fields__:
        value = getattr(defaults, name)
        file[name.replace("_", "-")] = list(value) if isinstance(value, tuple) else value
    assert merge(file, {}) == defaults


@pytest.mark.parametrize(
    "file",
    [
        {"netwrok": "test"},
        {"mempool_mb": 5},
        {"reindex-all": True},
        {"": 1},
    ],
)
def test_an_entry_of_another_name_is_refused_by_its_name(file: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="unknown entry") as caught:
        merge(file, {})
    assert repr(next(iter(file))) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mempool-mb", "300"),
        ("mempool-mb", 300.0),
        ("mempool-mb", True),
        ("listen", 1),
        ("listen", "yes"),
        ("connect", "127.0.0.1:1"),
        ("connect", [1]),
        ("network", ["main"]),
        ("rpc", 9931),
        ("index", None),
    ],
)
def test_a_value_of_another_type_is_refused_by_the_name_of_its_entry(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=name):
        merge({name: value}, {})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mine-processes", 0),
        ("mine-processes", 257),
        ("mine-interval", -1),
        ("mempool-mb", 0),
        ("min-fee-rate", -1),
        ("verify-processes", -2),
        ("min-fee-rate", 2**63),
        ("log-level", "loud"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=name):
        merge({name: value}, {})


@pytest.mark.parametrize("file", [{"minfee": 3}, {"min-fee-rate": "x"}, {"mempool-mb": 0}])
def test_a_mistake_in_the_file_is_told_with_the_name_of_the_file(file: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"^/etc/tael/taeld\.toml: "):
        merge(file, {}, Path("/etc/tael/taeld.toml"))


def test_a_mistake_that_was_typed_is_not_looked_for_in_the_file() -> None:
    with pytest.raises(ConfigError, match=r"^mempool-mb must be"):
        merge({"mempool-mb": 5}, {"mempool_mb": 0}, Path("/etc/tael/taeld.toml"))


def test_an_entry_that_is_nearly_one_is_answered_with_that_one() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'mempool-mb'\?$"):
        merge({"mempool_mb": 5}, {})


def test_a_port_alone_is_answered_with_how_to_write_it() -> None:
    with pytest.raises(ConfigError, match=r"^rpc '9931' is a port alone; give 127\.0\.0\.1:9931$"):
        parse_endpoint("rpc", "9931", 99)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("", 0), ("0", 0), ("0x1f", 31), ("00" * 31 + "FF", 255), ("f" * 64, 2**256 - 1)],
)
def test_the_least_work_is_a_number_as_getblockchaininfo_tells_it(text: str, wanted: int) -> None:
    assert settle(merge({"least-work": text}, {})).least_work == wanted


@pytest.mark.parametrize("text", ["0x", "-1", "1" * 65, "many", "1 0"])
def test_a_least_work_that_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="least-work"):
        settle(merge({"least-work": text}, {}))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("localhost", Endpoint("localhost", 99)),
        ("127.0.0.1", Endpoint("127.0.0.1", 99)),
        ("127.0.0.1:80", Endpoint("127.0.0.1", 80)),
        ("127.0.0.1:0", Endpoint("127.0.0.1", 0)),
        ("host.example:65535", Endpoint("host.example", 65_535)),
        ("::1", Endpoint("::1", 99)),
        ("::", Endpoint("::", 99)),
        ("[::1]", Endpoint("::1", 99)),
        ("[::1]:80", Endpoint("::1", 80)),
        ("[fe80::1%eth0]:80", Endpoint("fe80::1%eth0", 80)),
        ("2001:db8::1", Endpoint("2001:db8::1", 99)),
    ],
)
def test_an_endpoint_is_a_host_with_or_without_a_port(text: str, wanted: Endpoint) -> None:
    assert parse_endpoint("rpc", text, 99) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "", ":", ":80", "host:", "host:x", "host:-1", "host:65536", "host:1.0", "host:٣", "host: 80",
        "host:" + "9" * 5_000, "[]", "[]:80", "[::1", "::1]", "[::1]80", "[::1]:", "a:b:80",
        "fe80::1%]", "fe80::1%[x",
        "[fe80::1%[]:80", "[host]:80", "ho st:80", "host\n:80", "http://host:80", "host:80/path",
    ],
)  # fmt: skip
def test_what_is_no_endpoint_is_refused_by_the_name_of_its_option(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^rpc ") as caught:
        parse_endpoint("rpc", text, 99)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("network", "ports"), [("main", 9931), ("test", 19931), ("regtest", 29931)]
)
def test_each_network_has_its_own_ports_and_directory(network: str, ports: int) -> None:
    found = settled(network=network)
    assert found.params is NETWORKS[network]
    assert found.rpc == Endpoint("127.0.0.1", ports)
    assert found.p2p == Endpoint("127.0.0.1", ports + 1)
    assert found.datadir == Path("~/.tael").expanduser() / network


def test_by_default_nobody_beyond_this_machine_is_listened_to() -> None:
    found = settled()
    assert {found.rpc.host, found.p2p.host} == {"127.0.0.1"}
    assert settled(listen=False).p2p is None


def test_a_currency_of_ones_own_is_one_file(tmp_path: Path) -> None:
    path = tmp_path / "campus.toml"
    path.write_text(CAMPUS)
    found = settled(network=str(path), connect=("10.0.0.1", "[::1]:5"))
    assert found.params.name == b"campus"
    assert found.datadir.name == "campus"
    assert (found.rpc.port, found.p2p.port) == (39_931, 39_932)
    assert found.connect == (Endpoint("10.0.0.1", 39_932), Endpoint("::1", 5))


def test_the_address_to_mine_to_is_one_of_the_network() -> None:
    assert settled(network="regtest", mine_to=ALICE.address()).mine_to == ALICE.lock
    with pytest.raises(ConfigError, match="mine-to"):
        settled(network="test", mine_to=ALICE.address())
    with pytest.raises(ConfigError, match="mine-to"):
        settled(network="regtest", mine_to="rtael1nonsense")


@pytest.mark.parametrize(
    "text",
    [
        "", "name = 1", CAMPUS + 'unknown = "x"', CAMPUS + "name = 'twice'", CAMPUS + "subsidy = -1",
        CAMPUS + "subsidy = 1.5", CAMPUS + "pow_limit_bits = 1", CAMPUS + "retarget = 1",
        CAMPUS + "allocations = 3", CAMPUS + "[[allocations]]\naddress = 'x'\namount = 1",
        CAMPUS.replace("campus", "main"), CAMPUS.replace("camp", "CAMP"), "\x00", "= = =",
    ],
)  # fmt: skip
def test_a_network_file_that_makes_no_sense_is_refused_in_one_line(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "campus.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"campus\.toml") as caught:
        load_params(str(path))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "network", ["mainnet", "", "Main", "campus", "absent.toml", "~nobody-at-all/x.toml", "a\0.toml"]
)
def test_a_network_that_does_not_exist_is_refused(network: str) -> None:
    with pytest.raises(ConfigError):
        load_params(network)


@pytest.mark.parametrize("datadir", ["~nobody-at-all/x", "a\0b"])
def test_a_directory_that_cannot_be_is_refused(datadir: str) -> None:
    with pytest.raises(ConfigError, match="datadir"):
        settled(datadir=datadir)


def test_the_home_directory_can_be_written_as_a_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    assert settled(datadir="~/coins").datadir == Path("/somewhere/coins")


def test_files_that_are_no_settings_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "large.toml").write_bytes(b"#" * (FILE_BYTES_MAX + 1))
    (tmp_path / "latin.toml").write_bytes(b"network = '\xe9'")
    (tmp_path / "deep.toml").write_bytes(b"a = " + b"[" * 100_000)
    for name in ("absent.toml", ".", "large.toml", "latin.toml", "deep.toml"):
        with pytest.raises(ConfigError) as caught:
            read_toml(tmp_path / name)
        assert len(str(caught.value).splitlines()) == 1
