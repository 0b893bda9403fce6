"""The short way of a request whose head was let in before, and that it lets nobody else in."""

from __future__ import annotations

import asyncio
import json as standard_json
import time
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from consensus.params import REGTEST
from node.rpc.connection import WAITING_BYTES_MAX
from node.rpc.dispatch import Dispatcher
from node.rpc.heads import HEADS_MAX, AnswerHeads, Head, KnownHeads
from node.rpc.limits import Limits
from node.rpc.method import Role
from node.rpc.server import RpcServer
from tests.node import http_kit
from tests.node.http_kit import ALLOW, BODY, CALLS, METHODS, READER, USERS, Client, Connect, serve

quiet = http_kit.quiet

WAIT = b'{"method": "wait", "id": 1}'
LARGE = b'{"method":"large", "id": 1}'
"""As long as `WAIT` and `BODY`, so that one head serves all three."""


def echo_of(text: str) -> bytes:
    return standard_json.dumps({"method": "echo", "params": [text], "id": 0}).encode()


def request(body: bytes = BODY, *lines: str, first: str = "POST / HTTP/1.1") -> bytes:
    """A request with these lines in its head."""
    usual = ("Host: 127.0.0.1", f"Authorization: {ALLOW}", f"Content-Length: {len(body)}")
    return "\r\n".join([first, *(lines or usual), "", ""]).encode() + body


async def results(client: Client, count: int) -> list[Any]:
    """Results of as many answers, in the order in which they come."""
    found = []
    for _ in range(count):
        status, _, body = await asyncio.wait_for(client.receive(), 10)
        assert status == 200
        found.append(standard_json.loads(body)["result"])
    return found


def test_bodies_in_these_tests_have_one_length() -> None:
    assert len({len(BODY), len(WAIT), len(LARGE)}) == 1


def test_the_short_way_answers_as_the_long_one_does() -> None:
    async def scenario(connect: Connect) -> None:
        client = await connect()
        for body, status in (
            (BODY, 200),
            (b'{"jsonrpc": "2.0", "method": "echo"}', 204),
            (b'{"method": "none", "id": 1}', 404),
            (b'{"method": 5}', 400),
            (b'{"method": "echo", "params": [5], "id": 1}', 500),
            (b"[" + BODY + b"," + WAIT + b"]", 200),
        ):
            long = await client.send(body)
            short = await client.send(body)
            assert long[0] == short[0] == status
            assert long[2] == short[2]
            written = parsedate_to_datetime(short[1].pop("date")).timestamp()
            assert abs(written - time.time()) < 3
            long[1].pop("date")
            ignored = {"content-type", "content-length"} if status == 204 else set()
            assert {k: v for k, v in long[1].items() if k not in ignored} == short[1]

    serve(scenario)


def test_a_known_head_is_let_in_on_another_connection_at_once() -> None:
    async def scenario(connect: Connect) -> None:
        for _ in range(3):
            client = await connect()
            assert await asyncio.gather(client.send(), asyncio.sleep(0))
            client.writer.write(request(WAIT) + request(echo_of("x")))
            assert await results(client, 2) == [None, "x"]

    serve(scenario)


@pytest.mark.parametrize("piece", [1, 7, len(request()) - len(BODY), len(request()) - 1])
def test_requests_in_pieces_are_answered_as_if_they_were_whole(piece: int) -> None:
    async def scenario(connect: Connect) -> None:
        client = await connect()
        for number in range(4):
            raw = request()
            for start in range(0, len(raw), piece):
                client.writer.write(raw[start : start + piece])
                await asyncio.sleep(0.001)
            assert await results(client, 1) == ["hello"], number

    serve(scenario)


def test_requests_sent_at_once_are_answered_in_their_order() -> None:
    async def scenario(connect: Connect) -> None:
        client = await connect()
        assert (await client.send())[0] == 200
        client.writer.write(
            request() + request(WAIT) + request(echo_of("new")) + request() + request(WAIT)
        )
        assert await results(client, 5) == ["hello", None, "new", "hello", None]

    serve(scenario)


def test_many_requests_sent_at_once_leave_others_their_turn() -> None:
    async def scenario(connect: Connect) -> None:
        greedy, other = await connect(), await connect()
        assert (await greedy.send(echo_of("g")))[0] == (await other.send(echo_of("o")))[0] == 200
        CALLS.clear()
        greedy.writer.write(request(echo_of("g")) * 3_000)
        other.writer.write(request(echo_of("o")))
        assert await results(other, 1) == ["o"]
        assert await results(greedy, 3_000) == ["g"] * 3_000
        assert CALLS.index("o") < 2_000

    serve(scenario)


