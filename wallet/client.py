"""The node's JSON-RPC, as a client. The only module of the wallet that speaks HTTP.

    async with Client(endpoint("http://127.0.0.1:9931", cookie)) as node:
        height = await node.getblockcount()

Every method of the node is there with its types (`wallet.rpc`). Every way in which a node can fail to
answer ends in one line that says what to do.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, Self
from urllib.parse import unquote, urlsplit

import aiohttp
import msgspec

from wallet.errors import NodeAbsent, NodeError, NodeSilent, RpcError, WalletError
from wallet.files import read_file
from wallet.rpc.addresses import AddressesMethods
from wallet.rpc.assets import AssetsMethods
from wallet.rpc.chain import ChainMethods
from wallet.rpc.control import ControlMethods
from wallet.rpc.events import EventsMethods
from wallet.rpc.mempool import MempoolMethods
from wallet.rpc.mining import MiningMethods
from wallet.rpc.network import NetworkMethods
from wallet.rpc.transactions import TransactionsMethods

CONNECT_TIMEOUT_S = 5
ANSWER_TIMEOUT_S = 60
ANSWER_BYTES_MAX = 64 * 1024 * 1024
WARMING_UP = -28
MINED_ALREADY = -27
_COOKIE_BYTES_MAX = 1_000
_encoder = msgspec.json.Encoder(
    decimal_format="string"
)  # no program on the way reads it as a float


class Endpoint(msgspec.Struct, frozen=True):
    """Where the node answers and who asks."""

    url: str
    """Without user and password."""
    user: str
    password: str

    def __repr__(self) -> str:  # keeps the password out of whatever prints this
        return f"Endpoint({self.url})"


def endpoint(url: str, cookie: Path) -> Endpoint:
    """The endpoint of `url`; the cookie file is read if the URL names no user.

    Raises: WalletError.
    """
    try:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        port = parts.port
    except ValueError:
        raise _wrong_address() from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port is None:
        raise _wrong_address()
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    bare = f"{parts.scheme}://{host}:{port}/"
    if parts.username is not None:
        return Endpoint(bare, unquote(parts.username), unquote(parts.password or ""))
    try:
        text = read_file(cookie, _COOKIE_BYTES_MAX).decode("utf-8").strip()
    except WalletError:
        raise NodeAbsent(
            f"no running node was found: {cookie} cannot be read (start taeld, or give --datadir "
            "of the node, or TAEL_RPC=http://user:password@host:port)"
        ) from None
    except UnicodeDecodeError:
        raise NodeError(f"{cookie} is not a cookie file") from None
    user, separator, password = text.partition(":")
    if not separator:
        raise NodeError(f"{cookie} is not a cookie file")
    return Endpoint(bare, user, password)


def _wrong_address() -> WalletError:
    return WalletError("the RPC address must look like http://127.0.0.1:9931")


class _Answer(msgspec.Struct):
    """What a node sends back; its result is read when it is known to be one."""

    id: int | None = None
    result: msgspec.Raw = msgspec.Raw()
    error: Any = None


class Client(
    ChainMethods, TransactionsMethods, MempoolMethods, AddressesMethods, AssetsMethods, MiningMethods,
    NetworkMethods, EventsMethods, ControlMethods,
):  # fmt: skip
    """One node. Calls may be made at the same time; each takes a connection of its own.

    `answer_timeout_s` is how long a call may take: more than `getevents` is told to wait.
    """

    def __init__(self, at: Endpoint, answer_timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        self._at = at
        self._timeout = aiohttp.ClientTimeout(
            total=answer_timeout_s, sock_connect=CONNECT_TIMEOUT_S
        )
        self._session: aiohttp.ClientSession | None = None
        self._last_id = 0

    async def __aenter__(self) -> Self:
        credentials = f"{self._at.user}:{self._at.password}".encode()
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Basic {base64.b64encode(credentials).decode('ascii')}"},
            timeout=self._timeout,
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._session is not None
        await self._session.close()

    async def call(self, method: str, *params: Any) -> Any:
        """The result of one method. Numbers with decimals come as text, never as floats.

        Raises: RpcError (the node said no), NodeSilent (unknown whether it acted), NodeError.
        """
        return _decode(await self._result(method, params), self._at.url)

    async def ask(self, shape: Any, method: str, *params: object) -> Any:
        """The result of one method as a value of the type `shape`; numbers go to Decimal as written.

        Raises: as `call`; NodeError also if the result has another shape.
        """
        result = await self._result(method, params)
        try:
            return msgspec.json.decode(result, type=shape)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:  # ValueError: not UTF-8
            raise NodeError(f"the node answered {method} in an unknown shape: {error}") from None

    async def _result(self, method: str, params: tuple[object, ...]) -> msgspec.Raw:
        self._last_id += 1
        call_id = self._last_id  # others may call before this is answered
        question = {"jsonrpc": "2.0", "id": call_id, "method": method, "params": params}
        body, status = await self._post(method, _encoder.encode(question))
        try:
            answer = msgspec.json.decode(body, type=_Answer)
        except (msgspec.DecodeError, ValueError, RecursionError):
            raise self._no_node(f" (HTTP status {status})") from None
        if answer.id != call_id:
            raise self._no_node()
        if isinstance(answer.error, Mapping):
            self._raise(method, answer.error)
        if not bytes(answer.result):
            raise self._no_node()
        return answer.result

    def _no_node(self, how: str = "") -> NodeError:
        return NodeError(f"what answers at {self._at.url} is not a node{how}")

    def _raise(self, method: str, error: Mapping[str, Any]) -> NoReturn:
        code, message = error.get("code"), error.get("message")
        if not isinstance(code, int) or not isinstance(message, str):
            raise self._no_node()
        line = " ".join(message.split())[:300]
        if code == WARMING_UP:
            raise NodeError(f"the node is still starting: {line} (try again in a moment)")
        raise RpcError(method, code, line)

    async def _post(self, method: str, data: bytes) -> tuple[bytes, int]:
        """Body and HTTP status of the answer."""
        assert self._session is not None, "`async with` opens a client"
        headers = {"Content-Type": "application/json"}
        try:
            async with self._session.post(
                self._at.url, data=data, headers=headers, allow_redirects=False
            ) as response:
                status = response.status
                body = await response.content.read(ANSWER_BYTES_MAX + 1)
                while not response.content.at_eof() and len(body) <= ANSWER_BYTES_MAX:
                    body += await response.content.read(ANSWER_BYTES_MAX + 1 - len(body))
        except aiohttp.ClientConnectorError:
            raise NodeAbsent(f"no node answers at {self._at.url} (is taeld running?)") from None
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            if isinstance(error, aiohttp.ConnectionTimeoutError):
                raise NodeError(f"no node answers at {self._at.url} in time") from None
            raise NodeSilent(
                f"the node at {self._at.url} did not answer {method} to the end"
            ) from None
        if status == 401:
            raise NodeError(
                f"the node at {self._at.url} refused the password (is --datadir that of this node?)"
            )
        if status == 429:
            raise NodeError(
                f"the node at {self._at.url} refused the password, after too many wrong ones (is "
                "--datadir that of this node? else try again in a few seconds)"
            )
        if status == 503:
            raise NodeError(
                f"the node at {self._at.url} has too many calls (try again in a moment)"
            )
        if status == 403:
            raise NodeError(f"the node at {self._at.url} forbids {method} to this user")
        if len(body) > ANSWER_BYTES_MAX:
            raise NodeError(f"the answer to {method} is larger than {ANSWER_BYTES_MAX} bytes")
        return body, status


def _decode(result: msgspec.Raw, url: str) -> Any:
    try:
        return json.loads(bytes(result).decode(), parse_float=str)
    except (ValueError, RecursionError):
        raise NodeError(f"what answers at {url} is not a node") from None
