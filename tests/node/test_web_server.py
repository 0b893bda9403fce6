"""The web server of a real node: who is answered, and what every answer carries."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, running, wait_for


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    found = Daemon(
        tmp_path_factory.mktemp("node"), "--web", "127.0.0.1:0", "--web-host", "Tael.example"
    )
    with running(found):
        wait_for(lambda: "web" in found.doors, "the web server listens")
        yield found


def get(
    daemon: Daemon, path: str, host: str | None = None, method: str = "GET"
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", daemon.doors["web"], timeout=10)
    try:
        connection.request(method, path, headers={} if host is None else {"Host": host})
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def test_node_that_runs_is_healthy(daemon: Daemon) -> None:
    response, body = get(daemon, "/health")
    assert (response.status, json.loads(body)) == (200, {"status": "ok"})


def test_node_at_the_best_tip_that_it_knows_is_ready(daemon: Daemon) -> None:
    response, body = get(daemon, "/ready")
    assert (response.status, json.loads(body)) == (
        200, {"status": "ready", "reasons": [], "blocks": 0, "headers": 0},
    )  # fmt: skip


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "[::1]:9", "tael.example"])
def test_own_names_are_answered(daemon: Daemon, host: str) -> None:
    assert get(daemon, "/health", host)[0].status == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", ""])
def test_other_names_are_refused(daemon: Daemon, host: str) -> None:
    assert get(daemon, "/health", host)[0].status == 403


@pytest.mark.parametrize(("path", "status"), [("/health", 200), ("/nowhere", 404)])
def test_every_answer_tells_browsers_to_run_nothing_foreign(
    daemon: Daemon, path: str, status: int
) -> None:
    response, _ = get(daemon, path)
    assert response.status == status
    assert "default-src 'self'" in str(response.headers["Content-Security-Policy"])
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Server"] == "tael"


def test_nothing_can_be_posted(daemon: Daemon) -> None:
    assert get(daemon, "/health", method="POST")[0].status == 405


def test_port_that_is_taken_is_told_by_the_name_of_its_option(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        daemon = Daemon(tmp_path, "--web", f"127.0.0.1:{port}").start(ready=False)
        assert daemon.wait() == 1
    assert daemon.log[-1] == (
        f"taeld: cannot listen at 127.0.0.1:{port}: Address already in use; give another --web"
    )
