"""The geometry of the emotions: how alike they are, their tree, their axes, and what can be said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from emosae.atlas.axes import LENGTH, describe_axes, place_on_axes
from emosae.atlas.geometry import cluster_emotions, place_emotions
from emosae.atlas.profiles import Profiles, profile_by_features, profile_by_vectors
from emosae.atlas.statements import judge_statements
from emosae.atlas.tree import build_tree
from emosae.errors import UserError
from emosae.features import StoryFeatures
from emosae.selectivity import Selectivity
from emosae.stories import Norm, load_taxonomy

N_DRAWS = 400
N_EXCHANGES = 9999
ESTIMATES = "this project's estimates"


@dataclass(frozen=True, eq=False, slots=True)
class Geometry:
    """Tables about the emotions.

    Attributes:
        emotions: A row per emotion, in the order of names: `x, y`, `order` along the tree's leaves, `cluster`,
            `valence, arousal` (-1 to 1; null where unknown), `axis1, axis2` (scores of its vector on the first two
            principal axes, in units of residuals at length 1), `story_length` (mean tokens of its stories).
        similarity: A row per pair of emotions: `by_features` and `by_vectors`, cosines in [-1, 1].
        tree: A row per merge; see `build_tree`.
        axes: A row per axis and measure; see `describe_axes`.
        statements: A row per statement; see `judge_statements`.
    """

    emotions: pa.Table
    similarity: pa.Table
    tree: pa.Table
    axes: pa.Table
    statements: pa.Table


def measure_geometry(
    selectivity: Selectivity,
    features: Sequence[StoryFeatures],
    *,
    rng: np.random.Generator,
    alpha: float = 0.05,
    vector_hook: str | None = None,
    norms: Mapping[str, Norm] | None = None,
) -> Geometry:
    """Compare the emotions by the features that tell them and by their vectors.

    Args:
        selectivity: The ranking.
        features: Activations and residuals of its stories.
        rng: Draws topics, exchanges and sets.
        alpha: Level at which a candidate counts as discovered.
        vector_hook: Hook of an SAE whose residuals the vectors are taken from; the last SAE's if none.
        norms: Human ratings by word; without them valence and arousal are this project's own estimates.

    Raises:
        UserError: Norms that hold none of the emotions.
    """
    resid = next((one for one in features if one.hook_name == vector_hook), features[-1]).resid_mean
    by_features = profile_by_features(selectivity, features, alpha)
    by_vectors = profile_by_vectors(selectivity.stories, resid.detach().cpu().double().numpy())
    measures = rate_emotions(by_features.emotions, norms)
    measures[LENGTH] = _mean_length(selectivity.stories, features[0], by_features.emotions)
    scores, variance = place_on_axes(by_vectors.centre(), measures)
    rated = ESTIMATES if norms is None else next(iter(norms.values())).source
    sources = {name: "mean tokens of its stories" if name == LENGTH else rated for name in measures}
    return Geometry(
        emotions=_tabulate_emotions(by_features, measures, scores),
        similarity=_tabulate_pairs(by_features, by_vectors),
        tree=build_tree(by_features, by_vectors, n_draws=N_DRAWS, rng=rng),
        axes=describe_axes(scores, variance, measures, sources, n_draws=N_EXCHANGES, rng=rng),
        statements=judge_statements(by_features, by_vectors, measures["valence"], rng=rng),
    )


def rate_emotions(
    emotions: Sequence[str], norms: Mapping[str, Norm] | None
) -> dict[str, Float[np.ndarray, " emotion"]]:
    """Valence and arousal of each emotion in [-1, 1], NaN where unknown; norms and estimates are never mixed."""
    source = load_taxonomy() if norms is None else norms
    known = [source.get(emotion) or source.get(emotion.lower()) for emotion in emotions]
    if norms is not None and not any(known):
        raise UserError(f"atlas.norms: rates none of the run's emotions: {', '.join(emotions)}")
    return {
        name: np.array([np.nan if one is None else getattr(one, name) for one in known], dtype=np.float64)
        for name in ("valence", "arousal")
    }


def _mean_length(stories: pa.Table, table: StoryFeatures, emotions: Sequence[str]) -> Float[np.ndarray, " emotion"]:
    own = np.array(stories["emotion"].to_pylist())
    return np.array([table.n_tokens[own == emotion].mean() for emotion in emotions], dtype=np.float64)


def _tabulate_emotions(
    by_features: Profiles,
    measures: Mapping[str, Float[np.ndarray, " emotion"]],
    scores: Float[np.ndarray, "emotion 2"],
) -> pa.Table:
    cosine = by_features.compare()
    places, (order, cluster) = place_emotions(cosine), cluster_emotions(cosine)
    columns = {"x": places[:, 0], "y": places[:, 1], "order": order, "cluster": cluster}
    columns |= {**measures, "axis1": scores[:, 0], "axis2": scores[:, 1]}
    return pa.table(
        {"emotion": pa.array(by_features.emotions, pa.string())}
        | {name: pa.array(values, from_pandas=True) for name, values in columns.items()}
    )


def _tabulate_pairs(by_features: Profiles, by_vectors: Profiles) -> pa.Table:
    first, second = np.triu_indices(len(by_features.emotions), 1)
    names = np.array(by_features.emotions)
    return pa.table(
        {
            "emotion_a": pa.array(names[first].tolist(), pa.string()),
            "emotion_b": pa.array(names[second].tolist(), pa.string()),
            "by_features": by_features.compare()[first, second],
            "by_vectors": by_vectors.compare()[first, second],
        }
    )
