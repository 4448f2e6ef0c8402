"""One atlas of several finished runs, of whatever models and SAEs; nothing is changed in the runs.

Features are matched only among runs that read the same stories in the same way: by activation, and by decoder direction
where the model is the same too. Everything else stands side by side, and a note on the page says so.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emosae.atlas import Atlas, build_atlas
from emosae.atlas.union import MAP_TABLES, join_maps, merge_rankings, rename_saes, stack
from emosae.errors import UserError
from emosae.ledger import build_ledger
from emosae.matching import Criteria
from emosae.organism.planted import name_planted
from emosae.pipeline.connection_tables import choose_vector_hook
from emosae.pipeline.page_stages import read_arms, read_examples
from emosae.pipeline.page_tables import gather_page_tables, tabulate_tokens
from emosae.pipeline.sources import Source, open_sources, say_what_was_matched
from emosae.selectivity import Selectivity
from emosae.site import Example, PageTables, SiteData, write_site
from emosae.store import DONE, Stage
from emosae.stories import load_norms

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger(__name__)

_GEOMETRY = ("tree", "axes", "statements")
_BY_FEATURE = ("tokens", "connections", "replication", "comparisons")


def join_runs(runs: Sequence[Path], out: Path) -> Path:
    """Write the pages of a joint atlas into `out` and return the first.

    Raises:
        UserError: A directory that is no run, a run that was not finished, or an `out` that holds something else.
    """
    _refuse_foreign(out)
    sources = open_sources(runs)
    groups: dict[str, list[Source]] = defaultdict(list)
    for source in sources:
        groups[source.reading].append(source)
    atlases = [_map_group(group) for group in groups.values()]
    rng = np.random.default_rng([sources[0].inputs.cfg.atlas.seed, 7])
    tables = _tables_of(atlases[0]) if len(atlases) == 1 else join_maps([_tables_of(one) for one in atlases], rng)
    geometry = {name: getattr(atlases[0], name) if len(atlases) == 1 else None for name in _GEOMETRY}
    data = _describe(sources, tables, geometry, say_what_was_matched(list(groups.values())))
    return write_site(data, Stage(out))


def _refuse_foreign(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; give a directory for the atlas")
    if out.is_dir() and any(out.iterdir()) and not (out / "data" / "atlas.js").is_file():
        raise UserError(f"{out}: holds something that is no atlas; give another directory")


def _map_group(group: Sequence[Source]) -> Atlas:
    """The atlas of runs that read the same stories; that of a single run is taken as it is, if it is whole."""
    first = group[0].inputs
    stage = first.store.stage("atlas")
    is_whole = stage.has(DONE) and all(stage.has(f"{field.name}.parquet") for field in fields(Atlas))
    if len(group) == 1 and is_whole:
        held = Atlas.load(stage)
        return Atlas(**{field.name: group[0].rename(getattr(held, field.name)) for field in fields(Atlas)})
    _log.info("matching the features of %s", ", ".join(source.name for source in group))
    spaces = {source.model_hash for source in group}
    features, dictionaries = [], {}
    for source in group:
        space = f"{source.model_hash}:" if len(spaces) > 1 else ""  # hooks of two models must not look alike
        for table in source.inputs.features:
            name = source.saes[table.sae]
            features.append(replace(table, sae=name, hook_name=f"{space}{table.hook_name}"))
            dictionaries[name] = source.inputs.dictionaries[table.sae]
    rankings = [_rename_ranking(source.inputs.selectivity, source) for source in group]
    norms, hook = first.cfg.atlas.norms, choose_vector_hook(first)
    if hook is not None and len(spaces) > 1:
        hook = f"{group[0].model_hash}:{hook}"
    atlas = build_atlas(
        merge_rankings(rankings),
        features,
        dictionaries,
        rng=np.random.default_rng([first.cfg.atlas.seed, 7]),
        alpha=first.cfg.selectivity.alpha,
        criteria=Criteria(alpha=first.cfg.atlas.match_alpha, rule=first.cfg.atlas.match_by),
        vector_hook=hook,
        norms=None if norms is None else load_norms(norms),
    )
    return replace(atlas, nodes=_strip_spaces(atlas.nodes)) if len(spaces) > 1 else atlas


def _rename_ranking(ranking: Selectivity, source: Source) -> Selectivity:
    tables = {name: source.rename(getattr(ranking, name)) for name in ("candidates", "summary", "profiles")}
    return replace(ranking, **tables)


def _strip_spaces(nodes: pa.Table) -> pa.Table:
    import pyarrow as pa

    hooks = [name.partition(":")[2] for name in nodes["hook_name"].to_pylist()]
    return nodes.set_column(nodes.column_names.index("hook_name"), "hook_name", pa.array(hooks, pa.string()))


def _tables_of(atlas: Atlas) -> dict[str, pa.Table]:
    return {name: getattr(atlas, name) for name in MAP_TABLES}


def _describe(
    sources: Sequence[Source], tables: Mapping[str, Any], geometry: Mapping[str, Any], notes: Sequence[str]
) -> SiteData:
    """Everything that the pages show, of all runs."""
    several = len(sources) > 1
    examples: list[Example] = []
    for source in sources:
        own = read_examples(source.inputs, source.own_nodes(tables["nodes"]))
        examples += [replace(example, sae=source.saes[example.sae]) for example in own]
    titles = dict.fromkeys(source.inputs.model_title for source in sources)
    own_notes = [f"{source.name}: {note}" if several else note for source in sources for note in _notes_of(source)]
    return SiteData(
        model=" and ".join(titles),
        synthetic=all(source.inputs.is_organism for source in sources),
        manifest=_describe_runs(sources) if several else sources[0].inputs.store.read_manifest(),
        saes=stack([_tabulate_saes(source, several) for source in sources]),
        ledger=stack([_read_ledger(source, tables["links"]) for source in sources]),
        examples=examples,
        baselines=stack([table for source in sources if (table := source.table("selectivity", "baselines"))]),
        scenarios={
            f"{name} ({source.name})" if several else name: table
            for source in sources
            for name, table in read_arms(source.inputs.store).items()
        },
        planted={name: told for source in sources for name, told in _planted(source).items()},
        notes=(*notes, *own_notes),
        pages=_join_pages(sources, tables["nodes"], geometry),
        **tables,
    )


def _planted(source: Source) -> Mapping[str, str]:
    truth = source.inputs.truth
    return {} if truth is None else name_planted(truth)


def _notes_of(source: Source) -> list[str]:
    scenarios = source.inputs.store.stage("scenarios")
    played = scenarios.read_json("notes") if scenarios.has("notes.json") else []
    return [*source.inputs.selectivity.notes, *played]


def _describe_runs(sources: Sequence[Source]) -> dict[str, Any]:
    return {source.name: {"model": source.inputs.model_title, "weight_hash": source.model_hash} for source in sources}


def _tabulate_saes(source: Source, several: bool) -> pa.Table:
    import pyarrow as pa

    table = source.inputs.store.stage("saes").read_table("saes")
    names = [source.saes.get(name, name) for name in table["name"].to_pylist()]
    table = table.set_column(table.column_names.index("name"), "name", pa.array(names, pa.string()))
    return table.append_column("run", pa.array([source.name] * len(table), pa.string())) if several else table


def _read_ledger(source: Source, links: pa.Table) -> pa.Table:
    """The run's own ledger; of a run that stopped before its report, what the ranking alone allows to be said."""
    if source.inputs.store.home.has("ledger.parquet"):
        return rename_saes(source.inputs.store.home.read_table("ledger"), source.saes)
    ranking = _rename_ranking(source.inputs.selectivity, source)
    return build_ledger(ranking.candidates, profiles=ranking.profiles, links=links)


