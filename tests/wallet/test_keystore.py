"""The wallet file: what changes it, what breaks it, what survives a kill."""

from __future__ import annotations

import os
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.wallet_cli import CHEAP
from wallet.errors import WalletError
from wallet.files import locked
from wallet.keystore import DEFAULT_COST, Cost, Keystore, create_keystore, open_keystore

PAYLOAD = b"words and all that " * 5
entropy = random.Random(5).randbytes


def make(path: Path, payload: bytes = PAYLOAD) -> Keystore:
    return create_keystore(path, "open sesame", payload, CHEAP, entropy)


def reads(path: Path, passphrase: str = "open sesame") -> bytes:
    return open_keystore(path, passphrase, entropy)[1]


def test_saved_file_opens_with_its_passphrase(tmp_path: Path) -> None:
    make(tmp_path / "w")
    assert reads(tmp_path / "w") == PAYLOAD


def test_file_of_a_newer_version_is_refused_by_both_numbers(tmp_path: Path) -> None:
    make(tmp_path / "w")
    data = bytearray((tmp_path / "w").read_bytes())
    data[8] = 7
    (tmp_path / "w").write_bytes(data)
    with pytest.raises(WalletError, match="has version 7, this tael reads 1"):
        reads(tmp_path / "w")
    assert (tmp_path / "w").read_bytes() == data


def test_wrong_passphrase_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "w")
    with pytest.raises(WalletError, match="corrupt or wrong passphrase"):
        reads(tmp_path / "w", "open sesam")


def test_every_flipped_bit_of_every_byte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w"
    make(path)
    whole = path.read_bytes()
    for position in range(len(whole)):
        for bit in range(8):
            changed = bytearray(whole)
            changed[position] ^= 1 << bit
            path.write_bytes(changed)
            if _is_dear(changed):
                continue
            with pytest.raises(WalletError, match="corrupt"):
                reads(path)


def _is_dear(data: bytearray) -> bool:
    """Whether the header asks for an allowed amount of memory that a test should not take."""
    return 1_024 < int.from_bytes(data[18:22], "big") <= 1_024 * 1_024


@pytest.mark.parametrize("at", [10, 14, 18])
@pytest.mark.parametrize("value", [0, 1, 2, 7, 9, 16, 2**31, 2**32 - 1])
def test_changed_cost_of_derivation_is_refused(tmp_path: Path, at: int, value: int) -> None:
    path = tmp_path / "w"
    create_keystore(path, "open sesame", PAYLOAD, Cost(3, 2, 32), entropy)
    whole = bytearray(path.read_bytes())
    if whole[at : at + 4] == value.to_bytes(4, "big"):
        value += 1
    whole[at : at + 4] = value.to_bytes(4, "big")
    path.write_bytes(whole)
    with pytest.raises(WalletError, match="corrupt or wrong passphrase"):
        reads(path)


def test_every_truncation_and_every_extension_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w"
    make(path)
    whole = path.read_bytes()
    for shorter in [whole[:length] for length in range(len(whole))] + [whole + b"\0"]:
        path.write_bytes(shorter)
        with pytest.raises(WalletError, match="corrupt or wrong passphrase"):
            reads(path)


def test_file_holds_nothing_readable_and_is_for_its_owner_only(tmp_path: Path) -> None:
    make(tmp_path / "w")
    assert b"words" not in (tmp_path / "w").read_bytes()
    assert stat.S_IMODE((tmp_path / "w").stat().st_mode) == 0o600


def test_no_two_saves_seal_with_the_same_nonce(tmp_path: Path) -> None:
    keystore = make(tmp_path / "w")
    seen = set()
    for _ in range(5):
        keystore.save(PAYLOAD)
        seen.add((tmp_path / "w").read_bytes())
    assert len(seen) == 5


def test_save_keeps_the_file_before_as_backup(tmp_path: Path) -> None:
    keystore = make(tmp_path / "w")
    before = (tmp_path / "w").read_bytes()
    keystore.save(b"new")
    assert keystore.backup_path.read_bytes() == before
    assert stat.S_IMODE(keystore.backup_path.stat().st_mode) == 0o600
    assert reads(tmp_path / "w") == b"new"


