"""Says in one line which library is missing, and how to get it.

Works with any Python, so that whoever has not set anything up is told too. Packages call it before
they import what needs the libraries.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

DEVELOPMENT = ("pytest", "hypothesis", "msgpack", "ecdsa")
"""What the tests import, and `scripts/setup --dev` installs."""


def need(*modules: str, hint: str = "") -> None:
    """End the program if it cannot import one of `modules`."""
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        sys.exit(
            f"{', '.join(missing)}: not installed for {sys.executable}{hint}. Run scripts/setup --dev "
            "in the clone, then `. .venv/bin/activate` or .venv/bin/python in place of python"
        )
