"""The address book and the dialer, in virtual time."""

from __future__ import annotations

import hashlib
import random

import msgspec
import pytest

from consensus.errors import DecodeError
from p2p.actions import Dial
from p2p.addrbook import (
    DISCOURAGE_S,
    DISCOURAGED_MAX,
    DRAWS_MAX,
    FAILURES_MAX,
    FAILURES_STALE,
    FILE_VERSION,
    NEW_MAX,
    NEW_PER_SOURCE_MAX,
    SEEN_S_MAX,
    TRIED_PER_GROUP_MAX,
    AddressBook,
    Scope,
    group_of,
    load_book,
    scope_of,
)
from p2p.buckets import SLOTS
from p2p.config import NetworkConfig
from p2p.dialer import Dialer
from p2p.peer import ConnectionType
from p2p.ports import Endpoint

NOW = 1_800_000_000
SOURCE = Endpoint("9.9.9.9", 1)


def book(seed: int = 1) -> AddressBook:
    return AddressBook(random.Random(seed))


def public(number: int, group: int = 1) -> Endpoint:
    return Endpoint(f"8.{group}.{number >> 8}.{number & 255}", 4_000)


@pytest.mark.parametrize(
    ("host", "scope"),
    [
        ("127.0.0.1", Scope.LOOPBACK), ("::1", Scope.LOOPBACK), ("10.0.0.1", Scope.PRIVATE),
        ("192.168.1.1", Scope.PRIVATE), ("fd00::1", Scope.PRIVATE), ("8.8.8.8", Scope.PUBLIC),
        ("2a00::1", Scope.PUBLIC), ("0.0.0.0", None), ("224.0.0.1", None), ("example.org", None),
    ],
)  # fmt: skip
def test_addresses_reach_so_far(host: str, scope: Scope | None) -> None:
    assert scope_of(host) is scope


def test_addresses_of_one_network_share_a_group() -> None:
    assert group_of(Endpoint("8.1.2.3", 1)) == group_of(Endpoint("8.1.9.9", 2))
    assert group_of(Endpoint("8.1.2.3", 1)) != group_of(Endpoint("8.2.2.3", 1))
    assert group_of(Endpoint("2a00:1:2::1", 1)) == group_of(Endpoint("2a00:1:3::1", 1))
    assert group_of(Endpoint("127.0.0.1", 1)) != group_of(Endpoint("127.0.0.1", 2))


@pytest.mark.parametrize(
    ("host", "source", "is_kept"),
    [
        ("8.8.8.8", "9.9.9.9", True), ("10.0.0.1", "9.9.9.9", False), ("127.0.0.1", "9.9.9.9", False),
        ("8.8.8.8", "10.0.0.2", True), ("10.0.0.1", "10.0.0.2", True),
        ("127.0.0.1", "10.0.0.2", False), ("127.0.0.1", "127.0.0.1", True),
    ],
)  # fmt: skip
def test_nobody_outside_can_name_addresses_inside(host: str, source: str, is_kept: bool) -> None:
    assert book().add(Endpoint(host, 5), Endpoint(source, 6), NOW, NOW) == is_kept


def test_one_source_fills_a_bounded_part() -> None:
    made = book()
    for number in range(3_000):
        made.add(public(number, number % 200), SOURCE, NOW, NOW)
    assert NEW_PER_SOURCE_MAX // 2 < len(made) <= NEW_PER_SOURCE_MAX


def test_one_group_fills_a_bounded_part_for_each_source() -> None:
    made = book()
    for number in range(1_000):
        made.add(public(number), Endpoint(f"9.{number % 10}.1.1", 1), NOW, NOW)
    assert 5 * SLOTS < len(made) <= 10 * SLOTS


def test_the_book_is_bounded() -> None:
    made = book()
    for number in range(2 * NEW_MAX):
        group = number % 150
        made.add(public(number, group), Endpoint(f"9.{number % 149}.1.1", 1), NOW, NOW)
    assert NEW_MAX // 2 < len(made) <= NEW_MAX


def gossip(made: AddressBook, count: int, sources: int = 1) -> None:
    """Name `count` addresses in many groups, from `sources` networks."""
    for number in range(count):
        endpoint = Endpoint(f"66.{number % 251}.{number >> 8 & 255}.{number & 255}", 4_000)
        made.add(endpoint, Endpoint(f"77.{number % sources}.1.1", 1), NOW, NOW)


