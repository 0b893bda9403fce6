"""Payment URIs: they read back to what was written, and what is odd is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.chain import ALICE
from wallet.errors import WalletError
from wallet.uri import REQUEST_MAX, TEXT_MAX, TIME_MAX, URI_MAX, PaymentUri, decode_uri, encode_uri

ADDRESS = ALICE.address()
texts = st.text(max_size=20).filter(str.isprintable)
uris = st.builds(
    PaymentUri,
    address=st.just(ADDRESS),
    amount=st.from_regex(r"[0-9]{1,20}(\.[0-9]{1,18})?", fullmatch=True).filter(str.isascii),
    asset=st.sampled_from(["", "ab" * 32]),
    label=texts,
    message=texts,
    request=st.from_regex(r"[A-Za-z0-9._-]{0,64}", fullmatch=True),
    expires=st.none() | st.integers(0, TIME_MAX),
)


@given(uris)
def test_uri_reads_back_to_what_was_written(uri: PaymentUri) -> None:
    text = encode_uri(uri)
    assert text.isascii()
    assert len(text) <= URI_MAX
    assert decode_uri(text) == uri


@given(st.text(max_size=200) | uris.map(encode_uri).flatmap(lambda t: st.sampled_from(mutants(t))))
def test_whatever_is_read_is_refused_in_one_line_or_reads_back(text: str) -> None:
    try:
        found = decode_uri(text)
    except WalletError as error:
        told = str(error)
    else:
        told = "" if decode_uri(encode_uri(found)) == found else "it reads back as another\n"
    assert "\n" not in told


def mutants(text: str) -> list[str]:
    """`text` with one character changed, left out or doubled."""
    spots = range(0, len(text), 3)
    return [text[:at] + new + text[at + 1 :] for at in spots for new in ("", "%", "&", "é", "\n")]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"bitcoin:{ADDRESS}", "does not begin with tael:"),
        ("tael:", "no address"),
        (f"tael:{ADDRESS[:9].upper()}{ADDRESS[9:]}", "no address"),
        (f"tael://{ADDRESS}", "no address"),
        (f"tael:{ADDRESS}?amount=1,5", "amount is not in its form"),
        (f"tael:{ADDRESS}?amount=-1", "amount is not in its form"),
        (f"tael:{ADDRESS}?amount=1e3", "amount is not in its form"),
        (f"tael:{ADDRESS}?amount=%D9%A1", "amount is not in its form"),
        (f"tael:{ADDRESS}?amount=1%0A", "amount is not in its form"),
        (f"tael:{ADDRESS}?amount=", "amount is not in its form"),
        (f"tael:{ADDRESS}?amount=1&amount=2", "amount stands twice"),
        (f"tael:{ADDRESS}?amount=1&req-amount=2", "amount stands twice"),
        (f"tael:{ADDRESS}?req-tip=1", "'req-tip', which this program does not know"),
        (f"tael:{ADDRESS}?asset=TAEL", "asset is not in its form"),
        (f"tael:{ADDRESS}?label=%E2%80%AEevil", "unprintable"),
        (f"tael:{ADDRESS}?label=%1B[2J", "must be written as %XX"),
        (f"tael:{ADDRESS}?label=%FF", "not UTF-8"),
        (f"tael:{ADDRESS}?label=%", "must be written as %XX"),
        (f"tael:{ADDRESS}?label=a b", "must be written as %XX"),
        (f"tael:{ADDRESS}?label={'x' * (TEXT_MAX + 1)}", "more than 200"),
        (f"tael:{ADDRESS}?request={'x' * (REQUEST_MAX + 1)}", "request is not in its form"),
        (f"tael:{ADDRESS}?request=a%2Fb", "request is not in its form"),
        (f"tael:{ADDRESS}?expires={TIME_MAX + 1}", "expires is out of range"),
        (f"tael:{ADDRESS}?amount", "'amount' is no parameter"),
        (f"tael:{ADDRESS}?&", "'' is no parameter"),
        (f"tael:{ADDRESS}?{'x=1&' * URI_MAX}", "longer than"),
    ],
)
def test_hostile_uri_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(WalletError) as caught:
        decode_uri(text)
    assert reason in str(caught.value)


def test_unknown_parameter_that_may_be_left_out_changes_nothing() -> None:
    assert decode_uri(f"tael:{ADDRESS}?amount=1&tip=5") == PaymentUri(address=ADDRESS, amount="1")


def test_known_parameter_may_be_demanded() -> None:
    assert decode_uri(f"tael:{ADDRESS}?req-amount=1").amount == "1"


def test_capital_letters_of_a_camera_are_the_same_address() -> None:
    assert decode_uri(f"TAEL:{ADDRESS.upper()}").address == ADDRESS


def test_plus_in_a_text_is_a_plus() -> None:
    assert decode_uri(f"tael:{ADDRESS}?label=a+b%20c").label == "a+b c"
