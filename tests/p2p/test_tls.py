"""TLS between peers, over real sockets: what is on the wire, who is believed, who is not."""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from p2p.listener import REFUSALS_BURST, Listener
from p2p.ports import Endpoint
from p2p.sips import Taker
from p2p.tls import Certificate, Tls, decode_identity, make_identity
from tests.support.network import Network
from tests.support.p2p_node import QUICK, ToyNode, make_network, until
from tests.support.planners import Clock
from tests.support.raw_peer import RawSocket, raw_peer


class Person:
    """A node's identity, in a file."""

    def __init__(self, directory: Path, name: str) -> None:
        self.path = directory / name
        pem = make_identity()
        self.path.write_bytes(pem)
        self.certificate = decode_identity(pem, int(time.time()))

    def tls(
        self, members: Sequence[Person] = (), is_required: bool = False,
        pins: dict[Endpoint, bytes] | None = None,
    ) -> Tls:  # fmt: skip
        known: list[Certificate] = [person.certificate for person in members]
        return Tls(self.path, self.certificate, members=known, is_required=is_required, pins=pins)


def place_of(network: Network) -> Endpoint:
    assert network.local_address is not None
    return network.local_address


@asynccontextmanager
async def listening(tls: Tls | None, handshake_s: float = 5.0) -> AsyncIterator[Network]:
    config = msgspec.structs.replace(QUICK, handshake_s=handshake_s)
    network = make_network(ToyNode(), config, tls=tls)
    await network.start()
    try:
        yield network
    finally:
        await network.close()


class Recorder:
    """Passes bytes on between a dialling node and `target`, and keeps what was said first."""

    def __init__(self, target: Endpoint) -> None:
        self.sent = bytearray()
        self._target = target

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, onward = await asyncio.open_connection(*self._target)

        async def pump(
            source: asyncio.StreamReader, sink: asyncio.StreamWriter, keeps: bool
        ) -> None:
            while data := await source.read(65_536):
                if keeps:
                    self.sent += data
                sink.write(data)
            sink.close()

        await asyncio.gather(
            pump(reader, onward, True), pump(there, writer, False), return_exceptions=True
        )


def test_nodes_with_certificates_encrypt_by_default(tmp_path: Path) -> None:
    async def scenario() -> None:
        a, b = Person(tmp_path, "a"), Person(tmp_path, "b")
        async with listening(a.tls()) as server, listening(b.tls()) as client:
            recorder = Recorder(place_of(server))
            proxy = await asyncio.start_server(recorder.pass_on, "127.0.0.1", 0)
            client.connect(*proxy.sockets[0].getsockname())
            await until(lambda: bool(server.peers() and client.peers()))
            assert recorder.sent[0] == 0x16
            assert b"GET /" not in recorder.sent
            assert b"regtest" not in recorder.sent
            proxy.close()

    asyncio.run(scenario())


def test_a_node_without_tls_is_spoken_to_in_plain_both_ways(tmp_path: Path) -> None:
    async def scenario() -> None:
        modern = Person(tmp_path, "a").tls()
        async with listening(modern) as one, listening(None) as other:
            one.connect(*place_of(other))
            await until(lambda: bool(one.peers() and other.peers()))
            other.disconnect(other.peers()[0].id)
            await until(lambda: not one.peers())
            other.connect(*place_of(one))
            await until(lambda: bool(one.peers() and other.peers()))

    asyncio.run(scenario())


def test_where_encryption_is_required_a_plain_peer_is_cut(tmp_path: Path) -> None:
    async def scenario() -> None:
        tls = Person(tmp_path, "a").tls(is_required=True)
        async with listening(tls) as server, RawSocket(place_of(server)) as peer:
            peer.writer.write(b"GET / HTTP/1.1\r\n")
            began = time.monotonic()
            assert await peer.is_cut()
            assert time.monotonic() - began < 4  # before any deadline

    asyncio.run(scenario())


def test_a_node_that_requires_encryption_does_not_fall_back_to_plain(tmp_path: Path) -> None:
    async def scenario() -> None:
        tls = Person(tmp_path, "a").tls(is_required=True)
        async with listening(tls) as client, listening(None) as plain:
            client.add_node(*place_of(plain))
            async with listening(Person(tmp_path, "b").tls()) as able:
                client.add_node(*place_of(able))
                await until(lambda: bool(client.peers()))
                assert not plain.peers()

    asyncio.run(scenario())


async def is_believed(
    server: Person, pinned: Person, client: Person, caplog: pytest.LogCaptureFixture
) -> bool:
    """Whether `client`, which pins `pinned`, comes to speak with `server`."""
    async with listening(server.tls()) as there:
        pins = {place_of(there): pinned.certificate.fingerprint}
        async with listening(client.tls(pins=pins)) as here:
            here.add_node(*place_of(there))
            await until(lambda: bool(here.peers()) or "not the pinned" in caplog.text)
            return bool(here.peers())


