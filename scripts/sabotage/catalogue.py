"""What can be taken away, and which test has to notice: the `*.toml` files beside this one."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec

FOLDER = Path(__file__).resolve().parent


class Sabotage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One change to one file that takes one defence away."""

    threat: str
    """Its number in docs/threats.md."""
    what: str
    """What the changed node fails to do, in a few words."""
    file: str
    """Path from the root of the project."""
    old: str
    """Text that stands there exactly once."""
    new: str
    test: str
    """The test that has to fail then, as pytest names it."""

    def apply(self, text: str) -> str:
        """The changed text of the file. Raises: ValueError if `old` does not stand there once."""
        found = text.count(self.old)
        if found != 1:
            raise ValueError(f"threat {self.threat}, {self.file}: `old` stands there {found} times")
        return text.replace(self.old, self.new)


class _Part(msgspec.Struct, forbid_unknown_fields=True):
    sabotage: list[Sabotage]


def load() -> list[Sabotage]:
    """Every change, by file and place. Raises: msgspec.ValidationError, tomllib.TOMLDecodeError."""
    found: list[Sabotage] = []
    for path in sorted(FOLDER.glob("*.toml")):
        found += msgspec.convert(tomllib.loads(path.read_text()), _Part).sabotage
    return found
