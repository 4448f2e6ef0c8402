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
from emosae.config_selectivity import SelectivitySection
from emosae.errors import UsageError, UserError
from emosae.stories import SHIPPED, find_corpus

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
Corpus = Annotated[Path, AfterValidator(lambda path: path if path == SHIPPED else path.absolute())]

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


class ScenariosSection(Section):
    """What the model does while features are turned."""

    enabled: tuple[Literal["conversation", "impossible_code"], ...] = Field(
        default=("conversation", "impossible_code"), description="Which scenarios run."
    )
    tasks: Corpus | None = Field(
        default=None,
        description="Programming tasks, one JSON object a line; `shipped` is the package's Python tasks, none is the "
        "organism's own.",
    )
    conversations: Absolute | None = Field(
        default=None, description="Conversations, one JSON object a line; none is the shipped ones."
    )
    conversation_dials: tuple[str, ...] = Field(
        default=("afraid", "loving"),
        description="Emotions whose dials are turned in the conversations that expect them; none turns nothing there.",
    )
    conversation_decoys: tuple[str, ...] = Field(
        default=("proud",), description="Emotions whose dials are turned there as controls."
    )
    conversation_replies: Count = Field(default=2, description="Replies to each of these conversations in each arm.")
    reply_mark: str = Field(
        default="", description="What stands before the answer of a model that thinks aloud first, such as </think>."
    )
    n_tasks: Count = Field(default=100, description="Impossible tasks, where the organism's own are used.")
    n_solvable: Count = Field(default=20, description="Solvable controls, where the organism's own are used.")
    n_tune: int = Field(
        default=20,
        ge=0,
        description="Impossible tasks that are kept apart to measure the untouched rate before the plan is sealed, where "
        "the organism's own are used; of a file a fifth is, if it has 25 or more.",
    )
    smallest_effect: float = Field(
        default=0.15, gt=0, lt=1, description="Change of the rate that should be shown in four runs of five; for the plan."
    )
    episodes: Count = Field(default=200, description="Episodes per condition.")
    max_attempts: Count = Field(default=3, description="Attempts at a task in an episode.")
    dose: float = Field(default=0.40, gt=0, description="Added norm over the mean residual norm, at the primary dose.")
    other_doses: tuple[float, ...] = Field(
        default=(0.20,), description="Further doses of targets and opponents, for the dose-response."
    )
    composure_doses: tuple[float, ...] = Field(
        default=(0.10, 0.60), description="Further doses of opponents alone: how much they protect, at what price."
    )
    composure_episodes: Count = Field(default=100, description="Episodes at each of those doses, at most.")
    targets: tuple[str, ...] = Field(default=("desperate",), description="Emotions expected to raise the behaviour.")
    opponents: tuple[str, ...] = Field(default=("calm",), description="Emotions expected to lower it.")
    decoys: tuple[str, ...] = Field(
        default=("proud", "curious", "afraid", "guilty"), description="Emotions expected to leave it alone."
    )
    random_sets: int = Field(default=3, ge=0, description="Random feature sets matched to the target.")
    mediation_episodes: int = Field(default=80, ge=0, description="Episodes of each loop with features held; 0: none.")
    way_out: bool = Field(
        default=False, description="Add an arm in which the model may say that a task cannot be done."
    )
    workers: Count = Field(default=2, description="Sandboxes at a time.")
    program_seconds: float = Field(default=5.0, gt=0, description="What a program has for loading and all its tests.")
    unsafe_no_sandbox: bool = Field(default=False, description="Run the model's programs without bubblewrap.")

    @model_validator(mode="after")
    def _one_role_each(self) -> ScenariosSection:
        roles = [*self.targets, *self.opponents, *self.decoys]
        if twice := sorted({emotion for emotion in roles if roles.count(emotion) > 1}):
            raise ValueError(f"an emotion may be target, opponent or decoy, not several: {', '.join(twice)}")
        return self


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
