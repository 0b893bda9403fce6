"""Every word that pages show, in each language, and which language a visitor gets.

A text is a template of `str.format`; where it counts something, it is a table with `one` and `other`,
chosen by the value `n`. What is put into a text is escaped, the text itself too: a catalogue holds no
HTML.
"""

from __future__ import annotations

import pkgutil
import re
import tomllib
from collections.abc import Mapping
from typing import Any, NamedTuple

from markupsafe import Markup, escape

CODES = ("en", "zh")
"""Languages, the one that everybody gets who asks for none of them first."""
ACCEPT_MAX = 200
"""Characters of an Accept-Language that are looked at."""
_CHOICES_MAX = 20
_WEIGHT = re.compile(r"[qQ]=([01](\.[0-9]{0,3})?)")

Forms = Mapping[str, Markup]
"""The forms of one text: `other`, and `one` where one thing is told apart."""


class Language(NamedTuple):
    """One language and its texts."""

    code: str
    texts: Mapping[str, Forms]

    def say(self, key: str, /, **values: object) -> Markup:
        """The text under `key`; of a text that counts, the form that `n` asks for."""
        forms = self.texts[key]
        form = forms.get("one") if values.get("n") == 1 else None
        return (form or forms["other"]).format(**_shown(values))


def _shown(values: Mapping[str, object]) -> dict[str, object]:
    return {key: f"{v:,}" if type(v) is int else v for key, v in values.items()}


def _forms(text: Any) -> Forms:
    table = {"other": text} if isinstance(text, str) else text
    return {form: Markup(escape(each)) for form, each in table.items()}


def load(code: str) -> Language:
    """The catalogue of a language of `CODES`."""
    data = pkgutil.get_data(__package__, f"texts/{code}.toml")
    assert data is not None
    texts = tomllib.loads(data.decode())
    return Language(code, {key: _forms(text) for key, text in texts.items()})


def choose(chosen: str | None, accepted: str) -> str:
    """The code for a visitor who chose a language by hand, or whose browser sent Accept-Language."""
    if chosen in CODES:
        return str(chosen)
    best, best_weight = CODES[0], 0.0
    for item in accepted[:ACCEPT_MAX].split(",")[:_CHOICES_MAX]:
        tag, _, parameter = item.strip().partition(";")
        code = tag.strip().lower().partition("-")[0]
        weight = _weight(parameter)
        if code in CODES and weight > best_weight:
            best, best_weight = code, weight
    return best


def _weight(parameter: str) -> float:
    """Of `q=0.8`; 1 where nothing is said, 0 where it makes no sense."""
    if not parameter.strip():
        return 1.0
    match = _WEIGHT.fullmatch(parameter.strip())
    return float(match[1]) if match else 0.0
