"""A wallet is saved while the power or the disk fails: what was saved is there, and never half of it."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.disks import Killed, broken, full
from tests.support.fragile import FragileDisk, lose_power
from tests.support.wallet_cli import CHEAP
from wallet.errors import WalletError
from wallet.keystore import Keystore, create_keystore, open_keystore

OLD, NEW = b"words and all that " * 400, b"the same and one payment " * 400
LOSSES = 5
"""Tries for each place; chance decides in each what of the unsynced is left."""
entropy = random.Random(40).randbytes


def fragile(
    path: Path, monkeypatch: pytest.MonkeyPatch, at: int = -1
) -> tuple[Keystore, FragileDisk]:
    """A wallet that was saved long ago, and a disk that ends the process at change `at`."""
    for left in path.parent.iterdir():
        left.unlink()
    keystore = create_keystore(path, "open sesame", OLD, CHEAP, entropy)
    disk = FragileDisk(at)
    disk.on_turn(_end)
    disk.existing(path.parent)
    door = {**vars(os), "open": disk.open, "fsync": disk.fsync, "replace": disk.replace}
    monkeypatch.setattr("wallet.files.os", SimpleNamespace(**door))
    return keystore, disk


def _end(what: str) -> None:
    raise Killed(what)


def left_of(
    path: Path, disk: FragileDisk, rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> bytes:
    """What the wallet holds once the power is back."""
    monkeypatch.undo()
    lose_power(disk.journal(), [path.parent], rng, ["*"])
    return open_keystore(path, "open sesame", entropy)[1]


def test_a_loss_of_power_at_any_step_of_saving_leaves_the_old_wallet_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, rng, seen = tmp_path / "w", random.Random(41), set()
    keystore, disk = fragile(path, monkeypatch)
    keystore.save(NEW)
    steps = len(disk.changes)
    monkeypatch.undo()
    assert steps >= 8
    for at in range(steps):
        for _ in range(LOSSES):
            keystore, disk = fragile(path, monkeypatch, at)
            with pytest.raises(Killed):
                keystore.save(NEW)
            seen.add(left_of(path, disk, rng, monkeypatch))
    assert seen == {OLD, NEW}


def test_a_wallet_that_was_saved_outlasts_a_loss_of_power(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, rng = tmp_path / "w", random.Random(42)
    for number in range(2 * LOSSES):
        keystore, disk = fragile(path, monkeypatch)
        for payload in (b"between " * number, NEW):
            keystore.save(payload)
        assert left_of(path, disk, rng, monkeypatch) == NEW
        backup = open_keystore(keystore.backup_path, "open sesame", entropy)[1]
        assert backup == b"between " * number


@pytest.mark.parametrize("fail", [full, broken])
def test_a_disk_that_fails_at_any_step_of_saving_is_one_line_and_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail: Callable[[str], None]
) -> None:
    path = tmp_path / "w"
    keystore, disk = fragile(path, monkeypatch)
    keystore.save(NEW)
    for at in range(len(disk.changes)):
        monkeypatch.undo()
        keystore, disk = fragile(path, monkeypatch, at)
        disk.on_turn(fail)
        with pytest.raises(WalletError, match="cannot be written: ") as caught:
            keystore.save(NEW)
        assert "\n" not in str(caught.value)
        assert open_keystore(path, "open sesame", entropy)[1] in (OLD, NEW)
        keystore.save(NEW)  # there is room again
        assert open_keystore(path, "open sesame", entropy)[1] == NEW
