"""Max-T by exchanging labels within topics: emosae's against one-hot labels times ranks, dense (BLAS) and sparse.

Activations are those of `selectivity.py`, in `--topics` topics of one size. Ours is timed from activations to the
largest z of all `--draws` draws and p of every feature and emotion. The peers get ranks and scales for nothing, do
`--sample` draws, and find the largest z only; their times are multiplied up, and `extrapolated` says by how much,
beside the record. Their largest z is compared with ours (`largest_difference`). `beyond_input_mb` is the highest memory
that ours holds beside its input, which the draws belong to. The other comparisons have a sixteenth of the features:
`maxt_unequal_topics` topics of random size, where sums are made in double precision, against those of one size;
`maxt_half_dense` features of which half the stories fire.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import measure
import selectivity


@dataclass(frozen=True)
class Problem:
    """Activations, labels, topics, and exchanges of the labels within topics."""

    acts: Any
    labels: Any
    block: Any
    draws: Any
    n_emotions: int

    def solve(self) -> Any:
        """Ours: ranks, then every draw."""
        import numpy as np

        from emosae.selectivity.permutation import permute_ranks
        from emosae.selectivity.ranks import rank_within

        tested = np.ones((self.acts.shape[1], self.n_emotions), dtype=bool)
        return permute_ranks(rank_within(self.acts, self.block), self.labels, self.draws, tested)


def main() -> None:
    """Run all comparisons."""
    arguments = measure.read_arguments(
        __doc__, stories=10_000, features=16_384, emotions=171, percent=3, scale=100, topics=100, draws=1024, sample=8
    )
    import numpy as np

    equal = np.arange(arguments.stories) % arguments.topics
    uneven = np.random.default_rng(2).integers(0, arguments.topics, arguments.stories)
    few = argparse.Namespace(**{**vars(arguments), "features": max(1, arguments.features // 16)})
    problem = draw_problem(arguments, equal, arguments.percent / 100)
    memory = {"maxt": selectivity.measure_memory(problem.solve)}
    comparison, extra = compare_peers("maxt", problem, arguments)
    share = arguments.percent / 100
    sizes = {"emosae": draw_problem(few, uneven, share), "topics of one size": draw_problem(few, equal, share)}
    solvers = {title: each.solve for title, each in sizes.items()}
    unequal = measure.run("maxt_unequal_topics", solvers, arguments.rounds)
    half, more = compare_peers("maxt_half_dense", draw_problem(few, equal, 0.5), arguments)
    measure.report("maxt", [comparison, unequal, half], arguments)
    record = {key: extra[key] | more[key] for key in extra} | {"beyond_input_mb": memory}
    for key, values in record.items():
        print(f"  {key}:", {name: f"{value:.3g}" for name, value in values.items()})
    if arguments.json is not None:
        written = json.loads(arguments.json.read_text(encoding="utf-8")) | record
        arguments.json.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")


def draw_problem(arguments: argparse.Namespace, block: Any, share: float) -> Problem:
    """Null activations by story, as `StoryFeatures` holds them."""
    import numpy as np

    from emosae.selectivity.permutation import shuffle_within

    labels = selectivity.draw_labels(arguments)
    draws = shuffle_within(labels, block, arguments.draws, np.random.default_rng(3))
    return Problem(selectivity.draw_acts(arguments, share).tocsr(), labels, block, draws, arguments.emotions)


def compare_peers(
    name: str, problem: Problem, arguments: argparse.Namespace
) -> tuple[measure.Comparison, dict[str, dict[str, float]]]:
    """Ours on all draws against the peers on the first few of them."""
    import numpy as np

    n_sampled = min(arguments.sample, arguments.draws)
    factor = arguments.draws / n_sampled
    peers = prepare_peers(problem, n_sampled)
    expected = problem.solve().largest[:n_sampled]
    differences = {f"{name}/{peer}": float(np.abs(solve() - expected).max()) for peer, solve in peers.items()}
    factors = dict.fromkeys(peers, factor)
    comparison = measure.run(name, {"emosae": problem.solve, **peers}, arguments.rounds).extrapolate(factors)
    extrapolated = {f"{name}/{peer}": factor for peer in peers}
    return comparison, {"extrapolated": extrapolated, "largest_difference": differences}


def prepare_peers(problem: Problem, n_sampled: int) -> dict[str, Callable[[], Any]]:
    """The largest z of each sampled draw, by two products of one-hot labels and rank scores."""
    import numpy as np

    from emosae.selectivity.ranks import block_weights, count_labels, null_variance, one_hot, rank_within

    ranks = rank_within(problem.acts, problem.block)
    weight, counts = block_weights(ranks), count_labels(problem.labels, problem.block, problem.n_emotions)
    offset = ranks.offset.T.tocsr().multiply(weight[problem.block]).tocsr()
    silent = ranks.silent.T @ (counts * weight[:, None])
    spread = np.sqrt(null_variance(ranks, counts))
    scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
    draws = problem.draws[:n_sampled]

    def multiply_sparse() -> Any:
        sums = (offset @ one_hot(draw, problem.n_emotions) for draw in draws)
        return np.stack([((total.toarray() + silent) * scale).max(axis=0) for total in sums])

    def multiply_dense() -> Any:
        largest = np.full((n_sampled, problem.n_emotions), -np.inf)
        labels = np.concatenate([np.eye(problem.n_emotions, dtype=np.float32)[draw] for draw in draws], axis=1)
        for start in range(0, offset.shape[0], 1024):
            rows = slice(start, start + 1024)
            total = (offset[rows].astype(np.float32).toarray() @ labels).reshape(-1, n_sampled, problem.n_emotions)
            z = (total + silent[rows, None]) * scale[rows, None]
            np.maximum(largest, z.max(axis=0), out=largest)
        return largest

    return {"dense BLAS (sampled)": multiply_dense, "csr x csr (sampled)": multiply_sparse}


if __name__ == "__main__":
    main()
