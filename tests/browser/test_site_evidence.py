"""The evidence pages: histograms, tokens, replays, conversations, comparisons, the tree; and what axe finds on each."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from planted_pages import HOSTILE_PROMPT, TALKS, TASKS
from planted_site import EMOTIONS, empty_site

from emosae.site import write_site
from emosae.store import Stage

pytestmark = pytest.mark.browser

Visit = Callable[..., Any]
DESPERATE = 4 * EMOTIONS.index("desperate")
ROLLOUT = "#/rollout/planted%2Fimpossible%2F0/0"
TALK = "#/talk/medicine%2F0%2F3000"
COMPARISON = "#/compare?of=emotion%3Asad%2Cfeature%3Aearly%2F16"
VIEWS = (
    *("#/overview", "#/map", "#/emotions", "#/emotion/desperate", f"#/feature/early/{DESPERATE}", "#/concepts"),
    *("#/concept/2", "#/scenarios", ROLLOUT, TALK, "#/compare", COMPARISON, "#/about"),
)


def wait_for_title(tab: Any, title: str) -> None:
    tab.wait_for_function("title => document.querySelector('main h1')?.innerText.includes(title)", arg=title)


def test_from_the_map_to_an_emotion_to_a_feature_to_a_replay_and_back(visit: Visit) -> None:
    visitor = visit()
    tab = visitor.open("#/map")
    tab.keyboard.press("/")
    tab.keyboard.type("desperate")
    tab.locator("[role=option]").first.wait_for()
    tab.keyboard.press("Enter")
    wait_for_title(tab, "desperate")
    tab.locator("table").first.locator("tbody a.address").first.click()
    wait_for_title(tab, f"Feature {DESPERATE}")
    tab.get_by_role("link", name="Watch the episodes").click()
    wait_for_title(tab, "Scenarios")
    tab.locator("a.ending.cheat").first.click()
    wait_for_title(tab, "impossible 0")
    addresses = [visitor.hash]
    for title in ("Scenarios", f"Feature {DESPERATE}", "desperate", "Map"):
        tab.go_back()
        wait_for_title(tab, title)
        addresses.append(visitor.hash)
    assert addresses[0].startswith(ROLLOUT)
    assert addresses[2:] == [f"#/feature/early/{DESPERATE}", "#/emotion/desperate", "#/map"]


def test_a_replay_goes_turn_by_turn_and_can_be_linked(visit: Visit) -> None:
    visitor = visit()
    tab = visitor.open(ROLLOUT)
    lanes = tab.locator(".lane")
    assert lanes.count() == 2
    assert [lanes.nth(lane).locator(".turns > li").count() for lane in (0, 1)] == [1, 1]
    for turns in (2, 3):
        tab.locator(".player .next").click()
        tab.wait_for_function(f"() => document.querySelectorAll('.lane .turns > li').length === {2 * turns}")
    assert [lanes.nth(lane).locator(".turns > li").count() for lane in (0, 1)] == [3, 3]
    assert tab.locator(".player .next").is_disabled()
    endings = [lanes.nth(lane).locator(".ending").inner_text() for lane in (0, 1)]
    assert endings == ["honest", "special-cases the tests"]
    assert visitor.hash == f"{ROLLOUT}?turn=3"
    again = visitor.open(f"{ROLLOUT}?turn=2")
    assert again.locator(".lane").first.locator(".turns > li").count() == 2
    assert "2.5" in again.locator(".lane").nth(1).locator(".traces").nth(1).inner_text()


def test_a_replay_shows_hostile_text_as_text(visit: Visit) -> None:
    tab = visit().open(ROLLOUT)
    assert tab.locator(".prompt").text_content() == HOSTILE_PROMPT
    assert "<script>alert(0)</script>" in tab.locator(".thought").first.text_content()
    assert tab.locator("main script, main img").count() == 0


def test_an_arm_can_be_chosen_for_each_side(visit: Visit) -> None:
    tab = visit().open(ROLLOUT)
    tab.select_option("#lane-arm", label="calm turned up")
    tab.wait_for_function("() => document.querySelectorAll('.lane h2')[1]?.innerText.includes('calm')")
    assert "honest" not in tab.locator(".lane").nth(1).locator(".ending").inner_text()  # the first turn of three


def test_a_conversation_is_shaded_by_the_chosen_dial(visit: Visit) -> None:
    visitor = visit()
    tab = visitor.open(TALK)
    heat = "tokens => tokens.map((token) => Number(token.style.getPropertyValue('--heat')))"
    assert tab.locator(".messages .token").evaluate_all(heat) == pytest.approx([0, 1 / 3, 2 / 3, 1], abs=0.01)
    tab.locator(".messages .token").last.focus()
    assert tab.locator(".tip:visible").inner_text() == "4.5 afraid"
    tab.select_option("#dial", "calm")
    tab.wait_for_function("() => location.hash.includes('dial=calm')")
    assert "It is an ordinary amount." in tab.locator("main").inner_text()


def test_a_features_histogram_counts_what_was_planted(visit: Visit) -> None:
    tab = visit().open(f"#/feature/early/{DESPERATE}")
    rows = tab.locator(".histogram li")
    assert rows.count() >= 8
    assert "desperate" in tab.locator(".histogram li.own").inner_text()
    tab.get_by_role("button", name="Show all 12").click()
    assert rows.count() == len(EMOTIONS) + 1
    rows.first.locator(".bars").hover()
    assert "of 48 stories between" in tab.locator(".tip:visible").inner_text()


def test_tokens_are_text_and_the_formula_stands_beside_them(visit: Visit) -> None:
    tab = visit().open(f"#/feature/early/{DESPERATE}")
    promoted = tab.locator(".word-bars").first.locator(".word").all_inner_texts()
    assert promoted == ["promoted1", "promoted2", "promoted3", "promoted4", "<b>bold</b>"]
    assert "(N(d) \u2212 N(0))" in tab.locator("section[aria-labelledby=vocabulary]").inner_text()


def test_only_a_feature_that_is_on_neuronpedia_leads_there(visit: Visit) -> None:
    tab = visit().open(f"#/feature/early/{DESPERATE}")
    link = tab.get_by_role("link", name="Neuronpedia")
    assert link.get_attribute("href") == f"https://www.neuronpedia.org/planted-8m/1-res/{DESPERATE}"
    other = visit().open(f"#/feature/late/{DESPERATE}")
    wait_for_title(other, f"Feature {DESPERATE}")
    assert other.get_by_role("link", name="Neuronpedia").count() == 0


def test_what_turns_a_feature_on_leads_to_it(visit: Visit) -> None:
    tab = visit().open("#/feature/late/16")
    section = tab.locator("section[aria-labelledby=connections]")
    assert "clock" in section.inner_text()
    section.locator("a.address").click()
    wait_for_title(tab, "Feature 16")
    assert tab.evaluate("location.hash") == "#/feature/early/16"


def test_two_things_stand_side_by_side_and_can_be_taken_away(visit: Visit) -> None:
    visitor = visit()
    tab = visitor.open("#/emotion/sad")
    tab.get_by_role("link", name="Compare").last.click()
    wait_for_title(tab, "Compare")
    tab.fill("#compare-add", "early/16")
    tab.keyboard.press("Enter")
    tab.wait_for_function("() => document.querySelectorAll('table.compare thead th').length === 2")
    assert visitor.hash == "#/compare?of=emotion%3Asad%2Cfeature%3Aearly%2F16"
    assert "cosine" in tab.locator(".facts-list").inner_text()
    tab.fill("#compare-add", "nosuch")
    tab.keyboard.press("Enter")
    assert "There is no emotion or feature" in tab.locator(".adder [role=status]").inner_text()
    tab.get_by_role("link", name="Take sad away").click()
    tab.wait_for_function("() => document.querySelectorAll('table.compare thead th').length === 1")


def test_the_tree_stands_beside_the_heatmap_in_its_order(visit: Visit) -> None:
    tab = visit().open("#/emotions")
    names = tab.locator(".heatmap text").all_text_contents()[::2]
    assert names == list(EMOTIONS)  # the planted tree joins one after the other
    assert tab.locator(".tree .branch").count() == len(EMOTIONS) - 1
    assert "seen" in tab.locator("section[aria-labelledby=statements]").inner_text()


def test_an_emotion_has_its_baselines_beside_its_features(visit: Visit) -> None:
    tab = visit().open("#/emotion/desperate")
    section = tab.locator("section[aria-labelledby=features]")
    assert section.locator(".dot.hollow").count() == 2
    assert "Words alone" in section.inner_text()
    assert "does better" in section.inner_text()


def test_dose_and_response_is_drawn_for_every_dial(visit: Visit) -> None:
    figures = visit().open("#/scenarios").locator("svg.lines")
    described = [figures.nth(place).get_attribute("aria-label") for place in range(figures.count())]
    assert [text.split(".")[0] for text in described][:3] == [
        f"Rate by dose of {dial}" for dial in ("desperate", "calm", "proud")
    ]
    assert "0.8 85%" in described[0]


def test_evidence_pages_fit_a_phone(visit: Visit) -> None:
    visitor = visit(viewport={"width": 390, "height": 800}, has_touch=True)
    widths = {view: (visitor.open(view), visitor.width)[1] for view in VIEWS}
    assert {view: width for view, width in widths.items() if width > 390} == {}


def test_evidence_pages_work_with_nothing(visit: Visit, tmp_path: Path) -> None:
    visitor = visit(write_site(empty_site(), Stage(tmp_path)))
    for view in ("#/emotions", "#/scenarios", "#/compare", "#/rollout/x/0", "#/talk/x"):
        text = visitor.open(view).locator("body").inner_text()
        assert "undefined" not in text, view
        assert "NaN" not in text, view


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(visit: Visit, scheme: str) -> None:
    axe = (resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
    visitor = visit(color_scheme=scheme)
    found = {}
    for view in VIEWS:
        tab = visitor.open(view)
        tab.evaluate(axe)
        # preload would fetch the style sheets, which the page itself forbids
        report = tab.evaluate("() => axe.run(document, {resultTypes: ['violations'], preload: false})")
        serious = [rule for rule in report["violations"] if rule["impact"] in ("serious", "critical")]
        if serious:
            found[view] = {rule["id"]: [node["target"] for node in rule["nodes"]][:4] for rule in serious}
    assert not found, json.dumps(found, indent=1)


def test_every_task_and_conversation_that_is_listed_opens(visit: Visit) -> None:
    visitor = visit()
    tab = visitor.open("#/scenarios")
    links = tab.locator("main a[href^='#/rollout'], main a[href^='#/talk']")
    addresses = sorted({links.nth(place).get_attribute("href").split("?")[0] for place in range(links.count())})
    assert len([address for address in addresses if "rollout" in address]) == 2 * len(TASKS)
    assert len([address for address in addresses if "talk" in address]) == len(TALKS) - 1  # those of one kind
    for address in addresses:
        visitor.open(address)
        assert visitor.title != "Not here"


def test_a_link_is_read_from_the_end_that_is_looked_at(visit: Visit) -> None:
    visitor = visit()
    titles = {}
    for sae in ("early", "late"):
        card = visitor.open(f"#/feature/{sae}/0").locator("section[aria-labelledby=matches]")
        titles[sae] = card.locator("h3").all_inner_texts()
    assert "Splits into" in titles["early"]
    assert titles["late"][:2] == ["Splits into", "Is a part of"]  # of the third SAE's, and of the first's


def test_the_strongest_spans_stand_with_their_peak_in_the_middle(visit: Visit) -> None:
    tab = visit().open("#/feature/early/16")
    spans = tab.locator(".spans").first.locator("li")
    values = [float(text) for text in spans.locator(".number").all_inner_texts()]
    assert values == sorted(values, reverse=True)
    assert len(values) == 6
    peak = spans.first.locator("> .token")
    peak.hover()
    assert tab.locator(".tip:visible").inner_text() == spans.first.locator(".number").inner_text()
