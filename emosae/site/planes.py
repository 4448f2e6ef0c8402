"""Planes with a meaning on which the map can lay its features: valence and arousal, the axes of the emotions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from emosae.site.cells import list_rows
from emosae.site.records import SiteData

MIN_PLACED = 3
"""Emotions that must have a place before a plane is offered."""

_SHIFT = 0.02
_UNNAMED = "a source that the run names"
_PULL = " A feature stands between the emotions that it tells, drawn to the best."


@dataclass(frozen=True, slots=True)
class Plane:
    """Two columns of the emotions, and what the page calls them: `x` and `y` name the low and the high end."""

    key: str
    columns: tuple[str, str]
    title: str
    x: tuple[str, str]
    y: tuple[str, str]
    note: str


PLANES = (
    Plane(
        "affect",
        ("valence", "arousal"),
        "valence and arousal",
        ("unpleasant", "pleasant"),
        ("still", "stirred"),
        "Across: valence, up: arousal, from \u22121 to 1, as rated by {source}.",
    ),
    Plane(
        "axes",
        ("axis1", "axis2"),
        "axes of the model",
        ("\u2212 axis 1", "axis 1 +"),
        ("\u2212 axis 2", "axis 2 +"),
        "The first two principal axes of the model\u2019s own emotion vectors; About says what they go with.",
    ),
)


def pack_planes(data: SiteData, profiles: Sequence[Sequence[float | None] | None]) -> tuple[list[Any], dict[str, Any]]:
    """The planes that this atlas can show, and columns `<key>_x`, `<key>_y` of the features; null without a place.

    Args:
        data: The atlas; columns of `emotions` that a plane needs may be missing or null.
        profiles: AUROC of every feature for the emotions in their order.
    """
    planes, columns = [], {}
    n_emotions = len(data.emotions)
    weights = weigh_emotions(profiles, n_emotions)
    for plane in PLANES:
        places = _read_places(data, plane)
        known = np.asarray(np.isfinite(places).all(axis=1))
        if known.sum() < MIN_PLACED:
            continue
        xy = place_features(weights[:, known], places[known])
        columns |= {f"{plane.key}_{axis}": xy[:, side].tolist() for side, axis in enumerate("xy")}
        about = {"key": plane.key, "title": plane.title, "x": list(plane.x), "y": list(plane.y)}
        shown = np.where(known[:, None], places, np.nan)
        note = plane.note.format(source=_find_source(data)) + _PULL
        planes.append(about | {"note": note, "emotion_x": _list(shown[:, 0]), "emotion_y": _list(shown[:, 1])})
    return planes, columns


def weigh_emotions(
    profiles: Sequence[Sequence[float | None] | None], n_emotions: int
) -> Float[np.ndarray, "feature emotion"]:
    """How much each emotion draws a feature: its AUROC above chance to the fourth power; 0 at or below chance."""
    none: list[float | None] = [None] * n_emotions
    table = np.array([none if row is None else list(row) for row in profiles], dtype=np.float64)
    return np.maximum(np.nan_to_num(table.reshape(len(profiles), n_emotions), nan=0.0) - 0.5, 0) ** 4


def place_features(
    weights: Float[np.ndarray, "feature emotion"], places: Float[np.ndarray, "emotion 2"]
) -> Float[np.ndarray, "feature 2"]:
    """Weighted middle of the emotions, with a small seeded shift that keeps twins apart; NaN where nothing draws."""
    total = weights.sum(axis=1, keepdims=True)
    shares = np.divide(weights, total, out=np.full_like(weights, np.nan), where=total > 0)
    reach = np.ptp(places, axis=0)
    return shares @ places + np.random.default_rng(0).normal(0, _SHIFT, (len(weights), 2)) * reach


def _read_places(data: SiteData, plane: Plane) -> Float[np.ndarray, "emotion 2"]:
    none = [None] * len(data.emotions)
    held = data.emotions.column_names
    read = [data.emotions[name].to_pylist() if name in held else none for name in plane.columns]
    return np.array(read, dtype=np.float64).T.reshape(len(none), 2)


def _find_source(data: SiteData) -> str:
    rows: list[Mapping[str, Any]] = [row for row in list_rows(data.pages.axes) if row.get("measure") == "valence"]
    return str(rows[0].get("source") or _UNNAMED) if rows else _UNNAMED


def _list(values: Float[np.ndarray, " emotion"]) -> list[float | None]:
    return [round(float(value), 4) if np.isfinite(value) else None for value in values]
