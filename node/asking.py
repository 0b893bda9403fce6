"""Asking the node that runs on this machine, with the password that it left for its own user."""

from __future__ import annotations

import base64
import http.client
import json
from typing import Any

from node.config import ConfigError, Settings
from node.datadir import COOKIE_FILE
from node.disk import SYSTEM_DISK, read_file

ANSWER_S_MAX = 30
ANSWER_BYTES_MAX = 32 * 1024 * 1024


class NoNode(ConfigError):
    """Nobody answers."""


class Starting(ConfigError):
    """The node answers, but not yet from its ledger; the text is what it says."""


_WARMING_UP = -28


def ask(settings: Settings, method: str, *params: object) -> Any:
    """The result of a call; numbers with a point, such as money, are text.

    Raises: NoNode, Starting; ConfigError, if the node answers an error.
    """
    answer = _ask(settings, method, params)
    match answer:
        case {"error": {"code": code, "message": message}}:
            raise (Starting if code == _WARMING_UP else ConfigError)(str(message))
        case {"result": result}:
            return result
    raise ConfigError(f"what answers at {settings.rpc} is no node")


def _ask(settings: Settings, method: str, params: tuple[object, ...]) -> Any:
    cookie = settings.datadir / COOKIE_FILE
    try:
        password = read_file(SYSTEM_DISK, cookie)
    except OSError:
        raise NoNode(
            f"no node runs with --datadir {settings.datadir}, network {settings.params.name.decode()}: "
            "start it, or give the --network or --datadir of the one that is meant"
        ) from None
    host, port = settings.rpc
    connection = http.client.HTTPConnection(host, port, timeout=ANSWER_S_MAX)
    try:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        connection.request(
            "POST", "/", body,
            {
                "Content-Type": "application/json",
                "Authorization": "Basic " + base64.b64encode(password).decode(),
            },
        )  # fmt: skip
        response = connection.getresponse()
        text = response.read(ANSWER_BYTES_MAX + 1)
        if len(text) > ANSWER_BYTES_MAX:
            raise ValueError("its answer has no end")
        answer = json.loads(text, parse_float=str) if response.status == 200 else None
    except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
        raise NoNode(f"no node answers at {settings.rpc} ({error}); give its --rpc") from None
    finally:
        connection.close()
    if answer is None:
        raise ConfigError(f"the node at {settings.rpc} does not know the password in {cookie}")
    return answer