def test_a_pinned_certificate_lets_its_owner_in_and_nobody_in_between(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        a, b, middle = (Person(tmp_path, name) for name in "abm")
        assert await is_believed(a, a, b, caplog)
        assert not await is_believed(middle, a, b, caplog)

    asyncio.run(scenario())


def test_members_speak_with_members_alone_whoever_dials(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        a, b, stranger = (Person(tmp_path, name) for name in "abs")
        async with (
            listening(a.tls([b])) as one,
            listening(b.tls([a])) as two,
            listening(stranger.tls()) as third,
        ):
            third.add_node(*place_of(one))
            one.add_node(*place_of(third))
            two.add_node(*place_of(one))
            await until(lambda: bool(one.peers() and two.peers()))
            # Each of the two dials was refused, and said so.
            await until(lambda: bool(third.peers()) or caplog.text.count("cannot be reached") == 2)
            assert not third.peers()
            assert len(one.peers()) == 1

    asyncio.run(scenario())


def test_a_slow_handshake_of_tls_is_cut_like_every_other(tmp_path: Path) -> None:
    async def scenario() -> None:
        tls = Person(tmp_path, "a").tls()
        async with listening(tls, handshake_s=0.3) as server, RawSocket(place_of(server)) as peer:
            peer.writer.write(b"\x16\x03\x01\x02\x00")
            began = time.monotonic()
            assert await peer.is_cut()
            assert time.monotonic() - began < 5
            async with raw_peer(place_of(server)):
                pass

    asyncio.run(scenario())


def signed_by_a_ca(directory: Path, name: str, ca: Person, *, signs: bool) -> Person:
    """A person whose certificate `ca` signed; without `signs` one that may sign, by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    signer = serialization.load_pem_private_key(ca.path.read_bytes(), None) if signs else key
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    parent = x509.load_pem_x509_certificate(ca.certificate.pem)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .issuer_name(
            parent.subject
            if signs
            else x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        )
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(parent.not_valid_before_utc)
        .not_valid_after(parent.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=not signs, path_length=None), critical=True)
        .sign(signer, hashes.SHA256())
    )
    person = Person(directory, name)
    person.path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    person.certificate = Certificate(made.public_bytes(serialization.Encoding.PEM))
    return person


def test_what_a_member_signed_is_no_member(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        a, base = Person(tmp_path, "a"), Person(tmp_path, "base")
        authority = signed_by_a_ca(tmp_path, "authority", base, signs=False)
        child = signed_by_a_ca(tmp_path, "child", authority, signs=True)
        async with (
            listening(a.tls([authority])) as guarded,
            listening(child.tls()) as outsider,
            listening(authority.tls()) as member,
        ):
            outsider.add_node(*place_of(guarded))
            guarded.add_node(*place_of(outsider))
            await until(
                lambda: bool(outsider.peers()) or caplog.text.count("cannot be reached") == 2
            )
            member.connect(*place_of(guarded))
            await until(lambda: bool(member.peers()))
            assert not outsider.peers()

    asyncio.run(scenario())


def nobody() -> Taker:
    raise AssertionError("nobody connects")


def test_refused_strangers_are_told_once_and_do_not_fill_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level("INFO", logger="p2p.listener"):
        listener = Listener(nobody, None, 1.0, 1, Clock())
        for number in range(10 * REFUSALS_BURST):
            for _ in range(3):
                listener.tell_refused(f"10.0.0.{number}", "it is not encrypted")
    hosts = [record.getMessage() for record in caplog.records]
    assert len(hosts) == len(set(hosts)) == REFUSALS_BURST


def with_dates(directory: Path, name: str, first_year: int, last_year: int) -> Person:
    """A person whose certificate is valid only in these years."""
    person = Person(directory, name)
    key = serialization.load_pem_private_key(person.path.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    called = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(called)
        .issuer_name(called)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime(first_year, 1, 1, tzinfo=datetime.UTC))
        .not_valid_after(datetime.datetime(last_year, 1, 1, tzinfo=datetime.UTC))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    kept = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    person.path.write_bytes(kept + pem)
    person.certificate = Certificate(pem)
    return person


@pytest.mark.parametrize("years", [(2001, 2002), (9000, 9001)], ids=["expired", "not yet"])
def test_a_member_whose_certificate_is_not_valid_now_is_refused_whoever_dials(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, years: tuple[int, int]
) -> None:
    async def scenario() -> None:
        a, b = Person(tmp_path, "a"), Person(tmp_path, "b")
        old = with_dates(tmp_path, "old", *years)
        members = [a, b, old]
        async with (
            listening(a.tls(members)) as one,
            listening(b.tls(members)) as two,
            listening(old.tls(members)) as third,
        ):
            third.add_node(*place_of(one))
            one.add_node(*place_of(third))
            two.add_node(*place_of(one))
            await until(lambda: bool(one.peers() and two.peers()))
            await until(lambda: bool(third.peers()) or caplog.text.count("cannot be reached") == 2)
            assert not third.peers()
            assert "not valid now" in caplog.text

    asyncio.run(scenario())


def test_a_pinned_certificate_is_believed_whatever_its_dates(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        a, b = Person(tmp_path, "a"), Person(tmp_path, "b")
        old = with_dates(tmp_path, "old", 2001, 2002)
        assert await is_believed(old, old, b, caplog)
        assert not await is_believed(a, old, b, caplog)

    asyncio.run(scenario())
