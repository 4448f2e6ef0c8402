"""The stages that join findings into something to read: the map, the ledger, the report and the atlas pages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from emosae.atlas import Atlas, build_atlas
from emosae.features import token_acts_many
from emosae.ledger import build_ledger
from emosae.matching import Criteria
from emosae.organism.planted import describe_truth, name_planted
from emosae.pipeline.connection_tables import choose_vector_hook, join_connections, trace_best
from emosae.pipeline.inputs import Inputs
from emosae.pipeline.page_tables import gather_page_tables, tabulate_tokens
from emosae.report import ReportData, write_report
from emosae.site import Example, SiteData, tabulate_talk_arms, write_site
from emosae.stories import load_norms

if TYPE_CHECKING:
    import pyarrow as pa

    from emosae.store import Stage, Store

SHOWN_PER_SPLIT = 3
"""Stories shown of each feature and split in the atlas pages."""
ATLAS_FOLDER = "atlas"
TALK_TABLES = (
    *("reads", "replies", "ranks", "doses", "shuffled", "trends"),
    *("foils", "messages", "whose", "graders", "tones"),
)


def make_atlas(inputs: Inputs, stage: Stage) -> None:
    """Match features across SAEs, group them, and place them."""
    rng = np.random.default_rng([inputs.cfg.atlas.seed, 7])
    cfg, norms = inputs.cfg.atlas, inputs.cfg.atlas.norms
    atlas = build_atlas(
        inputs.selectivity,
        inputs.features,
        inputs.dictionaries,
        rng=rng,
        alpha=inputs.cfg.selectivity.alpha,
        criteria=Criteria(alpha=cfg.match_alpha, rule=cfg.match_by),
        vector_hook=choose_vector_hook(inputs),
        norms=None if norms is None else load_norms(norms),
    )
    atlas.save(stage)
    stage.write_table("tokens", tabulate_tokens(inputs, atlas.nodes))
    stage.write_table("connections", trace_best(inputs))


def make_report(inputs: Inputs, stage: Stage) -> None:
    """Join the evidence, judge it, and write the report with the atlas pages beside it."""
    store = inputs.store
    atlas = Atlas.load(store.stage("atlas"))
    code, talk = (store.stage("scenarios").substage(name) for name in ("impossible_code", "conversation"))
    ledger = build_ledger(
        inputs.selectivity.candidates,
        profiles=inputs.selectivity.profiles,
        links=atlas.links,
        dials=_read_optional(store.stage("scenarios"), "dials"),
        summary=_read_optional(code, "summary"),
        contrasts=_read_optional(code, "contrasts"),
        slopes=_read_optional(code, "slopes"),
        second_seed=_read_optional(code.substage("second_seed"), "contrasts"),
    )
    store.home.write_table("ledger", ledger)
    truth = None if inputs.truth is None else describe_truth(inputs.truth)
    notes = (*inputs.selectivity.notes, *store.stage("scenarios").read_json("notes"))
    write_report(
        ReportData(
            manifest=store.read_manifest(),
            saes=store.stage("saes").read_table("saes"),
            candidates=inputs.selectivity.candidates,
            emotions=inputs.selectivity.summary,
            overlap=inputs.selectivity.overlap,
            baselines=store.stage("selectivity").read_table("baselines"),
            ledger=ledger,
            nodes=atlas.nodes,
            links=atlas.links,
            concepts=atlas.concepts,
            **{name: getattr(atlas, name) for name in ("tree", "axes", "statements", "similarity")},
            connections=join_connections(store),
            **{name: _read_optional(talk, name) for name in TALK_TABLES},
            turned=_read_optional(talk, "turned_summary"),
            **{name: _read_optional(code, name) for name in ("rollouts", "summary", "contrasts", "slopes")},
            **{name: _read_optional(code, name) for name in ("trajectory", "mediation")},
            **{name: _read_optional(code, name) for name in ("subspace", "subspace_arms")},
            plan=code.read_json("plan") if code.has("plan.json") else {},
            task_prompts=code.read_json("prompts") if code.has("prompts.json") else {},
            truth=truth,
            notes=notes,
        ),
        stage,
    )
    _write_atlas_pages(inputs, atlas, ledger, stage.substage(ATLAS_FOLDER), notes)


def _write_atlas_pages(inputs: Inputs, atlas: Atlas, ledger: pa.Table, stage: Stage, notes: tuple[str, ...]) -> None:
    store = inputs.store
    write_site(
        SiteData(
            model=inputs.model_title,
            synthetic=inputs.is_organism,
            manifest=store.read_manifest(),
            saes=store.stage("saes").read_table("saes"),
            nodes=atlas.nodes,
            links=atlas.links,
            concepts=atlas.concepts,
            emotions=atlas.emotions,
            ledger=ledger,
            examples=read_examples(inputs, atlas.nodes),
            overlap=atlas.overlap,
            baselines=store.stage("selectivity").read_table("baselines"),
            scenarios=read_arms(store),
            planted={} if inputs.truth is None else name_planted(inputs.truth),
            notes=notes,
            pages=gather_page_tables(inputs, atlas.nodes),
        ),
        stage,
    )


def read_arms(store: Store) -> dict[str, pa.Table]:
    """A table of arms for each scenario that ran."""
    code, talk = (store.stage("scenarios").substage(name) for name in ("impossible_code", "conversation"))
    summary = _read_optional(code, "summary")
    return ({} if summary is None else {"impossible_code": summary}) | dict(
        tabulate_talk_arms(_read_optional(talk, "turned_summary"))
    )


def read_examples(inputs: Inputs, nodes: pa.Table) -> list[Example]:
    """The strongest stories of every one of these features, per split, with activations at each token."""
    by_id = {story.id: story for story in inputs.stories}
    place = {story.id: row for row, story in enumerate(inputs.stories)}
    mapped: Mapping[str, list[int]] = defaultdict(list)
    for node in nodes.to_pylist():
        mapped[node["sae"]].append(node["feature_idx"])
    examples = []
    for table in inputs.features:
        wanted: dict[str, list[int]] = defaultdict(list)
        columns = table.max.tocsc()
        for feature_idx in mapped[table.sae]:
            for story_id in _strongest(columns, feature_idx, inputs):
                wanted[story_id].append(feature_idx)
        stories = sorted(wanted, key=place.__getitem__)
        dictionary = inputs.dictionaries[table.sae]
        read = token_acts_many(inputs.lm, dictionary, [by_id[s] for s in stories], [wanted[s] for s in stories])
        for acts in read:
            story = by_id[acts.story_id]
            for column, feature_idx in enumerate(acts.feature_idx):
                values = tuple(acts.acts[:, column].tolist())
                examples.append(
                    Example(table.sae, feature_idx, story.id, story.emotion, story.split or "", acts.tokens, values)
                )
    return examples


def _strongest(columns: Any, feature_idx: int, inputs: Inputs) -> list[str]:
    """Ids of the stories where a feature is strongest, a few of discover + tune and a few of confirm."""
    start, stop = columns.indptr[feature_idx : feature_idx + 2]
    rows = columns.indices[start:stop]
    order = rows[np.argsort(-columns.data[start:stop], kind="stable")]
    stories = [inputs.stories[row] for row in order.tolist()]
    chosen = [story.id for story in stories if story.split != "confirm"][:SHOWN_PER_SPLIT]
    return chosen + [story.id for story in stories if story.split == "confirm"][:SHOWN_PER_SPLIT]


def _read_optional(stage: Stage, name: str) -> pa.Table | None:
    return stage.read_table(name) if stage.has(f"{name}.parquet") else None