def _gather_pages(source: Source, nodes: pa.Table) -> PageTables:
    """The run's own tables; the tokens that directions raise are read for features that are new to its own atlas."""
    import pyarrow as pa

    found = gather_page_tables(source.inputs, nodes)
    held = {node for table in (found.tokens,) if table is not None for node in _list_nodes(table)}
    fresh = nodes.filter(pa.array([node not in held for node in _list_nodes(nodes)], pa.bool_()))
    if found.tokens is not None and not len(fresh):
        return found
    read = tabulate_tokens(source.inputs, fresh)
    return replace(found, tokens=read if found.tokens is None else stack([found.tokens, read]))


def _list_nodes(table: pa.Table) -> list[tuple[str, int]]:
    return list(zip(*(table[name].to_pylist() for name in ("sae", "feature_idx")), strict=True))


def _join_pages(sources: Sequence[Source], nodes: pa.Table, geometry: Mapping[str, Any]) -> PageTables:
    """What single pages show; episodes and conversations of several runs stay in each run's own pages."""
    found = [_gather_pages(source, source.own_nodes(nodes)) for source in sources]
    if len(found) == 1:
        return replace(found[0], **geometry)
    joint: dict[str, Any] = {
        "histograms": [
            replace(one, sae=source.saes[one.sae])
            for source, pages in zip(sources, found, strict=True)
            for one in pages.histograms
        ],
        "neuronpedia": {
            source.saes[name]: key
            for source, pages in zip(sources, found, strict=True)
            for name, key in pages.neuronpedia.items()
        },
    }
    for name in _BY_FEATURE:
        pairs = zip(sources, found, strict=True)
        tables = [table for source, pages in pairs if (table := source.rename(getattr(pages, name))) is not None]
        joint[name] = stack(tables) if tables else None
    return PageTables(**joint, **geometry)
