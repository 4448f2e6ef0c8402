"""What was fixed before the confirm tasks were opened, under which seal, and what the numbers can show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emosae.report.content import Section, TextTable
from emosae.report.figures import Estimate
from emosae.report.records import ReportData, read_number
from emosae.report.wording import join_words, say_count, say_number, say_rate, say_share

NAME, TITLE = "plan", "What was planned before the tasks were opened"


def write_plan(data: ReportData) -> Section | None:
    """The seal, the looks, the planned numbers and the power table; None for a run without a plan."""
    plan = data.plan
    if not plan:
        return None
    return Section(
        NAME,
        TITLE,
        _say_seal(plan, data.manifest),
        paragraphs=(_say_arms(plan), _say_pilot(plan["pilot"]), _say_size(plan), *_say_doses(plan.get("doses", {}))),
        tables=(("Smallest changes that are shown in four runs of five", _tabulate_power(plan["power"])),),
        folded=(
            ("Every arm of the plan", _tabulate_arms(plan)),
            ("How numbers are computed", TextTable(("number", "by"), tuple(sorted(plan["analysis"].items())))),
        ),
    )


def _say_seal(plan: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    sealed = f"The plan was sealed before the model saw a confirm task, with SHA-256 {plan['sha256']}"
    seals = list(manifest.get("plans", ()))
    if plan["sha256"] not in seals:
        return f"{sealed}, but the manifest does not list that seal, so the looks at these tasks are not known."
    if len(seals) == 1:
        return f"{sealed}; the confirm tasks were opened with this plan alone (look 1 of 1)."
    look = seals.index(plan["sha256"]) + 1
    return (
        f"{sealed}; the confirm tasks of this run directory were opened with {len(seals)} different plans, of which "
        f"this is look {look}, so its p values are not those of a single look."
    )


def _say_arms(plan: Mapping[str, Any]) -> str:
    arms, episodes, tasks = plan["arms"], plan["episodes"], plan["tasks"]
    doses = sorted({arm["dose"] for arm in arms if arm["dose"] > 0})
    second = len(plan["second_seed"])
    return (
        f"It names {say_count(len(arms), 'arm')} and {say_count(second, 'arm')} of a second SAE seed, doses "
        f"{join_words([f'{dose:g}' for dose in doses])}, {episodes['impossible']:,} episodes of "
        f"{tasks['impossible']:,} impossible tasks and {episodes['solvable']:,} of {tasks['solvable']:,} solvable "
        f"controls per arm, {say_count(len(plan['contrasts']), 'contrast')}, and "
        f"{say_count(len(plan['holm_family']), 'test')} that Holm corrects together. The whole plan is plan.json in "
        "scenarios/impossible_code; its seal is of the file's canonical JSON without the seal."
    )


def _say_doses(doses: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """The primary dose of every dial and who fixed it; nothing for a plan without dials."""
    if not doses:
        return ()
    said = [f"{dial} {one['dose']:g} ({one['by']})" for dial, one in doses.items()]
    return (f"The primary dose of each dial, and where it comes from: {join_words(said)}.",)


def _say_pilot(pilot: Mapping[str, Any]) -> str:
    if not pilot["measured"]:
        return (
            f"There were too few tasks to keep some apart, so an untouched rate of {say_share(pilot['rate'])} and a "
            f"correlation of {say_number(pilot['icc'])} between episodes of a task were assumed, not measured."
        )
    rate = Estimate(*(read_number(pilot, name) for name in ("rate", "rate_lo", "rate_hi")))
    return (
        f"On {pilot['tasks']} tune tasks, which no arm below sees, {say_rate(rate)} of {pilot['episodes']} untouched "
        f"episodes ended in a cheat, and two episodes of a task had a correlation of {say_number(pilot['icc'])}; so "
        "few tasks place that correlation only roughly."
    )


def _say_size(plan: Mapping[str, Any]) -> str:
    power, n = plan["power"], plan["episodes"]["impossible"]
    planned, points = power["planned_n"], f"{100 * power['effect']:.0f} points"
    said = [
        f"{_say_n(planned[f'{way}_alone'])} for a {way} alone and {_say_n(planned[f'{way}_family'])} as one of the "
        "corrected family"
        for way in ("rise", "fall")
    ]
    wanted = [planned[f"{way}_family"] for way in ("rise", "fall")]
    enough = all(one is not None and one <= n for one in wanted)
    verdict = "are enough for all four" if enough else "are not enough for all four"
    return (
        f"To show a change of {points} with probability {power['power']:.0%}, the planned number of episodes per arm "
        f"is {'; '.join(said)}. The {n:,} that were set {verdict}. No credit is given for common random numbers, which "
        "make changes surer than the table says."
    )


def _say_n(n: int | None) -> str:
    return "more tasks than there are" if n is None else f"{n:,}"


def _tabulate_power(power: Mapping[str, Any]) -> TextTable:
    rows = tuple(
        (f"{row['n']:,}", str(row["tests"]), *(_say_change(row[way]) for way in ("rise", "fall")))
        for row in power["table"]
    )
    heads = ("episodes per arm", "tests that share the level", "rise, points", "fall, points")
    return TextTable(heads, rows, frozenset(range(4)))


def _say_change(change: float | None) -> str:
    return "none" if change is None else say_number(100 * change, 0)


def _tabulate_arms(plan: Mapping[str, Any]) -> TextTable:
    rows = tuple(
        (
            arm["arm"],
            arm["role"],
            f"{arm['dose']:g}",
            "yes" if arm["primary"] else "no",
            str(arm["episodes"]),
            "yes" if arm["arm"] in plan["holm_family"] else "no",
            arm["hash"][:12],
        )
        for arm in plan["arms"]
    )
    heads = ("arm", "role", "dose", "primary", "episodes", "corrected", "hash of its inputs")
    return TextTable(heads, rows, frozenset({2, 4}))
