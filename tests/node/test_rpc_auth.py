"""Users, roles and the cookie."""

from __future__ import annotations

import base64
import hashlib
import hmac
import random
import stat
from pathlib import Path

import pytest

from node.rpc.auth import (
    COOKIE_USER,
    Authenticator,
    AuthError,
    User,
    make_user,
    parse_user,
    remove_cookie,
    user_line,
    write_cookie,
)
from node.rpc.method import Role
from tests.support.disks import Killed, kill
from tests.support.fragile import FragileDisk, lose_power
from wallet.client import endpoint
from wallet.errors import NodeError

ADMIN = make_user("alice", "correct horse", "5f1e", Role.ADMIN)
READER = make_user("shop", "ümlaut:colon", "77aa", Role.READ)
USERS = Authenticator([ADMIN, READER])


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def test_the_right_password_gives_the_user_with_the_role() -> None:
    assert USERS.check(basic("alice", "correct horse")) == ADMIN
    assert USERS.check(basic("shop", "ümlaut:colon")) == READER


@pytest.mark.parametrize(
    "header",
    [
        None, "", "Basic", "Basic ", "Basic !!!", "Bearer abc", basic("alice", ""),
        basic("alice", "correct hors"), basic("", ""), basic("", "nobody"), basic("bob", "x"),
        basic("shop", "correct horse"), "Basic " + "A" * 100_000, "Basic Og==", "Basic /////w==",
    ],
)  # fmt: skip
def test_anything_else_gives_nobody(header: str | None) -> None:
    assert USERS.check(header) is None


def test_credentials_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[int, int]] = []
    compare_digest = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return compare_digest(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    for name, password in (("alice", "c"), ("alice", "correct horse"), ("nobody", "x"), ("", "")):
        USERS.check(basic(name, password))
    # Hashes of one length, also where there is no such user.
    assert compared == [(32, 32)] * 4


def test_a_line_of_the_configuration_says_the_same_as_the_user() -> None:
    for user in (ADMIN, READER):
        assert parse_user(user_line(user)) == user


def test_a_line_made_for_bitcoin_core_is_an_admin() -> None:
    digest = hmac.new(b"3a5c", b"pass", hashlib.sha256).hexdigest()
    user = parse_user(f"bob:3a5c${digest}")
    assert Authenticator([user]).check(basic("bob", "pass")) == user
    assert user.role is Role.ADMIN


@pytest.mark.parametrize(
    "line", ["", "bob", "bob:pass", "bob:salt$00", ":a$" + "00" * 32, "bob:$" + "00" * 32,
             "bob:a$" + "00" * 32 + ":root", "bob:a$" + "zz" * 32],
)  # fmt: skip
def test_a_line_that_is_no_user_is_refused(line: str) -> None:
    with pytest.raises(AuthError):
        parse_user(line)


def cookie(path: Path, secret: bytes = bytes(range(32))) -> tuple[User, str, str]:
    user = write_cookie(path, secret)
    name, _, password = path.read_text().partition(":")
    return user, name, password


def test_the_cookie_lets_its_reader_in_as_admin(tmp_path: Path) -> None:
    user, name, password = cookie(tmp_path / ".cookie")
    assert name == COOKIE_USER
    found = Authenticator([user]).check(basic(name, password))
    assert found is not None
    assert found.role is Role.ADMIN


def test_only_the_owner_can_read_the_cookie(tmp_path: Path) -> None:
    path = tmp_path / ".cookie"
    path.write_text("left over")
    path.chmod(0o644)
    cookie(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == [".cookie"]


def test_a_cookie_is_new_with_every_start_and_gone_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / ".cookie"
    old, name, password = cookie(path, bytes(32))
    new, _, _ = cookie(path, bytes(31) + b"x")
    assert old != new
    assert Authenticator([new]).check(basic(name, password)) is None
    remove_cookie(path)
    remove_cookie(path)
    assert not path.exists()


def test_a_salt_that_is_no_utf_8_does_not_break_the_check() -> None:
    user = parse_user(f"shop:pe\udcadpper${'00' * 32}")
    header = "Basic " + base64.b64encode(b"shop:secret").decode()
    assert Authenticator([user]).check(header) is None


def test_whatever_power_loss_leaves_of_a_cookie_the_next_start_writes_a_whole_one(
    tmp_path: Path,
) -> None:
    rng = random.Random(40)
    whole = FragileDisk()
    write_cookie(tmp_path / ".cookie", bytes(32), whole)
    for at in range(len(whole.changes)):
        for path in tmp_path.iterdir():
            path.unlink()
        path = tmp_path / ".cookie"
        write_cookie(path, bytes(32))
        disk = FragileDisk(at, kill)
        disk.existing(tmp_path)
        with pytest.raises(Killed):
            write_cookie(path, bytes(31) + b"x", disk)
        lose_power(disk.journal(), [tmp_path], rng, ["*"])
        user, name, password = cookie(path, bytes(31) + b"y")
        assert Authenticator([user]).check(basic(name, password)) == user
        assert [each.name for each in tmp_path.iterdir()] == [".cookie"]


def test_a_damaged_cookie_lets_nobody_in_and_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / ".cookie"
    user, _, _ = cookie(path)
    users = Authenticator([user])
    good = path.read_bytes()
    flipped = [
        good[:at] + bytes((good[at] ^ 1 << bit,)) + good[at + 1 :]
        for at in range(len(good))
        for bit in range(8)
    ]
    told = []
    for damaged in [*flipped, b"", bytes(len(good)), good[:20], good[:5], good * 100]:
        path.write_bytes(damaged)
        try:
            shown = endpoint("127.0.0.1:1", path)
        except NodeError as error:
            told.append(str(error))
        else:
            assert users.check(basic(shown.user, shown.password)) is None
    assert len(told) > len(good)
    assert all(str(path) in line for line in told)
