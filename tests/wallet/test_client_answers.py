"""What the typed client makes of answers that no node should give."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from tests.wallet.test_cli_node import answering
from wallet.client import Client, endpoint
from wallet.errors import NodeError, RpcError

T = TypeVar("T")


def ask(result: bytes, question: Callable[[Client], Awaitable[T]]) -> T:
    """What a call makes of an answer with these bytes as its result."""
    body = b'{"jsonrpc":"2.0","id":1,"result":' + result + b"}"
    return ask_body(body, question)


def ask_body(body: bytes, question: Callable[[Client], Awaitable[T]]) -> T:
    """What a call makes of an answer."""

    async def run(url: str) -> T:
        async with Client(endpoint(url, Path("no cookie is needed"))) as client:
            return await question(client)

    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    with answering(head % len(body) + body) as url:
        return asyncio.run(run(url.replace("//", "//user:password@")))


@pytest.mark.parametrize(
    "result",
    [
        b"null", b"true", b"1.5", b'"7"', b"[1]", b"{}", b"NaN", b"1e400", b'"\xff"', b"01",
        b"[" * 50_000 + b"]" * 50_000, b'{"a":' * 5_000 + b"1" + b"}" * 5_000, b"", b"1]",
    ],
    ids=range(14),
)  # fmt: skip
@pytest.mark.parametrize(
    "question",
    [
        lambda client: client.getblockcount(),
        lambda client: client.getblockchaininfo(),
        lambda client: client.getchaintips(),
        lambda client: client.getblock("00" * 32, 2),
    ],
    ids=["integer", "object", "array", "chosen"],
)
def test_answer_of_another_shape_is_one_line(
    result: bytes, question: Callable[[Client], Awaitable[object]]
) -> None:
    with pytest.raises(NodeError) as raised:
        ask(result, question)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize(
    "body",
    [
        b"null", b"[]", b"{}", b'{"id":1}', b'{"id":2,"result":5}', b'{"id":"1","result":5}',
        b'{"id":1,"error":{}}', b'{"id":1,"error":{"code":"x","message":"y"}}', b'{"id":1,"error":"x"}',
        b'{"id":null,"result":5}', b'{"result":5}',
    ],
    ids=range(11),
)  # fmt: skip
def test_answer_that_is_none_of_this_call_is_no_node(body: bytes) -> None:
    with pytest.raises(NodeError, match="is not a node") as raised:
        ask_body(body, lambda client: client.getblockcount())
    assert not isinstance(raised.value, RpcError)


def test_error_beside_a_result_is_an_error() -> None:
    body = b'{"id":1,"result":5,"error":{"code":-8,"message":"out of\\nrange"}}'
    with pytest.raises(RpcError) as raised:
        ask_body(body, lambda client: client.getblockcount())
    assert (raised.value.code, raised.value.message) == (-8, "out of range")


def test_member_that_a_later_node_adds_is_passed_over() -> None:
    totals = b'{"totalbytesrecv":1,"totalbytessent":2,"timemillis":3,"uploadtarget":{"x":[]}}'
    assert ask(totals, lambda client: client.getnettotals()).totalbytessent == 2