def test_what_is_sent_while_a_call_runs_waits_in_a_bounded_place() -> None:
    async def scenario(connect: Connect) -> None:
        client = await connect()
        assert (await client.send())[0] == 200
        assert await asyncio.gather(client.send(echo_of("x" * 900)))
        one = request(echo_of("x" * 900))
        count = 5 * WAITING_BYTES_MAX // len(one)
        client.writer.write(request(WAIT) + one * count)
        assert await results(client, 1 + count) == [None] + ["x" * 900] * count

    serve(scenario)


def test_a_head_that_differs_in_its_password_is_checked_anew() -> None:
    async def scenario(connect: Connect) -> None:
        good = await connect()
        for _ in range(3):
            assert (await good.send())[0] == 200
        wrong = ALLOW[:-3] + ("A" if ALLOW[-3] != "A" else "B") + ALLOW[-2:]
        for _ in range(2):
            assert (await (await connect()).send(Authorization=wrong))[0] == 401
            assert (await (await connect()).send(Authorization=None))[0] == 401
        assert (await good.send(Authorization=wrong))[0] == 401
        assert await good.is_closed()
        assert len(CALLS) == 3

    serve(scenario)


def test_a_known_head_of_a_reader_lets_in_a_reader() -> None:
    body = b'{"jsonrpc": "2.0", "method": "change", "id": 1}'

    async def scenario(connect: Connect) -> None:
        client = await connect()
        for _ in range(3):
            assert (await client.send(body, Authorization=READER))[0] == 403
            assert (await client.send(body))[0] == 200
        assert len(CALLS) == 3

    serve(scenario)


@pytest.mark.parametrize(
    "request_form",
    [{"Origin": "null"}, {"Host": "evil.example"}, {"Content_Type": "text/plain"},
     {"method": "GET"}, {"path": "/admin"}],
)  # fmt: skip
def test_what_is_refused_is_refused_behind_a_known_head_too(request_form: dict[str, Any]) -> None:
    async def scenario(connect: Connect) -> None:
        for _ in range(2):
            client = await connect()
            assert (await client.send())[0] == (await client.send())[0] == 200
            assert (await client.send(**request_form))[0] in (403, 404, 405, 415)
            assert await client.is_closed()
        assert len(CALLS) == 4

    serve(scenario)


AUTHORIZED = ("Host: 127.0.0.1", f"Authorization: {ALLOW}")


@pytest.mark.parametrize(
    "raw",
    [
        request(BODY, *AUTHORIZED, "Content-Length: 27", "Transfer-Encoding: chunked"),
        request(BODY, *AUTHORIZED, "Content-Length: 27", "Content-Length: 27"),
        request(BODY, *AUTHORIZED, "Content-Length: +27"),
        request(BODY, *AUTHORIZED, "Content-Length : 27"),
        request(BODY, *AUTHORIZED, "X: y\nContent-Length: 27"),
        request(BODY, *AUTHORIZED, "X: y\rContent-Length: 27"),
        request(BODY, *AUTHORIZED, "Content-Length: 27").replace(b"\r\n", b"\n"),
        request(BODY, *AUTHORIZED, " Folded: yes", "Content-Length: 27"),
    ],
)
def test_a_request_with_two_readings_is_refused_every_time(raw: bytes) -> None:
    async def scenario(connect: Connect) -> None:
        for _ in range(2):
            client = await connect()
            assert (await client.send())[0] == 200
            client.writer.write(raw)
            assert (await asyncio.wait_for(client.receive(), 5))[0] == 400
            assert await client.is_closed()
        assert len(CALLS) == 2

    serve(scenario)


