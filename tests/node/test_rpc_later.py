"""Answers that come later, without a task: in order, in batches, and not counted as calls."""

from __future__ import annotations

import asyncio
import json as standard_json

from node.rpc.limits import Limits
from tests.node import http_kit
from tests.node.http_kit import Connect, serve
from tests.node.test_rpc_connection import echo_of, request, results

quiet = http_kit.quiet


def later_of(text: str) -> bytes:
    return standard_json.dumps({"method": "later", "params": [text], "id": 0}).encode()


def test_answers_that_come_later_keep_the_order_of_their_requests() -> None:
    async def scenario(connect: Connect) -> None:
        client = await connect()
        for body in (later_of("a"), echo_of("b")):
            assert (await client.send(body))[0] == 200
        requests = [request(each) for each in (later_of("c"), echo_of("d"), later_of("e"))]
        client.writer.write(b"".join(requests) * 20)
        assert await results(client, 60) == ["c", "d", "e"] * 20

    serve(scenario)


def test_answers_that_come_later_count_as_no_call_and_stand_in_batches_too() -> None:
    async def scenario(connect: Connect) -> None:
        clients = [await connect() for _ in range(4)]
        for client in clients:
            assert (await client.send(later_of("a")))[0] == 200
        answers = await asyncio.gather(*(client.send(later_of("b")) for client in clients))
        assert [status for status, _, _ in answers] == [200] * 4
        body = b"[" + later_of("x") + b"," + echo_of("y") + b"]"
        found = standard_json.loads((await clients[0].send(body))[2])
        assert [each["result"] for each in found] == ["x", "y"]

    serve(scenario, Limits(calls=2))


def test_a_refusal_that_comes_later_is_answered_as_any_other() -> None:
    async def scenario(connect: Connect) -> None:
        client = await connect()
        for _ in range(2):
            status, _, body = await client.send(later_of("refused"))
            assert status == 500
            assert standard_json.loads(body)["error"] == {"code": -8, "message": "refused"}

    serve(scenario)
