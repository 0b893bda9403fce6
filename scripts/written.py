"""Files that are made from the code and kept in the repository: written, or compared with the code."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path


def write_or_compare(
    program: str, what: str, folder: Path, files: Iterable[tuple[str, str]], arguments: Sequence[str]
) -> int:  # fmt: skip
    """Write `files`, names and texts, into `folder`, or with --check compare them. Returns the exit code."""
    parser = argparse.ArgumentParser(prog=program, description=f"Write {what}.")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    options = parser.parse_args(arguments)
    folder.mkdir(parents=True, exist_ok=True)
    different = []
    for name, text in files:
        path = folder / name
        if path.exists() and path.read_text() == text:
            continue
        different.append(name)
        if not options.check:
            path.write_text(text)
    if different:
        sys.stdout.write(f"{'differ' if options.check else 'written'}: {', '.join(different)}\n")
    return 1 if options.check and different else 0