def test_bytes_behind_a_body_are_the_next_request() -> None:
    async def scenario(connect: Connect) -> None:
        client = await connect()
        assert (await client.send())[0] == (await client.send())[0] == 200
        client.writer.write(request() + b"GET /admin HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        assert (await client.receive())[0] == 200
        assert (await client.receive())[0] == 403
        assert await client.is_closed()

    serve(scenario)


@pytest.mark.parametrize(
    ("raw", "first_lines", "stays"),
    [
        (request(b"1b\r\n" + BODY + b"\r\n0\r\n\r\n", *AUTHORIZED, "Transfer-Encoding: chunked"),
         [b"HTTP/1.1 200 OK"], True),
        (request(BODY, *AUTHORIZED, "Content-Length: 27", "Expect: 100-continue"),
         [b"HTTP/1.1 100 Continue", b"HTTP/1.1 200 OK"], True),
        (request(BODY, *AUTHORIZED, "Content-Length: 27", "Connection: close"),
         [b"HTTP/1.1 200 OK"], False),
        (request(BODY, *AUTHORIZED, "Content-Length: 27", first="POST / HTTP/1.0"),
         [b"HTTP/1.0 200 OK"], False),
    ],
)  # fmt: skip
def test_what_a_head_asks_for_beside_an_answer_is_done_every_time(
    raw: bytes, first_lines: Sequence[bytes], stays: bool
) -> None:
    async def scenario(connect: Connect) -> None:
        client = await connect()
        for _ in range(3):
            client.writer.write(raw)
            for line in first_lines:
                head = await asyncio.wait_for(client.reader.readuntil(b"\r\n\r\n"), 5)
                assert head.startswith(line)
            await client.reader.readexactly(len(b'{"result":"hello","error":null,"id":7}'))
            if not stays:
                assert await client.is_closed()
                client = await connect()

    serve(scenario)


def test_a_body_that_stays_away_ends_the_connection() -> None:
    async def scenario(connect: Connect) -> None:
        client = await connect()
        assert (await client.send())[0] == (await client.send())[0] == 200
        client.writer.write(request()[:-1])
        status, headers, _ = await asyncio.wait_for(client.receive(), 5)
        assert status == 408
        assert headers["connection"] == "close"
        assert await client.is_closed()
        assert len(CALLS) == 2

    serve(scenario, Limits(body_s=0.2))


def test_a_long_body_behind_a_known_head_arrives_whole() -> None:
    async def scenario(connect: Connect) -> None:
        client = await connect()
        for _ in range(3):
            status, _, body = await client.send(echo_of("x" * (1 << 20)))
            assert (status, len(standard_json.loads(body)["result"])) == (200, 1 << 20)
            assert (await client.send())[0] == 200

    serve(scenario)


def test_a_client_that_takes_no_answers_is_cut_off_and_counts_until_then() -> None:
    async def scenario(connect: Connect) -> None:
        lazy, other = await connect(), await connect()
        assert (await lazy.send())[0] == (await other.send())[0] == 200
        lazy.writer.write(request(LARGE))
        await asyncio.sleep(0.3)  # its reader stops taking bytes when its buffer is full
        assert (await other.send())[0] == 503
        await asyncio.sleep(0.6)
        assert (await (await connect()).send())[0] == 200
        assert not await http_kit.read_whole(lazy, 8 << 20)

    serve(scenario, Limits(send_s=0.6, calls=1))


def test_a_client_that_takes_its_answer_slowly_goes_on() -> None:
    async def scenario(connect: Connect) -> None:
        client = await connect()
        assert (await client.send())[0] == 200
        client.writer.write(request(LARGE) + request())
        await asyncio.sleep(0.3)
        first, second = await results(client, 2)
        assert (len(first), second) == (8 << 20, "hello")
        assert (await client.send())[0] == 200

    serve(scenario, Limits(calls=1))


def test_calls_beyond_the_limit_are_told_to_come_again_on_known_heads_too() -> None:
    async def scenario(connect: Connect) -> None:
        clients = [await connect() for _ in range(3)]
        for client in clients:
            assert (await client.send())[0] == 200
        found = await asyncio.gather(*[client.send(WAIT) for client in clients])
        assert sorted(status for status, _, _ in found) == [200, 200, 503]
        assert (await (await connect()).send())[0] == 200

    serve(scenario, Limits(calls=2))


def test_a_client_that_hangs_up_during_a_call_on_a_known_head_harms_nobody() -> None:
    async def scenario(connect: Connect) -> None:
        client = await connect()
        assert (await client.send())[0] == 200
        client.writer.write(request(WAIT) + request())
        await asyncio.sleep(0.1)
        client.writer.transport.abort()
        await asyncio.sleep(0.4)
        assert (await (await connect()).send())[0] == 200
        assert CALLS == ["hello"] * 2

    serve(scenario, Limits(calls=1))


def test_clients_that_do_not_wait_for_their_answer_have_their_calls_made() -> None:
    async def scenario(connect: Connect) -> None:
        for number in range(20):  # each with a head of its own, and then with that of another
            for body in (echo_of("x" * number), BODY):
                client = await connect()
                client.writer.write(request(body))
                client.writer.close()
        await asyncio.sleep(0.2)
        assert sorted(CALLS) == sorted(["x" * number for number in range(20)] + ["hello"] * 20)

    serve(scenario)


def test_a_body_that_stays_away_behind_a_slow_client_ends_the_connection() -> None:
    async def scenario(connect: Connect) -> None:
        client = await connect()
        assert (await client.send())[0] == 200
        client.writer.write(request(LARGE) + request()[:-1])
        await asyncio.sleep(0.2)  # its reader stops taking bytes when its buffer is full
        assert len((await results(client, 1))[0]) == 8 << 20
        assert (await asyncio.wait_for(client.receive(), 5))[0] == 408

    serve(scenario, Limits(body_s=0.5))


def test_a_connection_that_rests_too_long_is_closed() -> None:
    async def scenario(connect: Connect) -> None:
        short, long = await connect(), await connect()
        assert (await long.send())[0] == (await short.send())[0] == (await short.send())[0] == 200
        began = time.perf_counter()
        assert await short.is_closed()
        assert await long.is_closed()
        assert 0.3 < time.perf_counter() - began < 2

    serve(scenario, Limits(idle_s=0.4))


def test_a_connection_that_works_is_not_taken_for_one_that_rests() -> None:
    async def scenario(connect: Connect) -> None:
        client = await connect()
        for _ in range(3):
            assert (await client.send(WAIT))[0] == 200
        for _ in range(10):
            await asyncio.sleep(0.03)
            assert (await client.send())[0] == 200

    serve(scenario, Limits(idle_s=0.12))


def test_a_head_that_trickles_in_does_not_keep_a_connection() -> None:
    async def scenario(connect: Connect) -> None:
        client = await connect()
        assert (await client.send())[0] == (await client.send())[0] == 200
        began = time.perf_counter()
        for byte in request()[:100]:
            client.writer.write(bytes([byte]))
            await asyncio.sleep(0.05)
            if client.reader.at_eof():
                break
        assert time.perf_counter() - began < 3

    serve(scenario, Limits(idle_s=0.2))


def test_a_call_on_a_known_head_is_answered_while_the_server_closes() -> None:
    async def run() -> None:
        dispatcher: Dispatcher[str] = Dispatcher(METHODS, REGTEST)
        dispatcher.node = "the node"
        server = RpcServer(dispatcher, USERS, time.time)
        await server.start()
        client = Client(*await asyncio.open_connection("127.0.0.1", server.port))
        silent = Client(*await asyncio.open_connection("127.0.0.1", server.port))
        assert (await client.send())[0] == 200
        answer = asyncio.create_task(client.send(WAIT))
        await asyncio.sleep(0.1)
        await server.close()
        assert (await answer)[0] == 200
        assert await client.is_closed()
        assert await silent.is_closed()

    asyncio.run(run())


def test_known_heads_are_bounded_and_the_oldest_goes_first() -> None:
    heads = KnownHeads()
    for number in range(HEADS_MAX + 10):
        heads.learn(b"%d\r\n\r\n" % number, Head(Role.READ, number))
    assert len(heads) == HEADS_MAX
    assert heads.find(b"9\r\n\r\n") is None
    assert heads.find(b"10\r\n\r\n") == Head(Role.READ, 10)


@pytest.mark.parametrize("raw", [b"a\nb\r\n\r\n", b"a\rb\r\n\r\n", b"a\n\r\r\n\r\n"])
def test_a_head_whose_end_can_be_argued_about_is_not_remembered(raw: bytes) -> None:
    heads = KnownHeads()
    heads.learn(raw, Head(Role.ADMIN, 1))
    assert len(heads) == 0


def test_the_date_of_an_answer_is_that_of_its_second() -> None:
    now = [0.0]
    heads = AnswerHeads(lambda: now[0])
    assert b"\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n" in heads.write(200, 1)
    now[0] = 61.9
    assert b"\r\nDate: Thu, 01 Jan 1970 00:01:01 GMT\r\n" in heads.write(200, 1)
    assert heads.write(204, 0).endswith(b"GMT\r\n\r\n")
