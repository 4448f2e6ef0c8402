"""Numbers of the scenario sections and of the ledger lead to the row that they were read from, and stand there."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pytest
from report_fixture import HOSTILE, demo_data, plain

from emosae.report import ReportData, build_page
from emosae.report.citing import SOURCES, TableRow, cite, drop_citations, find_cited, link_citations
from emosae.report.page import Drawing, render_html, render_markdown
from emosae.report.row_pages import MOST_ROWS, render_rows, write_row_pages
from emosae.scenarios.arms import slope_arms
from emosae.store import Stage

SUMMARY_ROW = TableRow({"rate": 0.4149, "delta": -0.25}, "summary", 12)


class Links(HTMLParser):
    """The links to rows: target, title and text of each; and the cells of rows by id."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[list[str]] = []
        self.heads: list[str] = []
        self.rows: dict[str, list[str]] = {}
        self.ids: list[str] = []
        self._into: list[str] | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.ids.append(given["id"])
        if tag == "a" and given.get("class") == "cited":
            self.links.append([given["href"], given["title"], ""])
            self._into = self.links[-1]
        elif tag == "tr":
            self._into = self.rows.setdefault(given["id"], []) if "id" in given else self.heads
        elif tag in ("td", "th") and self._into is not None:
            self._into.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("a", "tr"):
            self._into = None

    def handle_data(self, data: str) -> None:
        if self._into:
            self._into[-1] += data


@pytest.fixture(scope="module")
def demo() -> ReportData:
    data = demo_data(n_tasks=20, per_task=3)
    return replace(data, slopes=slope_arms(data.rollouts))


@pytest.fixture(scope="module")
def report(demo: ReportData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report with its pages of rows, and nothing drawn."""
    stage, page = Stage(tmp_path_factory.mktemp("report")), build_page(demo)
    blank = {plate.name: Drawing("", "") for section in page.sections for plate in section.plates}
    html = render_html(page, blank)
    write_row_pages(html, demo, stage)
    stage.write_text("report.md", render_markdown(page))
    return stage.write_text("index.html", html)


def first_number(text: str) -> tuple[float, float]:
    """The number that a text begins with, and half of its last digit."""
    found = re.match(r"[<>]?([+\u2212-]?[0-9.,]+(?:e-?[0-9]+)?)(%?)", text)
    assert found, text
    digits = found[1].replace("\u2212", "-").rstrip(".,")
    mantissa, _, exponent = digits.replace(",", "").partition("e")
    unit = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    return float(digits.replace(",", "")), unit / 2


def test_every_link_leads_to_a_row_that_holds_its_number(report: Path) -> None:
    links = Links(report.read_text(encoding="utf-8")).links
    pages: dict[str, Links] = {}
    n_numbers = 0
    for href, title, text in links:
        page, target = href.split("#")
        if page not in pages:
            pages[page] = Links((report.parent / page).read_text(encoding="utf-8"))
            assert len(set(pages[page].ids)) == len(pages[page].ids)
        assert target in pages[page].rows, href
        cells = dict(zip(pages[page].heads, pages[page].rows[target], strict=True))
        table, columns = title.split(": ")
        assert re.fullmatch(r"\S+\.parquet, row [0-9]+", table)
        assert target == f"row-{cells['row']}" == f"row-{table.split()[-1]}"
        named = columns.split(", ")[0].split(" + ")
        held = [cells[name] for name in named]
        try:
            value = math.fsum(map(float, held))
        except ValueError:
            assert named[0] == "grade" or held[0] in text  # words
            continue
        shown, half = first_number(text)
        is_share = "%" in text or named[0] in ("delta", "gap", "total", "direct", "mediated", "beyond")
        is_share &= not (page == "rows/conversation-turned_summary.html" and re.match(r"[\u2212-]?[0-9]\.[0-9]", text))
        value = 100 * value if is_share else value
        assert abs(shown - value) <= half + 1e-5 * abs(value) or text[0] in "<>", (href, title, text, held)
        n_numbers += 1
    assert n_numbers > 400
    assert {"rows/impossible_code-summary.html", "rows/impossible_code-slopes.html", "rows/ledger.html"} <= set(pages)
    assert {"rows/impossible_code-contrasts.html", "rows/impossible_code-rollouts.html"} <= set(pages)
    assert any(page.startswith("rows/conversation-") for page in pages)


def test_long_tables_are_cut_to_linked_rows_and_short_ones_are_whole(demo: ReportData, report: Path) -> None:
    cited = find_cited(report.read_text(encoding="utf-8"))
    assert demo.rollouts is not None
    assert demo.summary is not None
    assert len(demo.rollouts) > MOST_ROWS > len(demo.summary)
    long = Links((report.parent / "rows/impossible_code-rollouts.html").read_text(encoding="utf-8"))
    assert list(long.rows) == [f"row-{number}" for number in cited["rollouts"]]
    short = Links((report.parent / "rows/impossible_code-summary.html").read_text(encoding="utf-8"))
    assert list(short.rows) == [f"row-{number}" for number in range(len(demo.summary))]


def test_nothing_but_links_shows_that_a_number_is_cited(report: Path) -> None:
    for text in (report.read_text(encoding="utf-8"), (report.parent / "report.md").read_text(encoding="utf-8")):
        assert not re.search("[\ue000-\uf8ff]", text)
    assert "rows/" not in (report.parent / "report.md").read_text(encoding="utf-8")


def test_a_mark_goes_through_a_sentence_and_comes_out_as_a_link() -> None:
    said = f"It is {cite('41% [34, 47]', SUMMARY_ROW, 'rate', 'lo')} & more."
    assert drop_citations(said) == "It is 41% [34, 47] & more."
    assert link_citations(said) == (
        'It is <a class="cited" href="rows/impossible_code-summary.html#row-12" '
        'title="scenarios/impossible_code/summary.parquet, row 12: rate, lo">41% [34, 47]</a> &amp; more.'
    )
    assert cite("41%", {"rate": 0.41}, "rate") == "41%"
    assert plain((said,)) == (drop_citations(said),)


@pytest.mark.parametrize("text", [HOSTILE, "\ue0000 summary 1 rate\ue001<b>\ue002", "a\ue000b\ue001c\ue002d"])
def test_what_a_model_wrote_makes_no_link_and_no_tag(text: str) -> None:
    assert not re.search(r"<(?!a class=\"cited\"|/a>)|[\ue000-\ue002]", link_citations(cite(text, SUMMARY_ROW, "rate")))
    assert "<" not in link_citations(text)
    assert not re.search("[\ue000-\ue002]", link_citations(text))
    page = render_rows("summary", pa.table({"texts": [[text]], "grade": [text]}), [0])
    assert "<script" not in page
    assert "\u202e" not in page


def test_every_table_that_can_be_cited_has_a_page_of_its_own() -> None:
    row = TableRow({}, "summary", 0)
    pages = [re.findall(r'href="([^"]+)"', link_citations(cite("1", TableRow(row, name, 0), "n"))) for name in SOURCES]
    assert len({page for [page] in pages}) == len(SOURCES)
