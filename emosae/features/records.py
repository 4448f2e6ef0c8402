"""The records that reading stories through a dictionary leaves behind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float, Int
from scipy.sparse import csr_array
from torch import Tensor

from emosae.store import Stage

TOP_STORIES = 8
CONTEXT_TOKENS = 12


@dataclass(frozen=True, eq=False, slots=True)
class StoryFeatures:
    """One dictionary's activations on every story, pooled over its real tokens after the skipped ones.

    `mean`, `max` and `fraction` are sparse tables with a row per story and a column per feature; an entry that is
    not stored is 0, and the three store the same entries.

    Attributes:
        sae: Name of the dictionary.
        hook_name: Where it reads.
        story_ids: The stories, in the order of the rows.
        n_tokens: Tokens that were pooled, per story.
        mean: Average activation over those tokens, silent ones included.
        max: Strongest activation.
        fraction: Share of those tokens at which the feature fires, in [0, 1].
        top: The stories where each feature is strongest (columns feature_idx, rank from 1, story_id, token_pos of
            the strongest token among the story's real tokens, value), at most 8 per feature, ties in story order.
            `before`, `token` and `after` are that token's text and that of up to 12 tokens on either side; for
            activations at every token of a story there is `token_acts`, whose tokens `token_pos` counts.
        resid_mean: Average residual over the same tokens.
    """

    sae: str
    hook_name: str
    story_ids: tuple[str, ...]
    n_tokens: Int[np.ndarray, " story"]
    mean: csr_array
    max: csr_array
    fraction: csr_array
    top: pa.Table
    resid_mean: Float[Tensor, "story d_in"]

    @property
    def d_sae(self) -> int:
        """Number of features."""
        return self.mean.shape[1]  # pyright: ignore[reportOptionalSubscript]

    def save(self, stage: Stage) -> None:
        """Write as `pooled.safetensors`, `top.parquet` and `features.json`."""
        arrays = {
            "indptr": self.mean.indptr.astype(np.int64),
            "feature_idx": self.mean.indices.astype(np.int64),
            "mean": self.mean.data,
            "max": self.max.data,
            "fraction": self.fraction.data,
            "n_tokens": self.n_tokens,
        }
        tensors = {key: torch.from_numpy(np.ascontiguousarray(array)) for key, array in arrays.items()}
        stage.write_tensors("pooled", tensors | {"resid_mean": self.resid_mean})
        stage.write_table("top", self.top)
        names = {"sae": self.sae, "hook_name": self.hook_name, "story_ids": list(self.story_ids)}
        stage.write_json("features", names | {"d_sae": self.d_sae})

    @classmethod
    def load(cls, stage: Stage) -> StoryFeatures:
        """Read what `save` wrote."""
        names, tensors = stage.read_json("features"), stage.read_tensors("pooled")
        resid_mean = tensors.pop("resid_mean")
        arrays = {key: tensor.numpy() for key, tensor in tensors.items()}
        shape = (len(names["story_ids"]), names["d_sae"])

        def table(key: str) -> csr_array:
            return csr_array((arrays[key], arrays["feature_idx"], arrays["indptr"]), shape=shape)

        return cls(
            sae=names["sae"],
            hook_name=names["hook_name"],
            story_ids=tuple(names["story_ids"]),
            n_tokens=arrays["n_tokens"],
            mean=table("mean"),
            max=table("max"),
            fraction=table("fraction"),
            top=stage.read_table("top"),
            resid_mean=resid_mean,
        )


@dataclass(frozen=True, eq=False, slots=True)
class TokenActs:
    """A story's real tokens as text, and the activations of some features at each of them, for display."""

    story_id: str
    tokens: tuple[str, ...]
    feature_idx: tuple[int, ...]
    acts: Float[Tensor, "token k"]
