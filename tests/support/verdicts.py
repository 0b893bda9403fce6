"""What a test expects of code that says no."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from consensus.errors import Rule, Violation


@contextmanager
def violates(rule: Rule, kind: type[Violation]) -> Iterator[None]:
    """The body has to raise exactly `kind`, and for `rule`."""
    with pytest.raises(Violation) as caught:
        yield
    assert (caught.value.rule, type(caught.value)) == (rule, kind), str(caught.value)
