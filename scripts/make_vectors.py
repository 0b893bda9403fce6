"""Write the test vectors of docs/protocol.md, from the rules in `consensus`.

    python -m scripts.make_vectors                write tests/vectors/tael/*.json
    python -m scripts.make_vectors --check        only say whether they are what would be written

The files depend on nothing but the rules: every run writes the same bytes. A change of a file is a
change of the protocol.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from scripts.vectors.basics import addresses, assets, encodings, hashes, locks, messages
from scripts.vectors.blocks import blocks, refused_blocks
from scripts.vectors.chains import difficulty, headers, networks
from scripts.vectors.common import Json
from scripts.vectors.refusals import refused_transactions
from scripts.vectors.spends import transactions
from scripts.written import write_or_compare

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "vectors" / "tael"

DOCUMENTS: Mapping[str, Callable[[], Json]] = {
    "encodings": encodings,
    "hashes": hashes,
    "locks": locks,
    "assets": assets,
    "addresses": addresses,
    "messages": messages,
    "transactions": transactions,
    "refused_transactions": refused_transactions,
    "networks": networks,
    "difficulty": difficulty,
    "headers": headers,
    "blocks": blocks,
    "refused_blocks": refused_blocks,
}
"""Every file, without its ending, and what makes it."""


def render(document: Json) -> str:
    """The text of a file: one case a line, so that a difference can be read."""
    parts = []
    for key, value in document.items():
        if isinstance(value, list):
            lines = ",\n".join("  " + json.dumps(entry) for entry in value)
            parts.append(f'"{key}": [\n{lines}\n]')
        else:
            parts.append(f'"{key}": {json.dumps(value)}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def rendered() -> Iterator[tuple[str, str]]:
    """Name and text of every file."""
    for name, make in DOCUMENTS.items():
        yield f"{name}.json", render(make())


def main(arguments: Sequence[str]) -> int:
    """Write the files, or compare them. Returns the exit code."""
    return write_or_compare("make_vectors", "the test vectors", FOLDER, rendered(), arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
