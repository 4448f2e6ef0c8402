"""Conversations: read them, test what was read, grade what was said, and turn dials in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from emosae.pipeline.dial_stage import Dials
from emosae.pipeline.inputs import Inputs
from emosae.scenarios.conversations import (
    ToneGrader,
    compare_with_shuffled,
    contrast_variants,
    correlate_doses,
    fit_tone,
    measure_trends,
    rank_emotions,
    read_conversations,
    read_whose,
    share_tones,
    summarize_turned,
    take_said,
    turn_dials,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from emosae.store import Stage

WHOLE, SAID = "whole", "said"
MOST_NEW_TOKENS = 160


def converse(inputs: Inputs, dials: Dials, stage: Stage) -> list[str]:
    """Write every table of the scenario; what cannot be done is returned as sentences."""
    if not dials.chosen:
        return ["Conversations were not read: no emotion has a feature that is fit to be a dial."]
    features = dials.sets(inputs, sorted(dials.chosen))
    rng = np.random.default_rng([inputs.cfg.seed, 11])
    found = read_conversations(
        inputs.lm,
        inputs.conversations,
        features,
        seed=inputs.cfg.seed,
        emotions=inputs.emotions,
        max_new_tokens=_limit(inputs),
        progress=True,
    )
    found.save(stage)
    reads = found.reads.to_pylist()
    stage.write_table("ranks", rank_emotions(reads))
    stage.write_table("doses", correlate_doses(reads))
    stage.write_table("shuffled", compare_with_shuffled(reads, rng))
    stage.write_table("trends", measure_trends(reads, rng))
    stage.write_table("foils", contrast_variants(reads))
    stage.write_table("whose", read_whose(inputs.lm, inputs.voices, features, rng))
    grader = fit_tone(inputs.lm, inputs.stories, inputs.resid_means)
    stage.write_table("graders", grader.tabulate())
    stage.write_table("tones", share_tones(_grade_replies(inputs, found.replies, grader), rng))
    return _turn(inputs, dials, grader, stage)


def _limit(inputs: Inputs) -> int:
    return min(MOST_NEW_TOKENS, inputs.lm.context // 4)


def _grade_replies(inputs: Inputs, replies: pa.Table, grader: ToneGrader) -> list[dict[str, Any]]:
    """Every reply's tone, and that of what is said behind the mark where the model thinks aloud first."""
    rows, mark = replies.to_pylist(), inputs.reply_mark
    parts = {WHOLE: [row["reply"] for row in rows]}
    if mark:
        parts[SAID] = [take_said(row["reply"], mark) for row in rows]
    return [
        {**row, "part": part, "tone": tone}
        for part, texts in parts.items()
        for row, tone in zip(rows, grader.grade(texts), strict=True)
    ]


def _turn(inputs: Inputs, dials: Dials, grader: ToneGrader, stage: Stage) -> list[str]:
    section = inputs.cfg.scenarios
    wanted = (*section.conversation_dials, *section.conversation_decoys)
    lacking = [name for name in wanted if name not in dials.chosen]
    turned = turn_dials(
        inputs.lm,
        inputs.conversations,
        dials.sets(inputs, section.conversation_dials),
        dials.sets(inputs, section.conversation_decoys),
        grader,
        doses=dials.doses,
        seed=inputs.cfg.seed,
        n_replies=section.conversation_replies,
        marker=inputs.reply_mark,
        max_new_tokens=_limit(inputs),
    )
    stage.write_table("turned", turned)
    stage.write_table("turned_summary", summarize_turned(turned))
    if not lacking:
        return []
    return [f"No feature is fit to be a dial for {', '.join(lacking)}, so nothing was turned for it in conversations."]
