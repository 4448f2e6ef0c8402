"""AUROC of every feature for every emotion: emosae's against scikit-learn, scipy, a sort in torch, and rankdata + BLAS.

Activations are uniform over stories and features: `--percent` of 100 are not zero. `--scale` is the percentage of
`--features` that is used. Peers that would take minutes or hours do a sample of features (and scikit-learn and scipy of
emotions), and their times are multiplied up to all of them: `extrapolated` says by how much, beside the record. Each
peer's sample is compared with ours (`largest_difference`). `beyond_input_mb` is the highest memory that ours holds
beside its input, the result included. The dense case is an eighth of the features, of which half the stories fire.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import measure

SIZES = {"non-zeros": (0.25, 0.5, 1.0, 2.0), "emotions": (0.25, 0.5, 1.0, 2.0)}


@dataclass(frozen=True)
class Peer:
    """How somebody else computes a table of AUROCs, and how much of it is asked for.

    Attributes:
        compute: From dense activations (story x feature), labels and the number of emotions to feature x emotion.
        n_features: Features in its sample.
        n_emotions: Emotions in its sample; None for all, which it has at once.
    """

    compute: Callable[[Any, Any, int], Any]
    n_features: int
    n_emotions: int | None = None


def main() -> None:
    """Run all comparisons."""
    arguments = measure.read_arguments(
        __doc__, draws_plot=True, stories=10_000, features=16_384, emotions=171, percent=3, scale=100
    )
    acts, labels = draw_acts(arguments, arguments.percent / 100), draw_labels(arguments)
    by_story = acts.tocsr()
    comparisons, extra = compare_peers("auroc", by_story, labels, arguments)
    layouts = {name: ours(table, labels, arguments) for name, table in (("emosae", acts), ("by story", by_story))}
    comparisons.append(measure.run("auroc_by_column", layouts, arguments.rounds))
    growth = measure_growth(arguments)
    dense = argparse.Namespace(**{**vars(arguments), "features": arguments.features // 8})
    half, more = compare_peers("auroc_half_dense", draw_acts(dense, 0.5).tocsr(), labels, dense)
    measure.report("selectivity", [*comparisons, *growth, *half], arguments)
    for key, values in (record := {key: extra[key] | more[key] for key in extra}).items():
        print(f"  {key}:", {name: f"{value:.3g}" for name, value in values.items()})
    if arguments.json is not None:
        written = json.loads(arguments.json.read_text(encoding="utf-8")) | record
        arguments.json.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    if arguments.plot is not None:
        plot_growth(growth, arguments.plot)


def draw_acts(arguments: argparse.Namespace, share: float) -> Any:
    """Story x feature by column: this share of each feature's stories, exponential single-precision values."""
    import numpy as np
    from scipy.sparse import csc_array

    rng = np.random.default_rng(0)
    n_stories, n_features = arguments.stories, max(1, arguments.features * arguments.scale // 100)
    fires = rng.binomial(n_stories, share, n_features)
    indptr = np.concatenate([[0], np.cumsum(fires)]).astype(np.int32)
    story = np.empty(indptr[-1], dtype=np.int32)
    for start, stop in itertools.pairwise(indptr.tolist()):
        story[start:stop] = np.sort(rng.choice(n_stories, stop - start, replace=False, shuffle=False))
    values = rng.standard_exponential(len(story), dtype=np.float32)
    return csc_array((values, story, indptr), shape=(n_stories, n_features))


def draw_labels(arguments: argparse.Namespace) -> Any:
    """As many stories of each emotion, or one more, in random order."""
    import numpy as np

    return np.random.default_rng(1).permutation(np.arange(arguments.stories) % arguments.emotions)


def ours(acts: Any, labels: Any, arguments: argparse.Namespace) -> Callable[[], Any]:
    """All AUROCs of a sparse table."""
    from emosae.selectivity.ranks import auroc_all

    return partial(auroc_all, acts, labels, arguments.emotions)


def compare_peers(
    name: str, acts: Any, labels: Any, arguments: argparse.Namespace
) -> tuple[list[measure.Comparison], dict[str, dict[str, float]]]:
    """Ours on all features against each peer on its sample; then the factors, differences and memory."""
    import numpy as np

    n_features, n_emotions = acts.shape[1], arguments.emotions
    compute = ours(acts, labels, arguments)
    table, memory = compute(), measure_memory(compute)
    contenders: dict[str, Callable[[], Any]] = {"emosae": compute}
    factors, differences = {"emosae": 1.0}, {}
    for title, spec in PEERS.items():
        peer = f"{title} (sampled)"
        width, asked = min(spec.n_features, n_features), min(spec.n_emotions or n_emotions, n_emotions)
        sample = acts[:, :width].toarray()
        contenders[peer] = partial(spec.compute, sample, labels, asked)
        factors[peer] = n_features / width * n_emotions / asked
        differences[f"{name}/{peer}"] = float(np.abs(contenders[peer]() - table[:width, :asked]).max())
    comparison = measure.run(name, contenders, arguments.rounds).extrapolate(factors)
    extra = {
        "extrapolated": {f"{name}/{peer}": factor for peer, factor in factors.items() if factor > 1},
        "largest_difference": differences,
        "beyond_input_mb": {name: memory},
    }
    return [comparison], extra


def measure_memory(compute: Callable[[], object]) -> float:
    """Highest memory that a call holds beside what was there before it, in MiB."""
    tracemalloc.start()
    compute()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / 2**20


def measure_growth(arguments: argparse.Namespace) -> list[measure.Comparison]:
    """Seconds of ours at a quarter, a half, all and double the non-zeros, and the emotions; each by column."""
    found = []
    for what, sizes in SIZES.items():
        contenders = {}
        for size in sizes:
            share = arguments.percent / 100 * (size if what == "non-zeros" else 1)
            changed = {"emotions": max(2, round(arguments.emotions * size))} if what == "emotions" else {}
            settings = argparse.Namespace(**{**vars(arguments), **changed})
            contenders[f"x{size:g}"] = ours(draw_acts(settings, share), draw_labels(settings), settings)
        found.append(measure.run(f"growth in {what}", contenders, arguments.rounds))
    return found


def plot_growth(growth: Sequence[measure.Comparison], file: Path) -> None:
    """Seconds against size, with the straight line through the least and the largest."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    for axis, comparison in zip(figure.subplots(1, len(growth), sharey=True), growth, strict=True):
        sizes = [float(name[1:]) for name in comparison.seconds]
        seconds = list(comparison.seconds.values())
        axis.plot(sizes, seconds, "o", label="median")
        axis.axline((sizes[0], seconds[0]), (sizes[-1], seconds[-1]), linestyle=":", label="straight line")
        axis.set(xlabel=comparison.name.removeprefix("growth in ") + ", times the size", ylim=(0, None))
    figure.axes[0].set_ylabel("seconds for all AUROCs")
    figure.axes[0].legend()
    figure.savefig(file)


def loop_scikit_learn(acts: Any, labels: Any, n_emotions: int) -> Any:
    """`roc_auc_score` of each feature and emotion by itself."""
    import numpy as np
    from sklearn.metrics import roc_auc_score

    return np.array([[roc_auc_score(labels == e, column) for e in range(n_emotions)] for column in acts.T])


def compute_mann_whitney(acts: Any, labels: Any, n_emotions: int) -> Any:
    """`mannwhitneyu` of each emotion, all features at once."""
    import numpy as np
    from scipy.stats import mannwhitneyu

    def share(positive: Any) -> Any:
        result = mannwhitneyu(acts[positive], acts[~positive], axis=0, method="asymptotic")
        return result.statistic / (positive.sum() * (~positive).sum())

    return np.stack([share(labels == emotion) for emotion in range(n_emotions)], axis=1)


def sort_in_torch(acts: Any, labels: Any, n_emotions: int) -> Any:
    """Sort every feature's stories, zeros too; mid-ranks from both ends of the ties; add them up by label."""
    import torch

    columns = torch.from_numpy(acts).T.contiguous()
    ordered = columns.sort(dim=1).values
    low, high = (torch.searchsorted(ordered, columns, right=right) for right in (False, True))
    ranks = (low + high + 1).double() / 2
    group = torch.from_numpy(labels)
    total = torch.zeros(len(columns), int(labels.max()) + 1, dtype=torch.float64).index_add_(1, group, ranks)
    return from_rank_sums(total.numpy(), labels)[:, :n_emotions]


def rank_and_multiply(acts: Any, labels: Any, n_emotions: int) -> Any:
    """scipy's `rankdata` of every feature, times the table of labels."""
    import numpy as np
    from scipy.stats import rankdata

    total = rankdata(acts, axis=0).T @ np.eye(int(labels.max()) + 1)[labels]
    return from_rank_sums(total, labels)[:, :n_emotions]


def from_rank_sums(total: Any, labels: Any) -> Any:
    """AUROC from each emotion's sum of ranks."""
    import numpy as np

    n = np.bincount(labels)
    return (total - n * (n + 1) / 2) / (n * (len(labels) - n))


PEERS = {
    "scikit-learn": Peer(loop_scikit_learn, n_features=16, n_emotions=8),
    "scipy mannwhitneyu": Peer(compute_mann_whitney, n_features=256, n_emotions=2),
    "torch sort": Peer(sort_in_torch, n_features=512),
    "rankdata + BLAS": Peer(rank_and_multiply, n_features=512),
}


if __name__ == "__main__":
    main()
