"""Every section says what its tables say, and says so plainly where there is nothing to say."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from report_fixture import CHEAT, demo_data, plain, small_data

from emosae.report import PlantedTruth, ReportData, build_page, write_report
from emosae.report.arms import read_arms
from emosae.report.content import Page, Section
from emosae.report.estimates import average
from emosae.report.figures import drawing_style
from emosae.report.page import render_markdown
from emosae.report.sections.conversations import standardise_kinds
from emosae.report.sections.features import write_features
from emosae.report.sections.impossible import write_impossible
from emosae.report.sections.overlap import cluster_order, rank_pairs
from emosae.report.sections.reading import write_saes
from emosae.report.sections.transcripts import split_thought
from emosae.report.sections.truth import NO, UNTESTED, YES, write_truth
from emosae.store import Stage


@pytest.fixture(scope="module")
def demo() -> ReportData:
    return demo_data(n_tasks=20, per_task=3)


@pytest.fixture(scope="module")
def page(demo: ReportData) -> Page:
    return plain(build_page(demo))


def find_section(page: Page, name: str) -> Section:
    (section,) = [section for section in page.sections if section.name == name]
    return section


def change(table: pa.Table | None, where: dict[str, Any], **new: Any) -> pa.Table:
    assert table is not None
    rows = [{**row, **new} if all(row[k] == v for k, v in where.items()) else row for row in table.to_pylist()]
    return pa.Table.from_pylist(rows, schema=table.schema)


def empty(data: ReportData) -> ReportData:
    tables = {f.name: getattr(data, f.name) for f in fields(data)}
    return replace(data, **{name: t.slice(0, 0) for name, t in tables.items() if isinstance(t, pa.Table)})


def all_text(page: Page) -> str:
    return render_markdown(page)


def test_a_full_run_has_every_section(page: Page) -> None:
    names = [section.name for section in page.sections]
    assert names == [
        *("saes", "features", "overlap", "agreement", "conversations", "replies"),
        *("impossible", "dials", "composure", "transcripts", "verdicts", "truth", "provenance"),
    ]
    plates = [plate.name for section in page.sections for plate in section.plates]
    assert len(plates) == len(set(plates))
    assert {"auroc", "overlap", "kinds", "doses", "endings", "traces", "rates", "gaps", "silence"} <= set(plates)


def test_every_finding_is_one_sentence_without_holes(page: Page) -> None:
    for section in page.sections:
        assert re.fullmatch(r"[A-Z0-9“].*\.", section.finding), section.finding
        assert not re.search(r"\bnan\b|None|not measured", section.finding)
    assert not re.search(r"\bnan\b|\bNone\b", all_text(page))


def test_a_run_of_stories_only_says_what_did_not_run() -> None:
    page = build_page(small_data())
    assert page.badge == ""
    assert "planted" not in all_text(page)
    assert find_section(page, "conversations").finding == "No conversations were read."
    assert find_section(page, "impossible").finding == "The impossible tasks were not run."
    assert find_section(page, "dials").finding == "No feature was turned while the model acted."


@pytest.mark.parametrize("make", [empty, lambda data: empty(replace(data, truth=None, manifest={}))])
def test_empty_tables_give_sentences(demo: ReportData, make: Any) -> None:
    page = plain(build_page(make(demo)))
    for section in page.sections:
        assert section.finding.endswith(".")
    with drawing_style():
        for section in page.sections:
            for plate in section.plates:
                plate.draw(350.0)


def test_nulls_are_no_numbers(demo: ReportData) -> None:
    def blank(table: pa.Table | None) -> pa.Table | None:
        if table is None:
            return None
        floats = [field.name for field in table.schema if pa.types.is_floating(field.type) and field.name != "dose"]
        rows = [{**row, **dict.fromkeys(floats)} for row in table.to_pylist()]
        return pa.Table.from_pylist(rows, schema=table.schema)

    tables = ("saes", "candidates", "emotions", "overlap", "baselines", "ledger", "concepts", "ranks", "doses")
    page = plain(
        build_page(replace(demo, **{name: blank(getattr(demo, name)) for name in (*tables, "summary", "contrasts")}))
    )
    with drawing_style():
        for section in page.sections:
            for plate in section.plates:
                plate.draw(760.0)
    assert not re.search(r"\bnan\b", all_text(page))


def test_cautions_are_in_plain_words(page: Page) -> None:
    said = " ".join(page.cautions)
    assert "not evidence of feelings or experience" in said
    assert "not the character it writes" in said
    assert "synthetic" in said
    assert page.badge == "synthetic model"


def test_only_emotions_that_beat_their_rival_count(demo: ReportData) -> None:
    assert write_features(demo).finding.startswith("For 19 of 20 emotions")
    capped = change(demo.emotions, {"emotion": "sad"}, verdict_cap="detected")
    assert write_features(replace(demo, emotions=capped)).finding.startswith("For 18 of 20 emotions")
    low = change(demo.emotions, {"emotion": "sad"}, auroc_rival_confirm_lo=0.5)
    assert write_features(replace(demo, emotions=low)).finding.startswith("For 18 of 20 emotions")


def test_one_sae_leaves_and_two_leave(demo: ReportData) -> None:
    assert write_saes(replace(demo, saes=demo.saes.slice(0, 1))).finding == (
        "1 SAE (1 trained) leaves 4% of the residual stream's variance unexplained."
    )
    assert "2 trained and 2 shipped) leave 4% to 6%" in write_saes(demo).finding


def test_overlap_names_the_closest_pairs_and_where_the_planted_ones_stand(page: Page) -> None:
    finding = find_section(page, "overlap").finding
    assert "grieving with sad" in finding or "sad with grieving" in finding
    assert finding.endswith("the planted pairs rank 1 and 2 of 190.")


def test_similar_rows_stand_side_by_side() -> None:
    similarity = np.eye(4)
    similarity[0, 3] = similarity[3, 0] = similarity[1, 2] = similarity[2, 1] = 0.9
    order = cluster_order(similarity)
    assert abs(order.index(0) - order.index(3)) == 1
    assert abs(order.index(1) - order.index(2)) == 1
    assert rank_pairs(("a", "b", "c", "d"), similarity)[0] == (("a", "d"), 0.9)


def test_kinds_are_standardised_over_all_conversations() -> None:
    reads = [
        {"kind": kind, "expected": "x", "emotion": "sad", "place": value, "conversation_id": str(n)}
        for n, (kind, value) in enumerate([("one", 0.0), ("one", 2.0), ("two", 4.0), ("two", 6.0)])
    ]
    kinds, emotions, table = standardise_kinds(reads, "place")
    assert [kind for kind, _ in kinds] == ["one", "two"]
    assert emotions == ["sad"]
    np.testing.assert_allclose(table[:, 0], np.array([-2.0, 2.0]) / np.std([0, 2, 4, 6]))


def test_conversations_say_ranks_and_dose(page: Page) -> None:
    section = find_section(page, "conversations")
    assert "the expected emotion comes first for 9 of 9 kinds" in section.finding
    assert re.search(
        r"rank correlation of afraid with the dose there is 0\.9\d \[0\.\d+, 0\.\d+\] for medicine", section.finding
    )
    assert len(section.exchanges) == 6 + 3 + 3


def test_the_unsteered_rate_comes_first_with_its_room(demo: ReportData) -> None:
    reference = {"condition": "none", "hides_naming": False}
    for rate, said in [(0.31, "leaves room to move both ways"), (0.6, "outside the 20%"), (0.01, "hardly any room")]:
        summary = change(demo.summary, reference, rate=rate)
        assert said in write_impossible(replace(demo, summary=summary)).finding


def test_a_model_that_writes_no_programs_lets_nothing_be_concluded(demo: ReportData) -> None:
    summary = change(demo.summary, {}, parse_rate=0.0, coherence=0.0, rate=0.0)
    page = plain(build_page(replace(demo, summary=summary)))
    assert "nothing can be concluded" in find_section(page, "impossible").finding
    assert find_section(page, "dials").plates == ()


def test_traces_stand_with_the_numbers_at_risk(demo: ReportData, page: Page) -> None:
    (plate,) = [plate for plate in find_section(page, "impossible").plates if plate.name == "traces"]
    counts = [int(row[2]) for row in plate.table.rows if row[0] == "desperate"]
    assert counts[0] == 60
    assert counts == sorted(counts, reverse=True)


def test_a_mean_has_a_t_interval_over_clusters() -> None:
    values = [1.0, 2.0, 4.0, 9.0]
    half = 3.18245 * np.std(values, ddof=1) / 2
    plain = average(values)
    assert (plain.value, plain.lo, plain.hi) == pytest.approx((4, 4 - half, 4 + half), abs=1e-4)
    doubled = average([*values, *values], ["a", "b", "c", "d"] * 2)  # copies within clusters add nothing
    assert (doubled.lo, doubled.hi) == pytest.approx((plain.lo, plain.hi))
    assert not average(values, ["a"] * 4).bounded
    assert not average([]).known


def test_rates_show_every_arm_with_its_own_numbers(demo: ReportData, page: Page) -> None:
    (plate,) = [plate for plate in find_section(page, "dials").plates if plate.name == "rates"]
    arms = read_arms(demo)
    assert len(plate.table.rows) == 2 * len(arms) == 44
    (row,) = [row for row in plate.table.rows if row[:2] == ("desperate up", "feature") and row[3] == "kept"]
    (arm,) = [arm for arm in arms if arm.name == "desperate up" and arm.method == "sae"]
    assert row[4] == "60"
    assert row[5] == f"{100 * arm.rate.value:.0f}% [{100 * arm.rate.lo:.0f}, {100 * arm.rate.hi:.0f}]"


def test_expectation_is_by_role_and_turn(demo: ReportData) -> None:
    expected = {(arm.name, arm.method): arm.expected for arm in read_arms(demo)}
    assert expected["desperate up", "sae"] == expected["calm off", "sae"] == expected["calm down", "vector"] == 1
    assert expected["calm up", "sae"] == expected["desperate off", "sae"] == expected["desperate down", "sae"] == -1
    assert expected["proud up", "sae"] == expected["random 0", "sae"] == expected["prompt: calm words", "-"] == 0


def test_decoys_not_shown_silent_are_named(demo: ReportData) -> None:
    where = {"role": "decoy", "method": "sae"}
    summary = change(change(demo.summary, where, silent=True), {**where, "dial": "afraid"}, silent=False)
    page = plain(build_page(replace(demo, summary=summary)))
    (plate,) = [plate for plate in find_section(page, "dials").plates if plate.name == "silence"]
    shown = "Decoys shown silent: proud, curious and guilty. Not shown silent: afraid."
    assert shown in plate.caption
    assert any(one.startswith(shown) for one in find_section(page, "dials").paragraphs)
    outcomes = {
        row[0].split()[0]: row[2] for row in find_section(page, "truth").tables[0][1].rows if "nothing" in row[0]
    }
    assert outcomes["afraid"].endswith(NO)
    assert outcomes["proud"].endswith(YES)


def test_gaps_name_the_controls_that_an_arm_does_not_beat(demo: ReportData) -> None:
    mine = {"dial": "desperate", "condition": "up", "method": "sae", "hides_naming": False}
    contrasts = change(change(demo.contrasts, {}, survives=True), {**mine, "control_dial": "guilty"}, survives=False)
    page = plain(build_page(replace(demo, contrasts=contrasts)))
    (plate,) = [plate for plate in find_section(page, "dials").plates if plate.name == "gaps"]
    assert "desperate up not beyond guilty up." in plate.caption
    assert "prompt" not in " ".join(row[1] for row in plate.table.rows)


def test_transcripts_show_the_same_episode(demo: ReportData, page: Page) -> None:
    section = find_section(page, "transcripts")
    assert section.finding.startswith("Desperate up changed the ending of ")
    for transcript in section.transcripts:
        nothing, turned, *_ = transcript.scripts
        assert nothing.heading == "Nothing done"
        assert nothing.ending.startswith("Cheats") != turned.ending.startswith("Cheats")
        assert turned.attempts[-1].program == CHEAT
        assert "def f" not in turned.attempts[-1].thought


@pytest.mark.parametrize(
    ("text", "program", "thought"),
    [
        ("I think.\n```python\nx = 1\n```", "x = 1\n", "I think."),
        ("I think. x = 1", "x = 1", "I think."),
        ("It cannot be done.", None, "It cannot be done."),
        ("changed while reading", "y = 2", "changed while reading"),
    ],
)
def test_the_thought_is_what_stands_before_the_program(text: str, program: str | None, thought: str) -> None:
    assert split_thought(text, program) == thought


def test_planted_facts_are_found_missed_or_not_tested(demo: ReportData) -> None:
    truth = PlantedTruth(
        strengths={"sad": 1.0, "jealous": 0.03, "unheard of": 1.0},
        absent=("jealous",),
        effects={"desperate": 1, "calm": 1, "sad": 1},
    )
    section = write_truth(replace(demo, truth=truth))
    assert section is not None
    outcomes = {row[0].split(":")[0].split(" up")[0]: row[2].split(" ", 1)[1] for row in section.tables[0][1].rows}
    assert outcomes == {
        "sad": UNTESTED,  # the last of its rows: it has a feature, but was no dial
        "unheard of": UNTESTED,
        "jealous": YES,
        "desperate": YES,
        "calm": NO,
    }
    assert section.finding == "Of 4 planted facts tested, 3 were found and 1 missed; 2 could not be tested in this run."


def test_a_lowering_effect_is_found_as_such(page: Page) -> None:
    outcomes = {row[0]: row[2] for row in find_section(page, "truth").tables[0][1].rows}
    assert outcomes["desperate up raises cheating"].endswith(YES)
    assert outcomes["calm up lowers cheating"].endswith(YES)


def test_a_report_is_a_page_with_its_rows_and_the_same_as_text(demo: ReportData, tmp_path: Path) -> None:
    path = write_report(replace(small_data(), notes=("The sandbox is missing: install bubblewrap.",)), Stage(tmp_path))
    assert path == tmp_path / "index.html"
    assert (tmp_path / "rows" / "ledger.html").is_file()
    text = path.read_text(encoding="utf-8")
    assert "install bubblewrap" in text
    assert text.count("<svg") == 2 * sum(len(section.plates) for section in build_page(small_data()).sections)
    assert "install bubblewrap" in (tmp_path / "report.md").read_text(encoding="utf-8")