def test_who_gossips_many_addresses_pushes_out_none_that_are_good() -> None:
    made = book()
    known = [public(number, number) for number in range(40)]
    kept = [endpoint for endpoint in known if made.add(endpoint, endpoint, NOW, NOW)]
    assert len(kept) > 35  # few share a place
    gossip(made, 5_000, 50)
    assert len(made) > 2_000
    assert all(endpoint in made for endpoint in kept)


def test_an_address_that_keeps_failing_gives_way() -> None:
    made = book()
    gossip(made, 2_000)
    before = set(made._entries)
    gone = next(iter(made._entries))
    for _ in range(FAILURES_STALE):
        made.on_failed(gone, NOW)
    assert gone in made
    gossip(made, 4_000)
    assert before - set(made._entries) == {gone}


def test_where_an_address_lies_is_a_secret_of_the_node() -> None:
    kept = []
    for seed in (1, 2):
        made = book(seed)
        gossip(made, 2_000)
        kept.append(set(made._entries))
    assert len(kept[0] & kept[1]) < len(kept[0]) * 3 / 4


def test_the_secret_outlives_a_restart() -> None:
    made = book(1)
    gossip(made, 1_000)
    again = AddressBook(random.Random(2), made.dump())
    before = set(again._entries)
    gossip(again, 1_000)
    assert set(again._entries) == before == set(made._entries)


def test_what_answers_in_a_taken_place_waits_until_the_other_does_not_answer() -> None:
    made = book()
    for number in range(400):
        made.on_success(public(number), NOW)
    tried = [e for e in made._entries.values() if e.tried]
    assert len(tried) == TRIED_PER_GROUP_MAX
    old = made.feeler(NOW + 1, ())
    assert old is not None
    assert made._entries[old].tried
    made.on_failed(old, NOW + 1)
    now_tried = {e.endpoint for e in made._entries.values() if e.tried}
    assert old not in now_tried
    assert len(now_tried) == TRIED_PER_GROUP_MAX
    while (asked := made.feeler(NOW + 2, ())) is not None and made._entries[asked].tried:
        made.on_success(asked, NOW + 2)
    assert {e.endpoint for e in made._entries.values() if e.tried} == now_tried


def test_a_search_in_a_large_book_looks_at_few_addresses() -> None:
    class Counting(random.Random):
        draws = 0

        def random(self) -> float:
            self.draws += 1
            return super().random()

    rng = Counting(1)
    made = AddressBook(rng)
    gossip(made, 5_000, 50)
    assert len(made) > 2_000
    rng.draws = 0
    assert made.choose(NOW, (), set(made._entries)) is None
    assert 0 < rng.draws <= 3 * DRAWS_MAX


def test_a_thousand_addresses_of_two_networks_do_not_keep_us_from_a_third() -> None:
    made = book()
    for number in range(500):
        made.add(public(number, 1), Endpoint(f"9.{number % 50}.1.1", 1), NOW, NOW)
        made.add(public(number, 2), Endpoint(f"9.{number % 50}.1.1", 1), NOW, NOW)
    honest = public(1, 3)
    made.add(honest, SOURCE, NOW, NOW)
    chosen: list[Endpoint] = []
    for _ in range(3):
        endpoint = made.choose(NOW, {group_of(e) for e in chosen}, chosen)
        assert endpoint is not None
        chosen.append(endpoint)
    assert honest in chosen


def test_old_addresses_are_not_taken() -> None:
    made = book()
    assert not made.add(public(1), SOURCE, NOW - SEEN_S_MAX - 1, NOW)
    assert made.add(public(1), SOURCE, NOW + 10**6, NOW)
    assert made.sample(SOURCE, NOW)[0].seen == NOW


def test_an_address_that_answered_is_kept_apart_and_one_that_never_did_is_forgotten() -> None:
    made = book()
    good, bad = public(1), public(2)
    for endpoint in (good, bad):
        made.add(endpoint, SOURCE, NOW, NOW)
    made.on_success(good, NOW)
    for _ in range(FAILURES_MAX):
        made.on_failed(good, NOW)
        made.on_failed(bad, NOW)
    assert good in made
    assert bad not in made


def test_tried_addresses_of_one_group_are_bounded() -> None:
    made = book()
    for number in range(100):
        made.on_success(public(number), NOW + number)
    tried = [e for e in made._entries.values() if e.tried]
    assert len(tried) == TRIED_PER_GROUP_MAX
    assert len(made) <= TRIED_PER_GROUP_MAX + SLOTS


