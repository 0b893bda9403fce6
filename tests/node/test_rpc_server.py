"""The HTTP side, over real sockets."""

from __future__ import annotations

import asyncio
import json as standard_json
import logging
import time
from typing import Any

import pytest

from consensus.params import REGTEST
from node.rpc.dispatch import Dispatcher
from node.rpc.limits import Limits
from node.rpc.server import RpcServer
from tests.node import http_kit
from tests.node.http_kit import (
    ALLOW,
    BODY,
    CALLS,
    METHODS,
    READER,
    USERS,
    Connect,
    read_whole,
    serve,
)  # fmt: skip

quiet = http_kit.quiet


def status_of(limits: Limits | None = None, **request: Any) -> int:
    """The status that one request gets on a fresh connection."""
    found: list[int] = []

    async def scenario(connect: Connect) -> None:
        client = await connect()
        status, headers, _ = await client.send(**request)
        found.append(status)
        assert not [name for name in headers if name.startswith("access-control")]
        assert headers["server"] == "tael"

    serve(scenario, limits)
    return found[0]


def test_a_call_is_answered_as_plain_json_and_the_connection_stays() -> None:
    async def scenario(connect: Connect) -> None:
        client = await connect()
        for number in range(3):
            body = standard_json.dumps({"method": "echo", "params": ["ä"], "id": number}).encode()
            status, headers, answer = await client.send(body, Content_Type="application/json")
            assert status == 200
            assert headers["content-type"] == "application/json"
            assert standard_json.loads(answer) == {"result": "ä", "error": None, "id": number}

    serve(scenario)


def test_a_notification_gets_204_and_no_body() -> None:
    async def scenario(connect: Connect) -> None:
        client = await connect()
        status, _, body = await client.send(b'{"jsonrpc": "2.0", "method": "echo"}')
        assert (status, body) == (204, b"")
        assert (await client.send())[0] == 200

    serve(scenario)


@pytest.mark.parametrize("path", ["/", "/wallet/", "/wallet/mine"])
def test_paths_that_bitcoin_clients_use_are_served(path: str) -> None:
    assert status_of(path=path) == 200


@pytest.mark.parametrize(
    "kind", [None, "application/json", "application/json; charset=utf-8", "Application/JSON"]
)
def test_json_or_no_content_type_is_taken(kind: str | None) -> None:
    assert status_of(Content_Type=kind) == 200


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:80", "127.0.0.1:9", "[::1]:5", "10.1.2.3", "localhost."]
)
def test_this_machine_and_bare_addresses_are_known_hosts(host: str) -> None:
    assert status_of(Host=host) == 200


@pytest.mark.parametrize(
    ("request_form", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example:8332"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": ""}, 403),
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": "text/plain", "Origin": "http://evil.example"}, 403),
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content_Type": "multipart/form-data"}, 415),
        ({"Content_Encoding": "gzip"}, 415),
        ({"method": "OPTIONS", "Origin": "http://evil.example"}, 403),
        ({"method": "OPTIONS"}, 405),
        ({"method": "GET", "Upgrade": "websocket", "Connection": "Upgrade",
          "Sec_WebSocket_Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Sec_WebSocket_Version": "13",
          "Origin": "http://evil.example"}, 403),
        ({"method": "GET"}, 405),
        ({"method": "PUT"}, 405),
        ({"path": "/admin"}, 404),
        ({"Authorization": None}, 401),
        ({"Authorization": ALLOW[:-2] + "=="}, 401),
        ({"Authorization": "Basic " + "A" * 5_000}, 401),
    ],
)  # fmt: skip
def test_what_is_not_a_program_with_a_password_is_refused(
    request_form: dict[str, Any], status: int
) -> None:
    assert status_of(**request_form) == status
    assert CALLS == []


def test_a_configured_name_is_a_known_host() -> None:
    async def scenario(connect: Connect) -> None:
        assert (await (await connect()).send(Host="Node.example:1"))[0] == 200
        assert (await (await connect()).send(Host="evil.example"))[0] == 403

    serve(scenario, hosts=["node.example"])


def test_a_wrong_password_is_told_how_to_ask() -> None:
    async def scenario(connect: Connect) -> None:
        status, headers, _ = await (await connect()).send(Authorization=None)
        assert status == 401
        assert headers["www-authenticate"].startswith("Basic ")

    serve(scenario)


def test_a_reader_gets_403_for_what_changes_the_node() -> None:
    body = b'{"jsonrpc": "2.0", "method": "change", "id": 1}'
    assert status_of(body=body, Authorization=READER) == 403
    assert CALLS == []
    assert status_of(body=body) == 200


