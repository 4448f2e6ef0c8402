"""What a run is asked to do: one frozen section per stage, read from TOML, and nothing unknown accepted.

Only `pipeline` reads it; stages take plain arguments. The defaults are the demo on the embedded organism.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator

from emosae.config_cluster import ClusterSection, ClusterStage, Resources
from emosae.config_saes import (
    Absolute,
    Axis,
    Corpus,
    Count,
    FeaturesSection,
    Name,
    SaeFromRelease,
    SaeOnDisk,
    SaeShipped,
    SaeSpec,
    SaeToTrain,
    Section,
    Seed,
    ShardsSection,
    SweepSection,
    TrainingSection,
)
from emosae.config_scenarios import ScenariosSection
from emosae.config_selectivity import SelectivitySection
from emosae.errors import UsageError, UserError
from emosae.stories import find_corpus

__all__ = [
    "Absolute",
    "AtlasSection",
    "Axis",
    "ClusterSection",
    "ClusterStage",
    "Count",
    "FeaturesSection",
    "ModelSection",
    "Name",
    "Resources",
    "RunConfig",
    "SaeFromRelease",
    "SaeOnDisk",
    "SaeShipped",
    "SaeSpec",
    "SaeToTrain",
    "ScenariosSection",
    "Section",
    "Seed",
    "SelectivitySection",
    "ShardsSection",
    "StageName",
    "StoriesSection",
    "SweepSection",
    "TrackingSection",
    "TrainingSection",
    "explain",
    "load_config",
    "parse_config",
    "shipped_configs",
]

ModelName = Annotated[str, AfterValidator(lambda name: str(Path(name).absolute()) if Path(name).is_dir() else name)]

StageName = Literal["stories", "saes", "features", "selectivity", "atlas", "scenarios", "report"]
"""The stages of a run, in order; each owns the folder of its name."""


class ModelSection(Section):
    """The language model."""

    name: ModelName | None = Field(default=None, description="Directory or hub name; none is the embedded organism.")
    revision: str | None = Field(default=None, description="Branch, tag or commit on the hub.")
    device: str = Field(default="cpu", description="Where it runs: cpu, cuda, cuda:1, mps.")
    dtype: Literal["float32", "bfloat16", "float16"] = Field(default="float32", description="Precision of its weights.")


class StoriesSection(Section):
    """The texts that the model reads."""

    path: Corpus | None = Field(
        default=None,
        description="Stories, one JSON object a line; `shipped` is the corpus that comes with the package, none is the "
        "organism's own evaluation stories.",
    )
    neutral: Corpus | None = Field(
        default=None, description="Neutral texts, one JSON object a line, or `shipped` for those of the package."
    )
    per_emotion: Count | None = Field(default=None, description="At most so many stories of each emotion.")
    salt: str = Field(
        default="emosae", description="Orders the topics before they are cut into discover, tune and confirm."
    )

    @property
    def files(self) -> list[Path]:
        """The files that the texts come from, with the package's own in place of `shipped`."""
        found = (self.path and find_corpus(self.path, "stories"), self.neutral and find_corpus(self.neutral, "neutral"))
        return [path for path in found if path]


class AtlasSection(Section):
    """How features are matched, grouped and placed."""

    seed: Seed = Field(default=0, description="Of the layout and of the shuffles.")
    match_by: Literal["mutual", "assignment"] = Field(
        default="mutual",
        description="What two matched features must be beside nearer than chance: each the other's nearest, or a pair "
        "of the one-to-one assignment.",
    )
    match_alpha: float = Field(
        default=0.01, gt=0, lt=1, description="Share of the features of unrelated SAEs that chance may link."
    )
    norms: Absolute | None = Field(
        default=None,
        description="Human ratings of valence and arousal: a CSV with the columns emotion, valence and arousal "
        "(-1 to 1), or a file of Warriner et al. or NRC-VAD; none is the project's own estimates.",
    )


class TrackingSection(Section):
    """Metrics go to metrics.jsonl, and to Weights & Biases if wanted."""

    wandb: Literal["disabled", "offline", "online"] = Field(
        default="disabled", description="Whether W&B gets them too."
    )
    project: str = Field(default="emosae", description="W&B project.")
    group: str | None = Field(default=None, description="W&B group.")


