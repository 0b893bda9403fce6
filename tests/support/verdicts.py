"""What a test expects of code that says no."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from consensus.errors import Rule, Violation


@contextmanager
def violates(rule: Rule, kind: type[Violation]) -> Iterator[None]:
    """The body has to raise exactly `kind`, and for `rule`."""
    with pytest.raises(Violation) as caught:
        yield
    assert (caught.value.rule, type(caught.value)) == (rule, kind), str(caught.value)


def refusal(call: Callable[[], object]) -> Violation | None:
    """Why `call` refuses, if it does. Any other exception is a fault."""
    try:
        call()
    except Violation as error:
        return error
    return None