def test_a_body_over_the_limit_is_refused_however_it_is_sent() -> None:
    limits = Limits(body_bytes=1_000)
    assert status_of(limits, body=b" " * 973 + BODY) == 200
    assert status_of(limits, body=b" " * 974 + BODY) == 413
    chunked = b"400\r\n" + b" " * 1_024 + b"\r\n0\r\n\r\n"
    headers = {"Content_Length": None, "Transfer_Encoding": "chunked"}
    assert status_of(limits, body=chunked, **headers) == 413
    assert CALLS == ["hello"]


def test_a_length_without_a_body_takes_no_memory_and_ends() -> None:
    assert status_of(body=b"", Content_Length=str(2**62)) == 413
    assert status_of(Limits(body_s=0.1), body=b"", Content_Length="100") == 408


def test_a_body_that_stops_amid_its_chunks_is_given_up_soon() -> None:
    async def scenario(connect: Connect) -> None:
        for second in (b"no length\r\n", b""):
            client = await connect()
            client.write(
                b"5\r\n" + BODY[:5] + b"\r\n", Content_Length=None, Transfer_Encoding="chunked"
            )
            await asyncio.sleep(0.05)
            client.writer.write(second)
            assert (await asyncio.wait_for(client.receive(), 5))[0] == 408
            assert await client.is_closed()

    serve(scenario, Limits(body_s=60, piece_s=0.2))


def test_bad_logins_do_not_delay_good_calls() -> None:
    async def fail(connect: Connect) -> int:
        client = await connect()
        return (await client.send(Authorization=None))[0]

    async def scenario(connect: Connect) -> None:
        failing = [asyncio.create_task(fail(connect)) for _ in range(150)]
        for _ in range(20):
            client = await connect()
            status, _, _ = await asyncio.wait_for(client.send(), 1)
            assert status == 200
        assert set(await asyncio.gather(*failing)) == {401, 429}

    serve(scenario)


def test_one_address_that_guesses_leaves_room_for_another_that_mistypes() -> None:
    async def mistype(connect: Connect, source: str) -> int:
        client = await connect(source)
        return (await client.send(Authorization=None))[0]

    async def scenario(connect: Connect) -> None:
        guessing = [asyncio.create_task(mistype(connect, "127.0.0.2")) for _ in range(30)]
        others = [asyncio.create_task(mistype(connect, "127.0.0.3")) for _ in range(2)]
        statuses = await asyncio.gather(*guessing)
        assert (statuses.count(401), statuses.count(429)) == (4, 26)
        assert await asyncio.gather(*others) == [401, 401]

    serve(scenario, Limits(failures_waiting=8, failures_waiting_per_address=4))


def test_wrong_passwords_from_many_addresses_are_bounded_together() -> None:
    async def mistype(connect: Connect, source: str) -> int:
        return (await (await connect(source)).send(Authorization=None))[0]

    async def scenario(connect: Connect) -> None:
        statuses = await asyncio.gather(*[mistype(connect, f"127.0.1.{n}") for n in range(1, 9)])
        assert (statuses.count(401), statuses.count(429)) == (3, 5)
        assert await mistype(connect, "127.0.1.9") == 401

    serve(scenario, Limits(failures_waiting=3))


def test_many_bad_logins_write_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(connect: Connect) -> None:
        for _ in range(200):
            await (await connect()).send(Authorization=None)

    serve(scenario, Limits(failure_delay_s=0))
    assert len([r for r in caplog.records if "wrong RPC user" in r.message]) == 8


def test_silent_connections_are_closed_and_calls_go_on() -> None:
    async def scenario(connect: Connect) -> None:
        silent, half, good = await connect(), await connect(), await connect()
        half.writer.write(b"POST / HTTP/1.1\r\nHost: 127")
        assert (await good.send())[0] == 200
        assert await silent.is_closed()
        assert await half.is_closed()
        assert (await good.send())[0] == 200

    serve(scenario, Limits(first_request_s=0.2))


def test_calls_beyond_the_limit_are_told_to_come_again() -> None:
    async def one(connect: Connect) -> int:
        return (await (await connect()).send(b'{"method": "wait", "id": 1}'))[0]

    async def scenario(connect: Connect) -> None:
        statuses = await asyncio.gather(*[one(connect) for _ in range(5)])
        assert sorted(statuses) == [200, 200, 200, 503, 503]
        assert await one(connect) == 200

    serve(scenario, Limits(calls=3))


