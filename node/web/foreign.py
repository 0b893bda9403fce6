"""Text that strangers wrote: memos, names of assets, agents of peers.

The templates escape it like all else. Here it is made readable: characters that steer the text around
them, or cannot be seen, are shown by their number, and nothing is longer than a page can bear.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from markupsafe import Markup, escape

FOREIGN_MAX = 200
"""Characters that are shown of one text."""
MARKS_MAX = 3
"""Marks above and below one character; more of them would run over the lines around."""
TEXTS_KEPT = 2_000
_UNSEEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
"""Controls, directions and joiners, halves of characters, private and unknown ones, line ends."""
_MARKS = frozenset(("Mn", "Me"))


def _is_unseen(character: str) -> bool:
    # Spaces of every width look alike, and may hide one text behind another.
    kind = unicodedata.category(character)
    return kind in _UNSEEN or (kind == "Zs" and character != " ")


@lru_cache(TEXTS_KEPT)
def foreign(text: str) -> Markup:
    """HTML of a text of a stranger, set apart from the direction of what stands around it."""
    shown: list[Markup] = []
    marks = 0
    for character in text[:FOREIGN_MAX]:
        marks = marks + 1 if unicodedata.category(character) in _MARKS else 0
        if _is_unseen(character) or marks > MARKS_MAX:
            shown.append(Markup('<span class="unseen">U+{:04X}</span>').format(ord(character)))
        else:
            shown.append(escape(character))
    if len(text) > FOREIGN_MAX:
        shown.append(Markup("…"))
    return Markup('<bdi class="foreign">{}</bdi>').format(Markup("").join(shown))


def without_unseen(text: str) -> str:
    """What is left of a text for a place that holds no HTML, such as a field of a form."""
    return "".join(character for character in text if not _is_unseen(character))


def foreign_bytes(data: bytes) -> Markup:
    """The same of bytes: as text where they are UTF-8, else in hex."""
    try:
        return foreign(data.decode())
    except UnicodeDecodeError:
        return foreign(f"0x{data.hex()}")
