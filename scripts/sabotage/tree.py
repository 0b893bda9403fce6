"""A copy of the project in which something can be changed."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_COPIED = ("consensus", "p2p", "node", "wallet", "scripts", "tests", "docs")


def copy_project(target: Path) -> None:
    """Copy all that tests and simulation need into the folder `target`, which is there."""
    ignore = shutil.ignore_patterns("__pycache__")
    for name in _COPIED:
        shutil.copytree(ROOT / name, target / name, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "CONTRIBUTING.md", "constraints.txt"):
        shutil.copy(ROOT / name, target / name)