def test_an_address_that_failed_rests_ever_longer() -> None:
    made = book()
    made.add(public(1), SOURCE, NOW, NOW)
    now = NOW
    for wait in (120, 240, 480):
        made.on_dialled(public(1), now)
        made.on_failed(public(1), now)
        assert made.choose(now + wait - 1, (), ()) is None
        now += wait
        assert made.choose(now, (), ()) == public(1)


def test_discouragement_expires_and_is_bounded() -> None:
    made = book()
    made.discourage("8.8.8.8", NOW)
    assert made.is_discouraged("8.8.8.8", NOW + DISCOURAGE_S - 1)
    assert not made.is_discouraged("8.8.8.8", NOW + DISCOURAGE_S)
    for number in range(DISCOURAGED_MAX + 50):
        made.discourage(f"2a00::{number:x}", NOW)
    assert len(made._discouraged) == DISCOURAGED_MAX
    assert made.is_discouraged(f"2a00::{DISCOURAGED_MAX:x}", NOW)


def test_a_discouraged_address_is_not_dialled() -> None:
    made = book()
    made.add(public(1), SOURCE, NOW, NOW)
    made.discourage(public(1).host, NOW)
    assert made.choose(NOW, (), ()) is None


def test_a_sample_is_a_part_and_says_nothing_of_the_inside() -> None:
    made = book()
    for number in range(200):
        made.on_success(public(number, number), NOW)
    made.add(Endpoint("10.0.0.1", 1), Endpoint("10.0.0.2", 1), NOW, NOW)
    assert len(made.sample(SOURCE, NOW)) == 50
    assert all(entry.ip[0] == 8 for _ in range(20) for entry in made.sample(SOURCE, NOW))


def test_a_book_comes_back_as_it_was_written() -> None:
    made = book()
    for number in range(50):
        made.add(public(number, number), SOURCE, NOW, NOW)
    made.on_success(public(7, 7), NOW)
    made.discourage("8.8.8.8", NOW)
    again = AddressBook(random.Random(2), made.dump())
    assert again.dump() == made.dump()
    assert again.is_discouraged("8.8.8.8", NOW)


def test_a_damaged_book_is_begun_anew() -> None:
    data = book().dump()
    flipped = [data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :] for at in range(len(data))]
    for bad in (b"", b"junk", data[:-1], b"\x93\x09" + data[2:], *flipped):
        with pytest.raises(DecodeError):
            AddressBook(random.Random(1), bad)
        assert len(load_book(random.Random(1), bad)) == 0


CONFIG = NetworkConfig(outbound_target=3)
PEER = Endpoint("example.org", 4_000)


def dialer(config: NetworkConfig = CONFIG) -> tuple[AddressBook, Dialer]:
    made = book()
    return made, Dialer(config, made, random.Random(3))


def sealed(fields: tuple[object, ...]) -> bytes:
    body = msgspec.msgpack.encode(fields)
    return body + hashlib.sha256(body).digest()


def test_a_book_of_the_version_before_is_read_and_of_another_is_not() -> None:
    entries = [
        (bytes((9, number, 1, 1)), 1, f"8.{number}.0.0/16", NOW, number < 5, 0, 0, 0)
        for number in range(20)
    ]
    anchors = [("9.1.1.1", 1)]
    old = msgspec.msgpack.encode((2, entries, {"8.8.8.8": NOW + 5}, anchors))
    made = AddressBook(random.Random(1), old)
    assert len(made) >= 18  # few share a place
    assert made.anchors == [Endpoint("9.1.1.1", 1)]
    assert made.is_discouraged("8.8.8.8", NOW)
    assert AddressBook(random.Random(2), made.dump()).dump(made.anchors) == made.dump(made.anchors)
    for version, secret in ((1, bytes(32)), (4, bytes(32)), (FILE_VERSION, b"")):
        with pytest.raises(DecodeError):
            AddressBook(random.Random(1), sealed((version, [], {}, [], secret)))


@pytest.mark.parametrize("failures", [(-1,), (0, 0)], ids=["negative", "twice"])
def test_a_book_with_entries_that_nobody_wrote_is_begun_anew(failures: tuple[int, ...]) -> None:
    def written(*failures: int) -> bytes:
        entries = [(bytes((9, 1, 1, 1)), 1, "x", 1, False, 0, 0, count) for count in failures]
        return sealed((FILE_VERSION, entries, {}, [], bytes(32)))

    assert len(AddressBook(random.Random(1), written(0))) == 1
    data = written(*failures)
    with pytest.raises(DecodeError):
        AddressBook(random.Random(1), data)
    assert len(load_book(random.Random(1), data)) == 0


