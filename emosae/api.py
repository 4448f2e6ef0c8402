"""emosae in a notebook: rank features, read what a run found, and write with an emotion turned, in three lines each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from emosae.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

    from emosae.interventions import Intervention
    from emosae.lm import LanguageModel
    from emosae.pipeline.inputs import Inputs

_TABLE = ".parquet"


@dataclass(frozen=True)
class FinishedRun:
    """What lies in a run directory, as far as the run has come."""

    path: Path

    @property
    def tables(self) -> list[str]:
        """Names of the tables, such as `selectivity/candidates`."""
        found = (path.relative_to(self.path) for path in self.path.rglob(f"*{_TABLE}"))
        return sorted(path.as_posix().removesuffix(_TABLE) for path in found)

    def table(self, name: str) -> pa.Table:
        """A table by name; `.to_pandas()` makes a data frame of it.

        Raises:
            UserError: The run has none of that name; those that it has are listed.
        """
        import pyarrow.parquet as pq

        path = self.path / f"{name}{_TABLE}"
        if name not in self.tables:
            raise UserError(f"{path}: no such table; this run has {', '.join(self.tables) or 'none yet'}")
        return pq.read_table(path)

    @property
    def ledger(self) -> pa.Table:
        """A row per feature and emotion: all evidence, and the verdict."""
        return self.table("ledger")

    @property
    def report(self) -> Path:
        """The report's page."""
        return self.path / "report/index.html"

    @cached_property
    def inputs(self) -> Inputs:
        """The run's model, SAEs and stories, opened when they are first asked for."""
        from emosae.pipeline.inputs import Inputs
        from emosae.runs import config_of_run
        from emosae.store import Store

        return Inputs(config_of_run(self.path), Store.existing(self.path))


def open_run(path: Path | str) -> FinishedRun:
    """What a run found.

    Raises:
        UserError: The folder is no run directory.
    """
    from emosae.store import Store

    return FinishedRun(Store.existing(Path(path)).root)


def rank(
    *,
    model: str | Path,
    sae: str | Path | Iterable[str | Path],
    stories: str | Path = "shipped",
    out: str | Path,
    neutral: str | Path | None = None,
    seed: int = 0,
) -> FinishedRun:
    """Rank the features of one SAE or of several by how well each tells an emotion; what `emosae rank` does.

    Args:
        model: A Hugging Face directory or a name on the hub.
        sae: A directory in sae-lens' format, `RELEASE:ID`, or several of these.
        stories: A file with a JSON object a line, or `shipped` for the corpus of the package.
        out: The run directory; what is finished there is not done again.
        neutral: Neutral texts, or `shipped`.
        seed: Start of every random number.

    Returns:
        The run; `.table("selectivity/candidates")` holds a row per SAE, feature and emotion.
    """
    from emosae.verbs.parts import Rank

    named = [sae] if isinstance(sae, str | Path) else list(sae)
    neutral = neutral or ("shipped" if str(stories) == "shipped" else None)
    Rank(
        model=str(model),
        sae=(tuple(str(one) for one in named),),
        stories=Path(stories),
        neutral=None if neutral is None else Path(neutral),
        out=Path(out),
        seed=seed,
    ).run()
    return open_run(out)


@dataclass(frozen=True, eq=False)
class ClampedModel:
    """A model that writes with features turned.

    Attributes:
        lm: The model.
        interventions: What is done to its residual stream at the tokens that it writes.
        dose: Added norm over the mean residual norm on stories; negative where it is taken away.
    """

    lm: LanguageModel
    interventions: tuple[Intervention, ...]
    dose: float

    def go_on(self, text: str, *, max_new_tokens: int = 60, temperature: float = 1.0, seed: int = 0) -> str:
        """What the model writes after `text`; the same seed draws the same numbers, whatever the dose."""
        return self._write(self.lm.document(text), max_new_tokens, temperature, seed)

    def answer(self, message: str, *, max_new_tokens: int = 200, temperature: float = 1.0, seed: int = 0) -> str:
        """The assistant's reply to one message."""
        prompt = self.lm.chat([{"role": "user", "content": message}])
        return self._write(prompt, max_new_tokens, temperature, seed)

    def _write(self, prompt: list[int], max_new_tokens: int, temperature: float, seed: int) -> str:
        import numpy as np

        from emosae.generation import generate
        from emosae.interventions import edit_fns

        written = generate(
            self.lm,
            [prompt],
            max_new_tokens=max_new_tokens,
            rngs=[np.random.default_rng(seed)],
            temperature=temperature,
            edits=edit_fns(self.interventions),
        )
        return written[0].text


def clamp(run: FinishedRun | Path | str, what: str | tuple[str, int], dose: float = 0.4) -> ClampedModel:
    """The model of a run with an emotion's feature turned: floored by a dose above 0, subtracted below, ablated at 0.

    Args:
        run: A run that has come as far as its selectivity.
        what: An emotion, for the features that the scenarios turned or else the best one of its candidates; or an SAE
            by its name and the index of one of its features.
        dose: Norm that is added at each token over the mean norm of the residual stream on stories; about .4 moves
            behaviour, above 1 text breaks.

    Raises:
        UserError: The run has no feature for that emotion, or no such SAE or feature.
    """
    from emosae.pipeline.dial_stage import measure_unit_norm
    from emosae.scenarios import FeatureSet

    run = run if isinstance(run, FinishedRun) else open_run(run)
    sae, feature_idx = _find_features(run, what) if isinstance(what, str) else (what[0], (what[1],))
    if sae not in run.inputs.dictionaries:
        raise UserError(f"{run.path}: has no SAE {sae!r}; it has {', '.join(run.inputs.dictionaries)}")
    dictionary = run.inputs.dictionaries[sae]
    if not all(0 <= index < dictionary.d_sae for index in feature_idx):
        raise UserError(f"SAE {sae}: features go from 0 to {dictionary.d_sae - 1}; got {feature_idx[0]}")
    norm = measure_unit_norm(run.inputs, dictionary.hook_name)
    features = FeatureSet(what if isinstance(what, str) else sae, dictionary, feature_idx, norm)
    turned = features.up(dose) if dose > 0 else features.down(-dose) if dose < 0 else features.off()
    return ClampedModel(run.inputs.lm, (turned,), dose)


def _find_features(run: FinishedRun, emotion: str) -> tuple[str, tuple[int, ...]]:
    """The features that the run's scenarios turned for an emotion, or else its best candidate."""
    if "scenarios/dials" in run.tables:
        rows = run.table("scenarios/dials").to_pylist()
        rows = [row for row in rows if row["emotion"] == emotion and row["choice"] == "first"]
        if rows:
            return rows[0]["sae"], tuple(row["feature_idx"] for row in rows)
    candidates = run.table("selectivity/candidates").to_pylist()
    rows = [row for row in candidates if row["emotion"] == emotion]
    if not rows:
        known = sorted({row["emotion"] for row in candidates})
        raise UserError(f"{run.path}: no feature for {emotion!r}; there are some for {', '.join(known) or 'none'}")
    best = min(rows, key=lambda row: (row["q_bh"], -row["auroc"]))
    return best["sae"], (best["feature_idx"],)