def test_changed_passphrase_shuts_the_old_one_out_of_the_backup_too(tmp_path: Path) -> None:
    keystore = make(tmp_path / "w")
    keystore.save(PAYLOAD)
    changed = keystore.change_passphrase("mellon", CHEAP, PAYLOAD)
    assert not changed.backup_path.exists()
    assert reads(tmp_path / "w", "mellon") == PAYLOAD
    with pytest.raises(WalletError):
        reads(tmp_path / "w")


def test_existing_wallet_is_never_overwritten(tmp_path: Path) -> None:
    make(tmp_path / "w")
    with pytest.raises(WalletError, match="is there already"):
        make(tmp_path / "w")
    (tmp_path / "w").rename(tmp_path / "w.bak")
    with pytest.raises(WalletError, match="is there already"):
        make(tmp_path / "w")


def test_default_cost_is_the_recommendation_of_rfc_9106() -> None:
    assert Cost(iterations=3, lanes=4, memory_kib=65_536) == DEFAULT_COST


def test_second_command_waits_and_then_says_who_is_in_the_way(tmp_path: Path) -> None:
    path = tmp_path / "w"
    make(path)
    waited: list[float] = []
    with (
        locked(path, waited.append),
        pytest.raises(WalletError, match="another tael command"),
        locked(path, waited.append),
    ):
        raise AssertionError("two at once")
    assert sum(waited) >= 5


def test_lock_is_given_up_at_the_end(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(tmp_path / "w", time.sleep):
            pass


_SAVER = """
import random, sys
from pathlib import Path
from wallet.keystore import open_keystore
keystore, payload = open_keystore(Path(sys.argv[1]), "open sesame", random.Random().randbytes)
print("ready", flush=True)
number = 0
while True:
    number += 1
    keystore.save(number.to_bytes(8, "big") * 20_000)
"""


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.023, 0.04, 0.071])
def test_kill_while_saving_leaves_a_whole_file(tmp_path: Path, delay: float) -> None:
    path = tmp_path / "w"
    make(path, bytes(8) * 20_000)
    root = Path(__file__).parent.parent.parent
    process = subprocess.Popen(
        [sys.executable, "-c", _SAVER, str(path)], stdout=subprocess.PIPE, cwd=root
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    time.sleep(delay)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    payload = reads(path)
    assert payload == payload[:8] * 20_000
    backup = path.with_name("w.bak")
    if backup.exists():
        assert len(reads(backup)) == 160_000


_KILLED = """
import os, random, signal, sys
from pathlib import Path
from wallet.keystore import open_keystore
keystore, _ = open_keystore(Path(sys.argv[1]), "open sesame", random.Random().randbytes)
left = int(sys.argv[2])

def counted(call):
    def kill_or_call(*given, **named):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*given, **named)
    return kill_or_call

for name in ("open", "fchmod", "fsync", "replace", "close"):
    setattr(os, name, counted(getattr(os, name)))
keystore.save(b"new" * 5_000)
"""


def test_kill_before_each_step_of_saving_leaves_the_old_file_or_the_new(tmp_path: Path) -> None:
    path, seen = tmp_path / "w", set()
    for step in range(40):
        for left in tmp_path.iterdir():
            left.unlink()
        make(path)
        root = Path(__file__).parent.parent.parent
        ended = subprocess.run(
            [sys.executable, "-c", _KILLED, str(path), str(step)], cwd=root, check=False
        )
        assert ended.returncode in (0, -signal.SIGKILL)
        seen.add(reads(path))
        backup = path.with_name("w.bak")
        assert not backup.exists() or reads(backup) == PAYLOAD
        if ended.returncode == 0:
            break
    assert step > 10
    assert seen == {PAYLOAD, b"new" * 5_000}


def test_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keystore = make(tmp_path / "w")

    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(WalletError, match="cannot be written: No space left on device"):
        keystore.save(b"new")
    assert reads(tmp_path / "w") == PAYLOAD


def test_passphrase_is_the_same_however_its_accents_are_typed(tmp_path: Path) -> None:
    create_keystore(tmp_path / "w", "caf\u00e9", PAYLOAD, CHEAP, entropy)
    assert reads(tmp_path / "w", "cafe\u0301") == PAYLOAD
