"""The sections of a config that say which SAEs there are (found, published, shipped or to be trained, one or many),
what they are trained on, and how they read the stories."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator
from tyro.conf import arg

from emosae.stories import SHIPPED

Absolute = Annotated[Path, AfterValidator(Path.absolute)]
Corpus = Annotated[Path, AfterValidator(lambda path: path if path == SHIPPED else path.absolute())]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]


class Section(BaseModel):
    """A part of the config: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SaeOnDisk(Section):
    """An SAE in a directory in sae-lens' format."""

    name: Name = Field(description="What tables and pages call it.")
    path: Absolute = Field(description="The directory.")


class SaeFromRelease(Section):
    """A published SAE that sae-lens knows."""

    name: Name = Field(description="What tables and pages call it.")
    release: str = Field(description="The release, such as gpt2-small-res-jb.")
    sae_id: str = Field(description="The SAE in it, such as blocks.8.hook_resid_pre.")


class SaeShipped(Section):
    """An SAE of the organism that comes with the package."""

    name: Name = Field(description="What tables and pages call it.")
    shipped: str = Field(description="Its name in the package.")


class SaeToTrain(Section):
    """An SAE that the run trains on what the model reads."""

    name: Name = Field(description="What tables and pages call it.")
    hook_name: str = Field(description="Where it reads the residual stream, such as blocks.3.hook_resid_post.")
    architecture: Literal["batchtopk", "topk", "jumprelu", "standard", "gated", "matryoshka_batchtopk"] = Field(
        default="batchtopk", description="The kind of SAE."
    )
    d_sae: Count = Field(default=1024, description="How many features.")
    k: Count = Field(default=24, description="How many of them fire on a token (not standard, gated).")
    steps: Count = Field(default=700, description="Training steps.")
    batch_size: Count = Field(default=2048, description="Tokens a step.")
    l1_coefficient: float = Field(default=2.0, ge=0, description="Weight of the sparsity penalty (standard, gated).")
    lr: float = Field(default=3e-3, gt=0, description="Learning rate.")
    seed: Seed = Field(default=0, description="Initial weights; the run's seed decides the order of the data.")


def _kind_of_sae(value: Any) -> str:
    keys = value if isinstance(value, dict) else getattr(type(value), "model_fields", ())
    return next((kind for kind in ("path", "release", "shipped") if kind in keys), "train")


SaeSpec = Annotated[
    Annotated[SaeOnDisk, Tag("path")]
    | Annotated[SaeFromRelease, Tag("release")]
    | Annotated[SaeShipped, Tag("shipped")]
    | Annotated[SaeToTrain, Tag("train")],
    Discriminator(_kind_of_sae),
]


class TrainingSection(Section):
    """The text that SAEs are trained on, and how its residuals come to them."""

    documents: Count = Field(
        default=4000, description="Fresh documents of the organism's text; another model's SAEs train on the stories."
    )
    activations: Literal["memory", "shards", "given"] | None = Field(
        default=None,
        description="Residuals held in memory; or written to shards and read from there; or read from shards that are "
        "in shards.folder already. If none: memory for a run, shards for `emosae submit`.",
    )


class ShardsSection(Section):
    """Residuals on disk that SAEs are trained off, see training.activations."""

    folder: Absolute | None = Field(
        default=None,
        description="Where each set of hooks, texts and settings gets a folder; if none, `shards` in the directory of "
        "the run or sweep. The very folder of shards that are given.",
    )
    dtype: Literal["bfloat16", "float16", "float32"] = Field(default="bfloat16", description="Type that is stored.")
    tasks: Count = Field(
        default=1, description="Parts that the text is dealt out to; `emosae submit` has each written by its own task."
    )
    rows: Count = Field(default=2**17, description="Most tokens in a shard, and how far tokens are mixed.")
    check_hashes: bool = Field(
        default=True,
        description="Whether a training reads all shards once at its start and compares their SHA-256; sizes and "
        "headers always are.",
    )


class FeaturesSection(Section):
    """Encoding the stories with the SAEs."""

    skip_tokens: int = Field(default=0, ge=0, description="Real tokens at the start of a story that do not count.")
    batch_tokens: Count | None = Field(
        default=None, description="Tokens in one forward pass; if none, 512 on a CPU and 16,384 on a GPU."
    )
    memory_mb: float = Field(
        default=128.0, gt=0, description="Megabytes that pooling takes beside the model, SAEs and its sparse tables."
    )
    hooks: Annotated[tuple[str, ...], arg(aliases=("--hooks",))] = Field(
        default=(),
        description="Hooks without an SAE that the layer sweep covers too; none is all blocks of the organism.",
    )
    masked_words: Count = Field(
        default=20, description="Most telling words of each emotion that are masked to see what features owe to words."
    )
    random_model: bool = Field(
        default=True, description="Whether the same model with random weights reads the stories too, as a baseline."
    )


Axis = Literal["hooks", "widths", "k", "seeds"]


class SweepSection(Section):
    """SAEs to train in all combinations: an axis without values keeps what each SAE to train says itself."""

    hooks: tuple[str, ...] = Field(default=(), description="Values of hook_name.")
    widths: tuple[Count, ...] = Field(default=(), description="Values of d_sae.")
    k: tuple[Count, ...] = Field(default=(), description="Values of k.")
    seeds: tuple[Seed, ...] = Field(default=(), description="Values of seed.")
    together: tuple[Axis, ...] = Field(
        default=(), description="Axes whose SAEs one task trains off one reading of the text; else a task trains one."
    )

    @field_validator("*")
    @classmethod
    def _each_once(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if twice := sorted({str(value) for value in values if values.count(value) > 1}):
            raise ValueError(f"given twice: {', '.join(twice)}")
        return values
