"""What `/metrics` tells, read as Prometheus reads it, of a real node."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from node.rpc.auth import make_user, user_line
from node.rpc.method import Role
from tests.operations.kit import get
from tests.support.daemon import Daemon, RpcFailure, running, wait_for

parse_openmetrics: Callable[[str], Iterable[Metric]] = openmetrics.text_string_to_metric_families
READER = user_line(make_user("prometheus", "a password", "salt", Role.READ))
ADDRESS = "rtael1ppx20w60p4cugw0yl46q7gaj6gt27d5us9dg4zytqzctpflvel53s5udnd9"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    found = Daemon(
        tmp_path_factory.mktemp("node"), "--web", "127.0.0.1:0", "--rpc-user", READER,
        "--ready-free-mb", "0",
    )  # fmt: skip
    with running(found):
        wait_for(lambda: "web" in found.doors, "the web server listens")
        yield found


def read(daemon: Daemon) -> dict[str, Metric]:
    response, body = get(daemon, "/metrics")
    assert response.status == 200
    return {metric.name: metric for metric in parse(body.decode())}


def value(metrics: dict[str, Metric], name: str, **labels: str) -> float:
    samples = [
        sample
        for metric in metrics.values()
        for sample in metric.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    assert len(samples) == 1, (name, labels, samples)
    return float(samples[0].value)


def test_chain_and_mempool_are_told_as_they_are(daemon: Daemon) -> None:
    before = value(read(daemon), "tael_chain_height")
    daemon.call("generatetoaddress", 3, ADDRESS)
    metrics = read(daemon)
    assert value(metrics, "tael_chain_height") == before + 3
    assert value(metrics, "tael_chain_headers") == before + 3
    assert value(metrics, "tael_chain_blocks_connected_total") >= 3
    assert value(metrics, "tael_chain_tip_age_seconds") < 60
    assert value(metrics, "tael_mempool_transactions") == 0
    assert value(metrics, "tael_mempool_removed_total", reason="evicted") == 0
    assert value(metrics, "tael_store_block_bytes") > 3 * 80
    assert value(metrics, "tael_ready") == 1


def test_calls_are_timed_by_their_method(daemon: Daemon) -> None:
    def calls() -> float:
        return value(read(daemon), "tael_rpc_seconds_count", method="getblockhash")

    daemon.call("getblockhash", 0)
    before = calls()
    for _ in range(5):
        daemon.call("getblockhash", 0)
    metrics = read(daemon)
    assert calls() == before + 5
    assert 0 < value(metrics, "tael_rpc_seconds_sum", method="getblockhash") < 5
    top = value(metrics, "tael_rpc_seconds_bucket", method="getblockhash", le="+Inf")
    assert top == before + 5


def test_calls_that_fail_are_counted_by_their_code(daemon: Daemon) -> None:
    with pytest.raises(RpcFailure):
        daemon.call("getblockhash", 1_000_000)
    labels = {"method": "getblockhash", "code": "-8"}
    assert value(read(daemon), "tael_rpc_errors_total", **labels) == 1


def test_names_of_methods_that_do_not_exist_make_no_rows(daemon: Daemon) -> None:
    for name in ("fill", "the", "memory", 'quote"\n'):
        with pytest.raises(RpcFailure):
            daemon.call(name)
    metrics = read(daemon)
    assert value(metrics, "tael_rpc_seconds_count", method="unknown") == 4
    assert value(metrics, "tael_rpc_errors_total", method="unknown", code="-32601") == 4


def test_process_and_event_loop_are_told(daemon: Daemon) -> None:
    wait_for(
        lambda: value(read(daemon), "tael_event_loop_lag_seconds_count") > 0, "the loop is timed"
    )
    metrics = read(daemon)
    assert value(metrics, "process_resident_memory_bytes") > 10_000_000
    assert value(metrics, "process_open_fds") > 3
    assert value(metrics, "tael_build_info", version="0.1.0", network="regtest") == 1


def test_format_of_openmetrics_is_given_to_who_asks_for_it(daemon: Daemon) -> None:
    response, body = get(daemon, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert str(response.headers["Content-Type"]).startswith("application/openmetrics-text")
    assert {"tael_chain_height", "tael_rpc_seconds"} <= {
        metric.name for metric in parse_openmetrics(body.decode())
    }


def test_linter_of_prometheus_finds_nothing_to_say(daemon: Daemon) -> None:
    _, body = get(daemon, "/metrics")
    try:
        checked = subprocess.run(
            ["promtool", "check", "metrics"], input=body, capture_output=True, check=False
        )
    except FileNotFoundError:
        pytest.fail("promtool is missing: apt-get install prometheus")
    assert (checked.returncode, checked.stderr.decode()) == (0, "")


def test_peers_are_counted_and_never_named(daemon: Daemon, tmp_path: Path) -> None:
    other = Daemon(tmp_path, "--connect", daemon.p2p)
    with running(other):
        wait_for(lambda: daemon.call("getconnectioncount") == 1, "they are connected")
        metrics = read(daemon)
        assert value(metrics, "tael_peers", direction="in", encrypted="yes") == 1
        assert value(metrics, "tael_peers", direction="out", encrypted="yes") == 0
        assert value(metrics, "tael_peers_traffic_bytes_total", direction="in") > 0
        assert value(metrics, "tael_peers_banned_total") == 0
        (peer,) = daemon.call("getpeerinfo")
        _, body = get(daemon, "/metrics")
        assert peer["addr"].encode() not in body
        assert b"127.0.0.1" not in body


def test_reader_on_another_machine_shows_a_password(daemon: Daemon) -> None:
    login = "Basic " + base64.b64encode(b"prometheus:a password").decode()
    wrong = "Basic " + base64.b64encode(b"prometheus:a guess").decode()
    foreign = {"X-Forwarded-For": "203.0.113.9"}
    assert get(daemon, "/metrics", **foreign)[0].status == 401
    assert get(daemon, "/metrics", Authorization=wrong, **foreign)[0].status == 401
    assert get(daemon, "/metrics", Authorization=login, **foreign)[0].status == 200


def test_nobody_counts_where_nobody_can_ask(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    with running(daemon):
        assert daemon.call("getreadiness")["ready"] in (True, False)
        assert daemon.doors == {}
