"""docs/rpc.md, and the table that it comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.rpc.document import document
from node.rpc.errors import MEANINGS, Code
from node.rpc.method import Method
from node.rpc.methods import METHODS

PAGE = Path(__file__).parent.parent.parent / "docs" / "rpc.md"


def test_the_page_on_rpc_is_what_the_table_says() -> None:
    assert PAGE.read_text() == document(), "python -m node.rpc.document > docs/rpc.md"


def test_every_error_code_says_what_it_means() -> None:
    assert set(MEANINGS) == set(Code)


@pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))
def test_every_method_says_what_it_answers(method: Method) -> None:
    assert method.description.partition("\n")[0].endswith((".", ":"))
