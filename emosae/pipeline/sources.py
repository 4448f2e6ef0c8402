"""Finished runs as a joint atlas reads them: names that tell them apart, and which of them can be compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emosae.atlas.union import rename_saes
from emosae.errors import UserError
from emosae.files import content_hash
from emosae.pipeline.inputs import Inputs
from emosae.pipeline.page_tables import read_optional
from emosae.runs import config_of_run
from emosae.store import DONE, Store

if TYPE_CHECKING:
    import pyarrow as pa

_NEEDED = ("stories", "saes", "features", "selectivity")


@dataclass(frozen=True, eq=False)
class Source:
    """A finished run, and what it and its SAEs are called in the joint atlas."""

    name: str
    inputs: Inputs
    saes: Mapping[str, str]

    @property
    def model_hash(self) -> str:
        """Tells models apart."""
        return str(self.inputs.store.read_manifest().get("model", {}).get("weight_hash", ""))

    @property
    def reading(self) -> str:
        """Tells apart what was read, and how it was pooled: only runs that agree in it can be matched."""
        stories = self.inputs.store.stage("stories").path / "stories.jsonl"
        return content_hash(stories, self.inputs.cfg.features.skip_tokens)

    def table(self, stage: str, name: str) -> pa.Table | None:
        """A table of the run with the joint names of SAEs; None if the run has none."""
        return self.rename(read_optional(self.inputs.store.stage(stage), name))

    def rename(self, table: pa.Table | None) -> pa.Table | None:
        """A table with the joint names of SAEs."""
        return None if table is None else rename_saes(table, self.saes)

    def own_nodes(self, nodes: pa.Table) -> pa.Table:
        """The rows of the joint table that are this run's, with the run's own names."""
        import pyarrow as pa

        back = {new: old for old, new in self.saes.items()}
        mask = [name in back for name in nodes["sae"].to_pylist()]
        return rename_saes(nodes.filter(pa.array(mask, pa.bool_())), back)


def open_sources(runs: Sequence[Path]) -> list[Source]:
    """The runs with names that tell them and their SAEs apart.

    A name that several runs use gets the run's place in the list as a suffix.
    """
    opened = [_open_run(run) for run in runs]
    used = Counter(sae.name for inputs in opened for sae in inputs.cfg.saes)
    folders = [run.resolve().name for run in runs]
    sources = []
    for place, (folder, inputs) in enumerate(zip(folders, opened, strict=True), start=1):
        names = [sae.name for sae in inputs.cfg.saes]
        saes = {name: f"{name}.{place}" if used[name] > 1 else name for name in names}
        sources.append(Source(f"{folder}.{place}" if folders.count(folder) > 1 else folder, inputs, saes))
    return sources


def _open_run(run: Path) -> Inputs:
    inputs = Inputs(config_of_run(run), Store.existing(run))
    for stage in _NEEDED:
        if not (run / stage / DONE).is_file():
            raise UserError(f"{run}: its stage {stage} was not finished; `emosae report {run}` goes on from there")
    return inputs


def say_what_was_matched(groups: Sequence[Sequence[Source]]) -> tuple[str, ...]:
    """Plain sentences on what could be compared across runs; none for a single run."""
    if sum(len(group) for group in groups) == 1:
        return ()
    notes = ["The joint atlas tests nothing anew: q values and verdicts are those of each run."]
    for group in groups:
        names = _list_names(group)
        if len(group) == 1:
            continue
        if len({source.model_hash for source in group}) == 1:
            notes.append(
                f"{names} read the same stories with the same model: their features are matched by activation, "
                "and by decoder direction where they read the same hook."
            )
        else:
            notes.append(
                f"{names} read the same stories with different models: their features are matched by activation "
                "alone, because directions of two models cannot be compared."
            )
    if len(groups) > 1:
        sets = "; ".join(_list_names(group) for group in groups)
        notes.append(
            f"Read different stories, or pooled them differently: {sets}. Their features are not matched, no link and "
            "no concept crosses between them. The emotions' tree, axes and statements stand in each run's own atlas."
        )
    return tuple(notes)


def _list_names(group: Sequence[Source]) -> str:
    return " and ".join(source.name for source in group)
