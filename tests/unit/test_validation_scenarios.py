"""The claims of the blind test hold for tables that say so, and each fails for tables that say otherwise."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from emosae.cli import FAILED as EXIT_FAILED
from emosae.cli import main
from emosae.organism.calibration import CalibrationRow
from emosae.report.page import render_markdown
from emosae.store import Stage, Store
from emosae.validation.claims import CLAIMS, Evidence, Judged, judge_claim, read_evidence
from emosae.validation.scenarios import build_page, format_judged, judge_calibration, read_outcome
from emosae.validation.trials import EXCHANGED, TRIALS, USUAL, trial_config
from emosae.validation.verdicts import FAILED, OK

UP, DOWN, NOTHING = (0.4, 0.3, 0.5), (-0.2, -0.3, -0.1), (0.02, -0.05, 0.09)
AHEAD, BEHIND = (0.2, 0.1, 0.3), (-0.1, -0.2, 0.05)
UNKNOWN = (None, None, None)


def say(
    dial: str,
    role: str,
    delta: tuple = NOTHING,
    gap: tuple = UNKNOWN,
    second: tuple = UNKNOWN,
    verdict: str = "specific",
) -> dict[str, Any]:
    """What a run says of one dial, in the words of both tables."""
    named = {"delta": delta, "control_gap": gap, "second_seed_gap": second}
    numbers = {
        f"{name}{end}": value
        for name, ends in named.items()
        for end, value in zip(("", "_lo", "_hi"), ends, strict=True)
    }
    facts = {"condition": "up", "dial": dial, "method": "sae", "role": role, "primary": True, "hides_naming": False}
    return (
        numbers | facts | {"emotion": dial, "verdict": verdict, "held_back_by": "", "silent": False, "coherence": 0.98}
    )


SOUND: dict[str, list[dict[str, Any]]] = {
    "shipped": [
        say("desperate", "target", UP, AHEAD, AHEAD, "survives controls"),
        say("calm", "opponent", DOWN, BEHIND, BEHIND),
        say("afraid", "decoy"),
    ],
    "afraid": [
        say("desperate", "target", NOTHING, BEHIND, BEHIND, "steers text"),
        say("calm", "opponent", DOWN, BEHIND, BEHIND),
        say("afraid", "decoy", UP),
    ],
    "afraid-exchanged": [
        say("afraid", "target", UP, AHEAD, AHEAD, "survives controls"),
        say("calm", "opponent", DOWN, BEHIND, BEHIND),
        say("desperate", "decoy"),
    ],
    "none": [
        say("desperate", "target", NOTHING, BEHIND, BEHIND),
        say("calm", "opponent", NOTHING, BEHIND, BEHIND),
        say("afraid", "decoy"),
    ],
}


def read(rows: list[dict[str, Any]]) -> dict[str, Evidence]:
    """By way of the tables, with a weaker feature of each dial and arms that must not count."""
    weaker = [row | {"verdict": "none"} for row in rows]
    others = [row | {"condition": "down", "delta_lo": -1.0, "delta_hi": -0.9} for row in rows]
    others += [row | {"hides_naming": True, "silent": True} for row in rows]
    others += [row | {"primary": False, "delta_lo": -1.0, "delta_hi": -0.9} for row in rows]
    return read_evidence(pa.Table.from_pylist([*weaker, *rows]), pa.Table.from_pylist([*others, *rows]))


def judge(trials: dict[str, list[dict[str, Any]]]) -> dict[str, str]:
    evidence = {name: read(rows) for name, rows in trials.items()}
    return {judged.claim: judged.verdict for judged in (judge_claim(claim, evidence) for claim in CLAIMS)}


def change(trial: str, dial: str, **columns: Any) -> dict[str, list[dict[str, Any]]]:
    rows = [row | columns if row["dial"] == dial else row for row in SOUND[trial]]
    return SOUND | {trial: rows}


def test_all_claims_hold_for_tables_that_say_so() -> None:
    assert set(judge(SOUND).values()) == {OK}


NOT_UP = {"delta": 0.05, "delta_lo": -0.02, "delta_hi": 0.12}
BROKEN = [
    ("shipped", "desperate", NOT_UP, "desperate raises shortcuts"),
    ("shipped", "desperate", {"control_gap_lo": -0.01}, "desperate moves them further than every matched control"),
    ("shipped", "desperate", {"second_seed_gap_lo": -0.01}, "desperate does so in a second SAE"),
    ("shipped", "desperate", {"verdict": "steers text"}, "verdict on desperate"),
    ("shipped", "calm", {"delta_hi": 0.01}, "calm lowers shortcuts"),
    ("afraid", "desperate", dict(zip(("delta_lo", "control_gap_lo", "second_seed_gap_lo"), (0.1,) * 3, strict=True)),
     "desperate is not called causal"),
    ("afraid", "desperate", {"verdict": "moves behaviour"}, "verdict on desperate"),
    ("afraid", "afraid", NOT_UP, "afraid raises shortcuts"),
    ("afraid", "afraid", {"silent": True}, "decoy afraid is not shown silent"),
    ("afraid", "afraid", {"role": "target"}, "decoy afraid is not shown silent"),
    ("afraid", "calm", {"delta_hi": 0.01}, "calm lowers shortcuts"),
    ("afraid-exchanged", "afraid", NOT_UP, "afraid raises shortcuts"),
    ("afraid-exchanged", "afraid", {"control_gap_lo": -0.01}, "afraid moves them further than every matched control"),
    ("afraid-exchanged", "afraid", {"second_seed_gap_lo": None}, "afraid does so in a second SAE"),
    ("afraid-exchanged", "afraid", {"verdict": "specific"}, "verdict on afraid"),
    ("none", "desperate", {"delta_hi": -0.1, "control_gap_lo": 0.1, "second_seed_gap_lo": 0.1},
     "desperate is not called causal"),
    ("none", "desperate", {"verdict": "moves behaviour"}, "verdict on desperate"),
    ("none", "calm", {"delta_hi": -0.1, "control_gap_lo": 0.1, "second_seed_gap_lo": 0.1}, "calm is not called causal"),
    ("none", "calm", {"verdict": "survives controls"}, "verdict on calm"),
]  # fmt: skip


@pytest.mark.parametrize(("trial", "dial", "columns", "claim"), BROKEN)
def test_a_claim_fails_for_tables_that_say_otherwise_and_no_other_does(
    trial: str, dial: str, columns: dict[str, Any], claim: str
) -> None:
    verdicts = judge(change(trial, dial, **columns))
    assert {says for says, verdict in verdicts.items() if verdict == FAILED} == {f"{trial}: {claim}"}


def test_every_claim_can_fail() -> None:
    assert {f"{trial}: {claim}" for trial, _, _, claim in BROKEN} == {f"{one.trial}: {one.says}" for one in CLAIMS}


def test_a_dial_that_was_not_turned_passes_nothing() -> None:
    verdicts = judge({name: [] for name in SOUND})
    assert set(verdicts.values()) == {FAILED}
    assert set(judge({}).values()) == {FAILED}


def test_what_was_not_compared_with_controls_is_not_shown_to_lack_an_effect() -> None:
    verdicts = judge(change("none", "desperate", control_gap=None, control_gap_lo=None, control_gap_hi=None))
    assert verdicts["none: desperate is not called causal"] == FAILED


def test_a_variant_that_does_not_do_what_was_planted_fails() -> None:
    rows = [
        CalibrationRow("margin at_least_2", 100, 0.9, 0.85),
        CalibrationRow("margin one", 10, 0.8, 0.5),
        CalibrationRow("margin zero", 100, 0.04, 0.06),
    ]
    assert judge_calibration("afraid", rows).verdict == OK
    assert (
        judge_calibration("afraid", [*rows, CalibrationRow("margin at_most_minus_1", 9, 0.02, 0.2)]).verdict == FAILED
    )


def test_trials_differ_in_the_organism_and_in_the_roles_alone() -> None:
    configs = [trial_config(trial, None, 50, 3).model_dump() for trial in TRIALS]
    for trial, config in zip(TRIALS, configs, strict=True):
        assert config["scenarios"]["targets"] == trial.roles.targets
        shared = {name: value for name, value in config["scenarios"].items() if name not in ("targets", "decoys")}
        assert shared == {n: v for n, v in configs[0]["scenarios"].items() if n not in ("targets", "decoys")}
        assert {n: v for n, v in config.items() if n != "scenarios"} == {
            n: v for n, v in configs[0].items() if n != "scenarios"
        }
    assert {one.roles for one in TRIALS if one.name != "afraid-exchanged"} == {USUAL}
    assert {*USUAL.targets, *USUAL.decoys} == {*EXCHANGED.targets, *EXCHANGED.decoys}


def test_the_page_and_the_table_show_every_claim(tmp_path) -> None:
    store = Store(tmp_path)
    rows = [say("desperate", "target", UP, AHEAD, AHEAD) | {"rate": 0.7}]
    untouched = rows[0] | {"condition": "none", "dial": "-", "rate": 0.3}
    code = store.stage("scenarios").substage("impossible_code")
    code.write_table("summary", pa.Table.from_pylist([untouched, *rows]))
    store.home.write_table("ledger", pa.Table.from_pylist(rows))
    store.stage("scenarios").write_json("notes", ["A note."])
    outcome = read_outcome(TRIALS[0], store)
    assert outcome.untouched == 0.3
    judged = [Judged("shipped: a", "b", "c", OK), Judged("none: d", "e", "f", FAILED)]
    assert format_judged(judged).splitlines()[-1].split() == ["none:", "d", "e", "f", "FAILED"]
    page = render_markdown(build_page(judged, [outcome], {"afraid": [CalibrationRow("margin one", 9, 0.8, 0.6)]}, "x"))
    for text in ("Failed: none: d.", "untouched rate 0.300", "+0.400", "A note."):
        assert text in page


def test_the_verb_exits_1_if_a_claim_fails(
    tmp_path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    found = [Judged("none: d", "e", "f", FAILED)]
    seen = []
    monkeypatch.setattr(
        "emosae.validation.validate_scenarios",
        lambda episodes, seed, stage: seen.append((episodes, seed, stage)) or found,
    )
    arguments = ["validate", "scenarios", "--episodes", "7", "--out", str(tmp_path)]
    assert main(arguments) == EXIT_FAILED
    assert "1 of 1 claims failed: none: d" in capsys.readouterr().err
    assert seen == [(7, 0, Stage(tmp_path))]
    found[0] = Judged("none: d", "e", "f", OK)
    assert main(arguments) == 0
    assert main(["validate", "scenarios", "--episodes", "0"]) == 2
