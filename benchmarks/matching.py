"""Nearest neighbours both ways, and the assignment: ours against a bare matrix product and other people's searches.

Two dictionaries of `--features` x `--width` each; the second is the first permuted and blurred, but for a quarter of
its rows that are new. `matching`: mutual neighbours by ours in float32 (and, if the processor multiplies bfloat16, by
ours screened in it) against the bare product in the same tiles, in which nothing is looked for, scikit-learn and faiss
(if it is installed; it is no dependency). Both searches are asked for each row's nearest in both directions. Peers get
`--peer-rows` of the first dictionary's rows (0 is all) and their times are multiplied up. `recall` is the share of the
nearest rows of either side that agree with scikit-learn's. `assignment`: ours, one to one, after the neighbour pass,
and `gap`, the most by which its total similarity above a floor falls short of the best, as a share. `assignment of N`:
the same for dictionaries of `--hungarian` rows against scipy's dense Hungarian method, which has the product for
nothing.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from collections.abc import Callable
from typing import Any

import measure


def main() -> None:
    """Run both comparisons."""
    arguments = measure.read_arguments(
        __doc__, features=16_384, width=2048, peer_rows=2048, hungarian=2048, memory_mb=256
    )
    a, b = draw_rows(arguments)
    neighbours, recall = compare_neighbours(a, b, arguments)
    assignment, gap = time_assignment(a, b, arguments)
    measure.report("matching", [neighbours, assignment, compare_assignments(arguments)], arguments)
    print("  recall:", recall)
    print("  gap:", gap)
    if arguments.json is not None:
        record = json.loads(arguments.json.read_text(encoding="utf-8")) | {"recall": recall, "gap": gap}
        arguments.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def draw_rows(arguments: argparse.Namespace) -> tuple[Any, Any]:
    """Unit rows of both dictionaries."""
    import numpy as np

    rng = np.random.default_rng(0)
    shape = (arguments.features, arguments.width)
    a = rng.standard_normal(shape, dtype=np.float32)
    b = a[rng.permutation(len(a))] + np.float32(0.7) * rng.standard_normal(shape, dtype=np.float32)
    b[: len(b) // 4] = rng.standard_normal((len(b) // 4, shape[1]), dtype=np.float32)
    return tuple(rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (a, b))


def compare_neighbours(a: Any, b: Any, arguments: argparse.Namespace) -> tuple[measure.Comparison, dict[str, float]]:
    """Mutual neighbours; what the peers find is what ours is checked against."""
    import numpy as np
    import torch

    from emosae.matching.nearest import Products, find_nearest

    ours = {"emosae": Products(arguments.memory_mb)}
    if torch.backends.cpu.get_cpu_capability().startswith("AVX512") or torch.cuda.is_available():
        ours["emosae, screened in bfloat16"] = Products(arguments.memory_mb, torch.bfloat16)
    contenders: dict[str, Callable[[], Any]] = {"emosae": lambda: find_nearest(a, b, how=ours["emosae"])}
    contenders["bare product"] = lambda: multiply(a, b)
    contenders |= {name: lambda how=how: find_nearest(a, b, how=how) for name, how in ours.items() if name != "emosae"}
    n_peer = arguments.peer_rows or len(a)
    peers = prepare_peers(a[:n_peer], a, b)
    comparison = measure.run("matching", contenders | peers, arguments.rounds)
    forward, back = peers["scikit-learn"]()
    found = {name: contenders[name]() for name in ours}
    recall = {
        name: float(np.mean([*(one.to_b[:n_peer, 0] == forward), *(one.to_a[:n_peer] == back)]))
        for name, one in found.items()
    }
    return comparison.extrapolate(dict.fromkeys(peers, len(a) / n_peer)), recall


def multiply(a: Any, b: Any) -> None:
    """Every tile of the product, thrown away."""
    import torch

    left, right = torch.from_numpy(a), torch.from_numpy(b)
    for start in range(0, len(a), 2048):
        for first in range(0, len(b), 2048):
            left[start : start + 2048] @ right[first : first + 2048].T  # pyright: ignore[reportUnusedExpression]


def prepare_peers(some: Any, a: Any, b: Any) -> dict[str, Callable[[], Any]]:
    """The nearest row of b to some rows of a, and of a to as many of b."""
    from sklearn.neighbors import NearestNeighbors

    def ask_sklearn() -> tuple[Any, Any]:
        asked = ((b, some), (a, b[: len(some)]))
        searches = [(NearestNeighbors(n_neighbors=1, algorithm="brute").fit(table), rows) for table, rows in asked]
        return tuple(search.kneighbors(rows, return_distance=False)[:, 0] for search, rows in searches)

    peers: dict[str, Callable[[], Any]] = {"scikit-learn": ask_sklearn}
    if importlib.util.find_spec("faiss") is None:
        print("faiss is not installed and is left out (pip install faiss-cpu)")
        return peers
    faiss = importlib.import_module("faiss")

    def ask_faiss() -> None:
        for table, rows in ((b, some), (a, b[: len(some)])):
            index = faiss.IndexFlatIP(table.shape[1])
            index.add(table)
            index.search(rows, 1)

    return peers | {"faiss": ask_faiss}


def time_assignment(a: Any, b: Any, arguments: argparse.Namespace) -> tuple[measure.Comparison, dict[str, float]]:
    """Ours on all rows, the neighbours being there already, and how far it may lie from the best."""
    from emosae.matching.assignment import CANDIDATES, assign_nearest
    from emosae.matching.nearest import find_nearest

    nearest = find_nearest(a, b, k=CANDIDATES)
    gap = {f"above {floor:g}": assign_nearest(nearest, floor).gap for floor in (0.0, 0.2)}
    return measure.run("assignment", {"emosae": lambda: assign_nearest(nearest, 0.0)}, arguments.rounds), gap


def compare_assignments(arguments: argparse.Namespace) -> measure.Comparison:
    """Ours after its neighbour pass against scipy's after the whole product, on as many rows as are asked for."""
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    from emosae.matching.assignment import CANDIDATES, assign_nearest
    from emosae.matching.nearest import find_nearest

    a, b = draw_rows(argparse.Namespace(**vars(arguments) | {"features": arguments.hungarian}))
    nearest = find_nearest(a, b, k=CANDIDATES)
    worth = np.maximum(a @ b.T, 0)
    contenders = {
        "emosae": lambda: assign_nearest(nearest, 0.0),
        "scipy, dense": lambda: linear_sum_assignment(worth, maximize=True),
    }
    return measure.run(f"assignment of {arguments.hungarian}", contenders, arguments.rounds)


if __name__ == "__main__":
    main()
