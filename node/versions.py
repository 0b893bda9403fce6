"""In which version each part of a data directory was written, and what becomes of older ones.

| part          | version | what a node does that finds another                                 |
|---------------|---------|---------------------------------------------------------------------|
| `blocks`      | 1       | newer: it does not start                                            |
| `undo`        | 1       | newer: it does not start; it is made anew with `state`              |
| `state`       | 1       | older: it makes it anew from `blocks`; newer: only with --reindex   |
| `mempool.dat` | 1       | newer: it does not start                                            |
| `peers.dat`   | 3       | 2: it reads it; newer: it does not start                            |

The file `versions` says so of one directory: JSON, and in a last line its SHA-256; written whole. A
part that is being made anew stands under `rebuilding` there until it is begun, so that a node which was
killed meanwhile does it again, and a node of an older version keeps its hands off. A directory without
the file is one of version 0.1.0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

import msgspec

from consensus.errors import StorageError
from node import layout, mempool_file
from node.datadir import MEMPOOL_FILE, PEERS_FILE, DataDirectory
from p2p import addrbook

VERSIONS_FILE = "versions"
BLOCKS_VERSION = 1
UNDO_VERSION = 1
_DIGEST_BYTES = 65
"""In hex, and the end of the line."""
REBUILT = ("state", "undo")
"""Parts that are made anew from the block files, both together."""


class _Part(NamedTuple):
    oldest: int
    """Read as it is, and from then on written in the newest."""
    newest: int


PARTS: Mapping[str, _Part] = {
    "blocks": _Part(1, BLOCKS_VERSION),
    "undo": _Part(1, UNDO_VERSION),
    "state": _Part(layout.FORMAT, layout.FORMAT),
    MEMPOOL_FILE: _Part(1, mempool_file.VERSION),
    PEERS_FILE: _Part(addrbook.OLD_VERSION, addrbook.FILE_VERSION),
}
_FIRST = {"blocks": 1, "undo": 1, "state": 1, MEMPOOL_FILE: 1, PEERS_FILE: 3}
"""Of a directory without the file."""


class Written(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the file says."""

    versions: dict[str, int]
    rebuilding: tuple[str, ...] = ()
    """Parts that are not yet what `versions` says."""


def _newest(parts: Mapping[str, _Part]) -> Written:
    return Written({name: part.newest for name, part in parts.items()})


class Versions:
    """Those of one data directory."""

    def __init__(self, directory: DataDirectory, parts: Mapping[str, _Part] = PARTS) -> None:
        """`parts`: what this program reads. Raises: StorageError."""
        self._directory = directory
        self._parts = parts
        data = directory.load(VERSIONS_FILE)
        self._is_there = data is not None
        if data is not None:
            self.written = decode_versions(data)
        else:
            self.written = Written(_FIRST) if directory.has_ledger() else _newest(parts)

    def problems(self, may_rebuild: bool = False) -> Iterator[StorageError]:
        """Why this program must not touch the directory. `may_rebuild`: what can be made anew from
        the block files may have any version."""
        for name, version in self.written.versions.items():
            part = self._parts.get(name)
            if may_rebuild and name in REBUILT:
                continue
            if part is None:
                yield StorageError(
                    f"the data directory holds {name!r}, of which this program knows nothing",
                    "start the taeld that wrote it, or a newer one",
                )
            elif version > part.newest:
                way = ", or start once with --reindex" if name in REBUILT else ""
                yield StorageError(
                    f"{name} in the data directory has version {version}, "
                    f"this program reads up to {part.newest}",
                    f"start the taeld that wrote it, or a newer one{way}",
                )
            elif version < part.oldest and name not in REBUILT:
                yield StorageError(
                    f"{name} in the data directory has version {version}, "
                    f"this program reads {part.oldest} to {part.newest}",
                    f"start a taeld in between once, or remove {name}",
                )

    def check(self, may_rebuild: bool = False) -> bool:
        """Whether `state` and `undo` must be made anew. Raises: StorageError, as of `problems`."""
        for problem in self.problems(may_rebuild):
            raise problem
        old = (
            name for name in REBUILT
            if self.written.versions.get(name, 0) < self._parts[name].oldest
        )  # fmt: skip
        return bool(self.written.rebuilding) or any(old)

    def begin_rebuilding(self) -> None:
        """From here on `state` and `undo` are of no use. Raises: StorageError."""
        self._write(REBUILT)

    def settle(self) -> None:
        """Everything is what this program writes. Raises: StorageError."""
        self._write(())

    def _write(self, rebuilding: Collection[str]) -> None:
        wanted = msgspec.structs.replace(_newest(self._parts), rebuilding=tuple(rebuilding))
        if not self._is_there or wanted != self.written:
            self._directory.save(VERSIONS_FILE, encode_versions(wanted))
            self.written, self._is_there = wanted, True


def encode_versions(written: Written) -> bytes:
    """The bytes of the file."""
    return seal(msgspec.json.format(msgspec.json.encode(written), indent=1) + b"\n")


def seal(body: bytes) -> bytes:
    """`body` with its SHA-256 in a last line."""
    return body + hashlib.sha256(body).hexdigest().encode() + b"\n"


def decode_versions(data: bytes) -> Written:
    """What such bytes say. Raises: StorageError."""
    body = data[:-_DIGEST_BYTES]
    if seal(body) != data:
        # Else a name with a flipped bit would be a part that only newer programs know.
        raise StorageError(
            f"the file {VERSIONS_FILE} of the data directory is damaged", "remove it"
        )
    try:
        return msgspec.json.decode(body, type=Written)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StorageError(
            f"the file {VERSIONS_FILE} of the data directory cannot be read: {error}",
            "start the taeld that wrote it, or a newer one",
        ) from None
