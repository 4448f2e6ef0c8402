"""The page: what a model wrote stays text, nothing is fetched, and equal findings give equal files."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emosae.report.content import Attempt, Exchange, Page, Plate, Script, Section, TextTable, Transcript
from emosae.report.figures import Estimate, Forest, ForestRow, MarkStyle, draw_forest
from emosae.report.page import draw_plates, escape_markdown, fence_text, render_html, render_markdown
from emosae.report.wording import clean_text

HOSTILE = (
    '#fffefc </pre><script>alert(1)</script><img src=x onerror="alert(2)">{{ 7*7 }}\u202e evil \x00 $\\frac{1}{0}$'
)


class Tags(HTMLParser):
    """Collects the tags, ids and text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.events: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src", "xlink:href"):
                self.links.append(value or "")
            if name.startswith("on"):
                self.events.append(name)


def make_page(text: str) -> Page:
    forest = Forest(
        groups=((text, (ForestRow(text, ((MarkStyle(), Estimate(0.5, 0.4, 0.6)),), (text,)),)),),
        axis=text,
        limits=(0.0, 1.0),
        heads=(text,),
        legend=((MarkStyle(), text),),
    )
    table = TextTable((text, text), ((text, text),), frozenset({1}))
    plates = tuple(Plate(f"plate{n}", text, text, text, lambda w: draw_forest(forest, w), table) for n in (1, 2))
    script = Script(text, (Attempt(text, text, text),), text)
    section = Section(
        "one",
        text,
        text,
        (text,),
        plates,
        ((text, table),),
        ((text, table),),
        (Transcript(text, text, (script, script)),),
        (Exchange(text, text, text, text),),
    )
    return Page(text, text, text, (text,), (text,), (section,))


@pytest.fixture(scope="module")
def hostile() -> str:
    page = make_page(HOSTILE)
    return render_html(page, draw_plates(page))


def parse(html: str) -> Tags:
    tags = Tags()
    tags.feed(html)
    return tags


def test_text_of_a_model_never_becomes_markup(hostile: str) -> None:
    tags = parse(hostile)
    assert not {"script", "img", "iframe", "object"} & set(tags.tags)
    assert tags.events == []
    assert "{{ 7*7 }}" in hostile  # not run by the template either
    assert "\u202e" not in hostile
    assert "\x00" not in hostile


def test_nothing_is_fetched_and_ids_are_unique(hostile: str) -> None:
    tags = parse(hostile)
    assert all(link.startswith("#") for link in tags.links)
    assert len(tags.ids) == len(set(tags.ids))
    assert {link[1:] for link in tags.links} <= set(tags.ids)
    assert "default-src 'none'" in hostile
    assert not re.search(r"url\((?!#)|@import", hostile)


def test_equal_pages_are_equal_files() -> None:
    first, second = (render_html(page, draw_plates(page)) for page in (make_page("a"), make_page("a")))
    assert first == second


def test_figures_take_their_colours_from_the_page(hostile: str) -> None:
    svg = re.search(r"<svg.*?</svg>", hostile, re.DOTALL)
    assert svg is not None
    loose = re.sub(r"var\(--\w+, #\w{6}\)", "", "".join(re.findall(r"<[^>]+>", svg[0])))
    assert not re.search(r"[:,] ?#[0-9a-f]{6}", loose)
    assert "#fffefc" in re.sub(r"<[^>]+>", "", svg[0])  # a label that looks like a colour is left alone


def test_markdown_keeps_hostile_text_inside_its_place() -> None:
    text = render_markdown(make_page("</pre><script> | ``` ~~~\n# not a heading\n* [x](javascript:1) ````"))
    outside = re.sub(r"^(`{3,})text\n.*?^\1$", "", text, flags=re.DOTALL | re.MULTILINE)
    assert "<script>" not in outside.replace("\\<script\\>", "")
    assert "\n# not a heading" not in outside
    assert not re.search(r"(?<!\\)\[x", outside)
    assert not re.search(r"^\| .*(?<!\\)```", outside, re.MULTILINE)


@given(st.text())
def test_a_fence_is_longer_than_any_run_inside(text: str) -> None:
    fence, *body, last = fence_text(text).split("\n")
    assert fence == f"{last}text"
    assert not any(line.startswith(last) for line in body)


@given(st.text())
def test_escaped_text_is_one_line_without_live_markup(text: str) -> None:
    line = escape_markdown(text)
    assert "\n" not in line
    assert not re.search(r"(?<!\\)(?:\\\\)*[<|`\[]", line)


@given(st.text())
def test_clean_text_has_no_characters_that_are_obeyed(text: str) -> None:
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", clean_text(text))
