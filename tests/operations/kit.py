"""Asking the web server of a node."""

from __future__ import annotations

import http.client

from tests.support.daemon import Daemon


def get(daemon: Daemon, path: str, **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", daemon.doors["web"], timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()
