"""The pages of a real node, asked for without a browser: what they hold, and what they never do."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.daemon import ROOT
from tests.web.site import NAMES, Site, parse, showing

LIMITS = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
_URL_ATTRIBUTES = ("href", "src", "action", "formaction", "data", "poster")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with showing(tmp_path_factory.mktemp("showcase")) as found:
        yield found


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", NAMES)
def test_every_page_is_valid_html(site: Site, name: str, language: str) -> None:
    answer = site.get(site.paths[name], accept_language=language)
    assert answer.status == 200
    parse(answer.text)


@pytest.mark.parametrize("name", NAMES)
def test_pages_hold_no_code_no_style_and_no_address_of_others(site: Site, name: str) -> None:
    for element in parse(site.get(site.paths[name]).text).iter():
        assert element.tag != "style"
        assert element.tag != "script" or element.get("src")
        for attribute, value in element.attrib.items():
            assert attribute != "style"
            assert not attribute.startswith("on")
            is_address = attribute in _URL_ATTRIBUTES
            assert not is_address or re.match(r"/(?!/)|#", value), (attribute, value)


@pytest.mark.parametrize("name", NAMES)
def test_every_page_has_one_heading_of_its_own_and_the_landmarks(site: Site, name: str) -> None:
    tree = parse(site.get(site.paths[name]).text)
    assert len(tree.findall(".//h1")) == 1
    assert [len(tree.findall(f".//{tag}")) for tag in ("header", "main", "footer")] == [1, 1, 1]
    assert all(cell.get("scope") for cell in tree.findall(".//th"))
    identifiers = [each.get("id") for each in tree.iter() if each.get("id")]
    assert len(identifiers) == len(set(identifiers))


def test_every_link_of_every_page_leads_to_a_page(site: Site) -> None:
    links = {
        str(each.get("href"))
        for name in NAMES
        for each in parse(site.get(site.paths[name]).text).findall(".//a")
    }
    # One of each kind is enough of those that differ in a number.
    kinds = {re.sub(r"[0-9a-f]{64}|stael1[a-z0-9]+|\d+", "*", link): link for link in links}
    assert {"/block/*", "/tx/*", "/address/*", "/asset/*"} <= set(kinds)
    for link in kinds.values():
        assert site.get(link.partition("#")[0] or "/").status == 200, link


def test_overview_tells_where_the_chain_stands(site: Site) -> None:
    text = site.get("/").text
    assert site.daemon.tip in text
    assert re.search(r'aria-live="polite">250<', text)
    assert text.count("<svg") == 5  # the mark, and four charts
    assert text.count("<figcaption") == text.count("<details") == 4  # each as a table too


def test_locks_are_told_in_plain_words_and_hidden_branches_named(site: Site) -> None:
    text = re.sub(r"<[^>]+>|\s+", " ", site.get(site.paths["transaction"]).text)
    text = re.sub(" +", " ", text)
    assert "2 of these 3 conditions:" in text
    assert "one of these 2 conditions:" in text
    assert "whoever knows the preimage of the SHA-256 hash" in text
    assert text.count("a branch that was not used and stays hidden:") == 2
    assert "deposit back, thank you" in text
    assert "not valid after block" in text


def test_history_of_an_address_is_paged_from_the_newest_to_the_first(site: Site) -> None:
    address = re.search(r"/address/\w+", site.get(site.paths["block"]).text)
    assert address is not None
    path, heights, pages = address[0], [], 0
    while path:
        text = site.get(path).text
        history = text[text.index('id="history"') :]
        heights += [int(each) for each in re.findall(r'href="/block/(\d+)"', history)]
        older = re.search(r'rel="next" href="([^"]+)"', history)
        path = older[1] if older else ""
        pages += 1
    entries = site.daemon.call("getaddressdeltas", {"addresses": [address[0].split("/")[-1]]})
    assert heights == [entry["height"] for entry in reversed(entries)]
    assert pages > 1


def test_blocks_are_paged_down_to_genesis(site: Site) -> None:
    path, heights = "/blocks", []
    while path:
        text = site.get(path).text
        heights += [int(each) for each in re.findall(r'<a href="/block/(\d+)"', text)]
        older = re.search(r'rel="next" href="([^"]+)"', text)
        path = older[1] if older else ""
    assert heights == list(range(250, -1, -1))


def test_peers_are_counted_and_not_given_away(site: Site) -> None:
    peers = site.daemon.call("getpeerinfo")
    text = site.get("/peers").text
    assert len(peers) == 1
    assert ">outbound<" in text
    assert "127.0.0.1" not in text
    assert peers[0].get("certificate", "no certificate") not in text


def test_search_finds_everything_by_its_name(site: Site) -> None:
    asked = {
        "17": "/block/17",
        "1_00": "/block/100",
        site.daemon.tip.upper(): f"/block/{site.daemon.tip}",
        site.paths["transaction"].split("/")[-1]: site.paths["transaction"],
        site.paths["address"].split("/")[-1].upper(): site.paths["address"],
        site.paths["asset"].split("/")[-1]: site.paths["asset"],
        "share": site.paths["asset"],
    }
    for text, place in asked.items():
        answer = site.get(f"/search?q={quote(text)}")
        assert (answer.status, answer.headers["Location"]) == (303, place), text
    assert "Gold in grams" in site.get("/search?q=grams").text
    assert "Nothing goes by this name" in site.get("/search?q=nobody").text


@LIMITS
@given(text=st.text(max_size=200))
@example(text='"><script>alert(1)</script>')
def test_any_text_can_be_searched_for(site: Site, text: str) -> None:
    encoded = quote(text, safe="", errors="surrogatepass")
    answer = site.get(f"/search?q={encoded}")
    assert answer.status in (200, 303)
    if answer.status == 200:
        parse(answer.text)
        assert "<script>alert" not in answer.text


@LIMITS
@given(
    kind=st.sampled_from(["block", "tx", "address", "asset"]),
    name=st.one_of(st.text(max_size=100), st.text("0123456789abcdefABCDEF", min_size=62, max_size=66)),
    query=st.sampled_from(["", "page", "before", "after", "from"]),
    value=st.one_of(st.text(max_size=50), st.integers(-(10**20), 10**20).map(str)),
)  # fmt: skip
def test_any_path_and_cursor_is_answered_with_a_page(
    site: Site, kind: str, name: str, query: str, value: str
) -> None:
    path = f"/{kind}/{quote(name, safe='', errors='surrogatepass')}"
    value = quote(value, safe="", errors="surrogatepass")
    for asked in (path, f"{path}?{query}={value}", f"/{kind}s?{query}={value}"):
        answer = site.get(asked)
        assert answer.status in (200, 303, 404), asked
        if answer.status != 303:
            parse(answer.text)


@pytest.mark.parametrize("path", ["/mempool", "/blocks", "/assets", "/pay", "/view"])
@pytest.mark.parametrize("value", ["-1", "99999999999", "0x1", "١", "", "a" * 1_000])
def test_numbers_that_make_no_sense_do_no_harm(site: Site, path: str, value: str) -> None:
    names = ("page", "from", "after", "amount", "back")
    query = "&".join(f"{name}={quote(value)}" for name in names)
    assert site.get(f"{path}?{query}").status in (200, 303, 404)


@pytest.mark.parametrize(
    "path", ["/nowhere", "/block/251", "/tx/" + "0" * 64, "/asset/1", "/address/x"]
)
def test_what_is_missing_is_told_on_a_page(site: Site, path: str) -> None:
    answer = site.get(path)
    assert answer.status == 404
    parse(answer.text)
    assert 'href="/"' in answer.text


def test_programs_are_told_in_a_line_what_browsers_are_told_on_a_page(site: Site) -> None:
    assert "<html" not in site.get("/nowhere", accept="*/*").text


def test_browser_is_asked_for_the_password_that_programs_are_asked_for(site: Site) -> None:
    answers = [site.get("/events", accept=kind) for kind in ("text/html", "*/*")]
    assert [each.status for each in answers] == [401, 401]
    assert {each.headers["WWW-Authenticate"] for each in answers} == {'Basic realm="tael"'}
    parse(answers[0].text)


def test_page_that_did_not_change_is_not_sent_again(site: Site) -> None:
    path = site.paths["asset"].replace("/asset/", "/search?q=no-such-")
    first = site.get(path)
    again = site.get(path, if_none_match=first.headers["ETag"])
    assert (again.status, again.text) == (304, "")
    other = site.get(path, if_none_match=first.headers["ETag"], accept_language="zh")
    assert other.status == 200


def test_files_keep_for_good_and_change_their_names_with_their_content(site: Site) -> None:
    places = re.findall(r'"(/static/[^"]+)"', site.get("/").text)
    assert len(places) == 3
    for place in places:
        assert "immutable" in site.get(place).headers["Cache-Control"]
    stale = re.sub(r"/[0-9a-f]{16}/", "/0000000000000000/", places[0])
    assert site.get(stale).headers["Cache-Control"] == "no-cache"
    assert site.get("/static/0000000000000000/secret").status == 404


# Choices, without a script


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("", "en"), ("zh-CN,zh;q=0.9,en;q=0.8", "zh-Hans"), ("de,en;q=0.7,zh;q=0.3", "en"),
        ("de", "en"), ("zh;q=0", "en"), ("zh;q=nan", "en"), (",;=,;q=" * 500, "en"), ("ZH-tw", "zh-Hans"),
    ],
)  # fmt: skip
def test_language_is_what_the_browser_asks_for(site: Site, header: str, wanted: str) -> None:
    assert f'<html lang="{wanted}"' in site.get("/search", accept_language=header).text


def test_language_and_theme_are_chosen_by_hand_and_kept_in_a_cookie(site: Site) -> None:
    for query, sign in (("language=zh", 'lang="zh-Hans"'), ("theme=dark", 'data-theme="dark"')):
        answer = site.get(f"/view?{query}&back=%2Fblocks%3Ffrom%3D7")
        assert (answer.status, answer.headers["Location"]) == (303, "/blocks?from=7")
        cookie = answer.headers["Set-Cookie"].partition(";")[0]
        assert sign in site.get("/blocks?from=7", cookie=cookie).text
    assert "Set-Cookie" not in site.get("/view?theme=purple").headers
    assert "purple" not in site.get("/", cookie="theme=purple; language=purple").text


@pytest.mark.parametrize(
    "back",
    [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "/a\r\nX: y",
        "javascript:1",
        "/é",
        "",
    ],
)
def test_choice_leads_back_to_this_server_only(site: Site, back: str) -> None:
    answer = site.get(f"/view?theme=dark&back={quote(back, safe='')}")
    assert answer.headers["Location"] == "/"
    assert "X" not in answer.headers


def test_node_without_pages_loads_nothing_of_them() -> None:
    code = (
        "import sys, node.__main__, node.system; "
        "sys.exit(' '.join({'jinja2', 'svg', 'aiohttp_jinja2', 'node.web.server'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stderr.strip() == ""
    assert done.returncode == 0