class RunConfig(Section):
    """Everything that a run depends on."""

    seed: Seed = Field(default=0, description="Start of every random number that is not given its own.")
    model: ModelSection = ModelSection()
    stories: StoriesSection = StoriesSection()
    saes: tuple[SaeSpec, ...] = (
        SaeToTrain(name="resid3", hook_name="blocks.3.hook_resid_post", d_sae=512, k=8, steps=900),
        SaeToTrain(name="resid2", hook_name="blocks.2.hook_resid_post"),
        SaeShipped(name="resid3-seed1", shipped="blocks.3.resid_post.seed1"),
        SaeShipped(name="resid2-seed1", shipped="blocks.2.resid_post.seed1"),
    )
    training: TrainingSection = TrainingSection()
    shards: ShardsSection = ShardsSection()
    features: FeaturesSection = FeaturesSection()
    selectivity: SelectivitySection = SelectivitySection()
    atlas: AtlasSection = AtlasSection()
    scenarios: ScenariosSection = ScenariosSection()
    tracking: TrackingSection = TrackingSection()
    sweep: SweepSection | None = Field(default=None, description="SAEs in all combinations, for `emosae submit`.")
    cluster: ClusterSection | None = Field(default=None, description="How `emosae submit` asks Slurm for jobs.")

    @model_validator(mode="after")
    def _names_tell_saes_apart(self) -> RunConfig:
        names = [sae.name for sae in self.saes]
        if not names:
            raise ValueError("saes: none given; add one with [[saes]]")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"saes: two of them have the same name: {', '.join(twice)}")
        return self

    @model_validator(mode="after")
    def _organism_is_asked_plainly(self) -> RunConfig:
        way = self.scenarios.elicitation
        if self.model.name is None and way in ("pressure", "few_shot"):
            raise ValueError(f'scenarios.elicitation = "{way}": the organism knows the plain way only; take "plain"')
        return self

    @model_validator(mode="after")
    def _given_shards_lie_somewhere(self) -> RunConfig:
        if self.training.activations == "given" and self.shards.folder is None:
            raise ValueError('training.activations = "given": where do the shards lie? add shards.folder')
        return self


def load_config(path: Path) -> RunConfig:
    """Read a TOML file, or the shipped config of that name; its paths count from the working directory."""
    shipped = shipped_configs()
    try:
        text = (path if path.exists() else shipped.get(str(path), path)).read_text(encoding="utf-8")
        values = tomllib.loads(text)
    except OSError as missing:
        hint = f"shipped configs: {', '.join(shipped)}"
        raise UserError(f"{path}: cannot be read ({missing.strerror}); {hint}") from missing
    except ValueError as broken:
        raise UsageError(f"{path}: not valid TOML: {broken}") from broken
    cfg = parse_config(values, source=str(path))
    if cfg.model.name is not None and "saes" not in values:
        raise UsageError(f"{path}: saes: a model other than the organism needs its own; add [[saes]]")
    return cfg


def shipped_configs() -> dict[str, Path]:
    """The configs that come with the package, by file name: in the wheel, or beside a checkout's package."""
    package = Path(__file__).parent
    folder = package / "configs" if (package / "configs").is_dir() else package.parent / "configs"
    return {path.name: path for path in sorted(folder.glob("*.toml"))}


def parse_config(values: dict[str, Any], *, source: str) -> RunConfig:
    """Check plain values strictly (no text for numbers); `source` is named in the error."""
    try:
        return RunConfig.model_validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as refused:
        raise UsageError(f"{source}: {explain(refused)}") from refused


def explain(refused: ValidationError) -> str:
    """What pydantic found, in one line of plain words."""
    return "; ".join(_explain(error) for error in refused.errors())


def _explain(error: Any) -> str:
    """One finding in plain words, with the key as written in the file and the nearest valid one."""
    section, keys = _walk(error["loc"])
    where = ".".join(str(key) for key in keys)
    if error["type"] == "extra_forbidden":
        return f"unknown key {where!r}{_nearest(str(keys[-1]), section)}"
    if error["type"] == "missing":
        return f"{where}: missing"
    message = error["msg"].removeprefix("Value error, ")
    return f"{where}: {message} (got {error['input']!r})" if where else message


def _walk(location: tuple[int | str, ...]) -> tuple[type[BaseModel], list[int | str]]:
    """The section that an error lies in, and its location without pydantic's union tags."""
    kinds: dict[int | str, type[BaseModel]] = {
        "path": SaeOnDisk,
        "release": SaeFromRelease,
        "shipped": SaeShipped,
        "train": SaeToTrain,
    }
    section: type[BaseModel] = RunConfig
    keys: list[int | str] = []
    for key in location:
        is_tag = len(keys) == 2 and keys[0] == "saes" and key in kinds
        field = section.model_fields.get(str(key))
        if is_tag:
            section = kinds[key]
        elif field is not None:
            section = _section_in(field.annotation) or section
        if not is_tag:
            keys.append(key)
    return section, keys


def _section_in(annotation: Any) -> type[Section] | None:
    """The section that a field holds, if it holds one, be it optional."""
    kinds = [
        kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type) and issubclass(kind, Section)
    ]
    return kinds[0] if kinds else None


def _nearest(key: str, section: type[BaseModel]) -> str:
    known = list(section.model_fields)
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; known keys: {', '.join(known)}"