@pytest.mark.parametrize(
    "junk",
    [
        b"\x00" * 100 + b"\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"HELLO\r\n\r\n",
        b"POST / HTTP/1.1\r\n" + b"a: b\r\n" * 5_000, b"POST / HTTP/9.9\r\n\r\n",
        b"POST /" + b"a" * 20_000, b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: " + ALLOW.encode()
        + b"\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: " + ALLOW.encode()
        + b"\r\nContent-Length: 50\r\n\r\nhalf",
        b"POST / HTTP/1.1\r\nA : b\r\n\r\n", b"POST http://[::1 HTTP/1.1\r\n\r\n",
    ],
)  # fmt: skip
def test_bytes_that_are_not_http_leave_the_server_well(
    junk: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(connect: Connect) -> None:
        bad = await connect()
        bad.writer.write(junk)
        bad.writer.write_eof()
        answer = await asyncio.wait_for(bad.reader.read(), 5)
        assert answer == b"" or b" 400 " in answer or b" 4" in answer.split(b"\r\n")[0]
        bad.writer.close()
        assert (await (await connect()).send())[0] == 200

    serve(scenario)
    assert not [record for record in caplog.records if record.exc_info]


def test_many_requests_that_are_not_http_write_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(connect: Connect) -> None:
        for _ in range(100):
            bad = await connect()
            bad.writer.write(b"POST / HTTP/1.1\r\nA : b\r\n\r\n")
            assert b" 400 " in await asyncio.wait_for(bad.reader.read(), 5)
            bad.writer.close()

    serve(scenario)
    lines = [record.getMessage() for record in caplog.records if record.levelno > logging.INFO]
    assert lines == [
        f"not HTTP, on the RPC from 127.0.0.1: Invalid header token ({2**count} so far)"
        for count in range(7)
    ]


def test_requests_before_what_is_no_http_are_answered_behind_a_known_head() -> None:
    head = f"POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: {ALLOW}\r\n"
    whole = f"{head}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY

    async def scenario(connect: Connect) -> None:
        client = await connect()
        client.writer.write(whole)
        assert (await client.receive())[0] == 200
        client.writer.write(whole + whole + b"no HTTP\r\n\r\n" + whole)
        assert [(await client.receive())[0] for _ in range(3)] == [200, 200, 400]
        assert await client.is_closed()

    serve(scenario)


@pytest.mark.parametrize("first", ["POST /", "POST / HTTP/2.0"])
def test_versions_of_http_that_are_not_spoken_are_refused(first: str) -> None:
    whole = f"{first}\r\nHost: localhost\r\nAuthorization: {ALLOW}\r\nContent-Length: {len(BODY)}\r\n\r\n"

    async def scenario(connect: Connect) -> None:
        client = await connect()
        client.writer.write(whole.encode() + BODY)
        assert (await client.receive())[0] == 505
        assert await client.is_closed()

    serve(scenario)


def test_a_client_that_leaves_amid_its_body_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(connect: Connect) -> None:
        leaving = await connect()
        head = f"POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: {ALLOW}\r\n"
        leaving.writer.write(f"{head}Content-Length: 50\r\nExpect: 100-continue\r\n\r\n".encode())
        assert b" 100 " in await asyncio.wait_for(leaving.reader.readline(), 5)  # it is being read
        leaving.writer.transport.abort()
        assert (await (await connect()).send())[0] == 200

    serve(scenario)
    assert not [record for record in caplog.records if record.exc_info]


def test_a_client_that_hangs_up_while_its_call_runs_harms_nobody() -> None:
    async def scenario(connect: Connect) -> None:
        client = await connect()
        task = asyncio.create_task(client.send(b'{"method": "wait", "id": 1}'))
        await asyncio.sleep(0.1)
        client.writer.transport.abort()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await task
        await asyncio.sleep(0.4)
        assert (await (await connect()).send())[0] == 200

    serve(scenario)


def test_a_large_answer_arrives_whole() -> None:
    async def scenario(connect: Connect) -> None:
        client = await connect()
        for _ in range(2):
            status, _, body = await client.send(b'{"method": "large", "id": 1}')
            assert status == 200
            assert len(standard_json.loads(body)["result"]) == 8 << 20

    serve(scenario)


def test_an_answer_that_nobody_reads_is_given_up() -> None:
    async def scenario(connect: Connect) -> None:
        lazy = await connect()
        lazy.write(b'{"method": "large", "id": 1}')
        await asyncio.sleep(0.8)  # its reader stops taking bytes when its buffer is full
        assert not await read_whole(lazy, 8 << 20)
        assert (await (await connect()).send())[0] == 200

    serve(scenario, Limits(send_s=0.3, calls=1))


def test_a_taken_port_is_an_error() -> None:
    async def run() -> None:
        first = RpcServer(Dispatcher(METHODS, REGTEST), USERS, time.time)
        await first.start()
        second = RpcServer(Dispatcher(METHODS, REGTEST), USERS, time.time)
        with pytest.raises(OSError):
            await second.start(port=first.port)
        await second.close()
        await first.close()

    asyncio.run(run())