def test_a_named_peer_is_dialled_once_and_again_with_growing_pauses() -> None:
    config = msgspec.structs.replace(CONFIG, connect=(PEER,))
    _, made = dialer(config)
    now, pauses = 0.0, []
    for _ in range(9):
        assert made.plan((), now, NOW) == [Dial(PEER, ConnectionType.MANUAL)]
        assert made.plan((), now + 1_000, NOW) == []
        made.on_ended(PEER, ConnectionType.MANUAL, None, now, NOW)
        start = now
        while not made._targets[PEER].next_at <= now:
            now += 0.05
        pauses.append(now - start)
    assert 0.7 <= pauses[0] <= 1.3
    assert 44 <= pauses[-1] <= 76
    assert pauses[0] < pauses[2] < pauses[4]


def test_pauses_are_short_again_after_a_connection_that_lasted() -> None:
    config = msgspec.structs.replace(CONFIG, connect=(PEER,))
    _, made = dialer(config)
    for lasted in (None, None, None, None, 3_600.0):
        made.plan((), 10_000.0, NOW)
        made.on_ended(PEER, ConnectionType.MANUAL, lasted, 0.0, NOW)
    assert made._targets[PEER].next_at <= 1.25


def test_connections_from_the_book_are_opened_up_to_the_target_in_different_groups() -> None:
    found, made = dialer()
    for number in range(20):
        found.add(public(number, number % 2), SOURCE, NOW, NOW)
    dials = [dial for _ in range(10) for dial in made.plan((), 0.0, NOW)]
    assert len(dials) == 2
    assert len({group_of(dial.endpoint) for dial in dials}) == 2
    found.add(public(1, 7), SOURCE, NOW, NOW)
    assert made.plan((), 0.0, NOW) == [Dial(public(1, 7), ConnectionType.OUTBOUND)]
    found.add(public(1, 8), SOURCE, NOW, NOW)
    assert made.plan((), 0.0, NOW) == []
    made.on_ended(public(1, 7), ConnectionType.OUTBOUND, 5.0, 1.0, NOW)
    assert len(made.plan((), 1.0, NOW)) == 1


def test_who_is_connected_already_is_not_dialled() -> None:
    found, made = dialer()
    found.add(public(1), SOURCE, NOW, NOW)
    assert made.plan([public(1)], 0.0, NOW) == []


def test_our_own_address_is_never_dialled_again() -> None:
    found, made = dialer(msgspec.structs.replace(CONFIG, connect=(public(1),)))
    made.on_self(public(1))
    found.add(public(1), SOURCE, NOW, NOW)
    assert made.plan((), 0.0, NOW) == []
    assert made.added == ()


def test_a_peer_that_is_removed_is_not_dialled_again() -> None:
    _, made = dialer()
    made.add(PEER)
    assert made.remove(PEER)
    assert not made.remove(PEER)
    assert made.plan((), 0.0, NOW) == []


def test_an_address_that_was_never_reached_is_tried_now_and_then() -> None:
    found, made = dialer(msgspec.structs.replace(CONFIG, outbound_target=1))
    for number in range(3):
        found.add(public(1, number), SOURCE, NOW, NOW)
    assert [dial.kind for dial in made.plan((), 0.0, NOW)] == [ConnectionType.OUTBOUND]
    felt, moments = set(), []
    for tick in range(1, 2_000):
        now = tick * 0.5
        for dial in made.plan((), now, NOW):
            assert dial.kind is ConnectionType.FEELER
            assert made.plan((), now + 1_000.0, NOW) == []  # one at a time
            made.on_ready(dial.endpoint, NOW)
            made.on_ended(dial.endpoint, dial.kind, 0.1, now, NOW)
            felt.add(dial.endpoint)
            moments.append(now)
    assert len(felt) == len(moments) == 2
    assert 60 <= moments[0] <= 180
    assert 60 <= moments[1] - moments[0] <= 180
    assert all(found._entries[endpoint].tried for endpoint in felt)


def test_who_wants_no_connections_of_its_own_feels_for_none() -> None:
    found, made = dialer(msgspec.structs.replace(CONFIG, outbound_target=0))
    found.add(public(1), SOURCE, NOW, NOW)
    assert [made.plan((), tick * 10.0, NOW) for tick in range(100)] == [[]] * 100
