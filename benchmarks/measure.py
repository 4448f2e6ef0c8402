"""What all benchmarks share: contenders take turns, medians are compared, and the machine is written down.

A benchmark is `python benchmarks/NAME.py --json OUT`. It prints a table and writes `name`, `ratios` (how many times
longer the peer took, by comparison), `seconds` (medians, by comparison and contender), `peak_mb` (highest resident
memory of this process while any contender ran) and `machine`; `peaks_mb`, `rounds`, `cpu_seconds` (medians of processor
time, which a busy machine lengthens less) and `settings` stand beside them.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import itertools
import json
import math
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "TOKENIZERS_PARALLELISM",
    "ARROW_IO_THREADS",
)
_MB = 2**20


@dataclass(frozen=True, slots=True)
class Comparison:
    """Contenders that did the same work; the first is ours.

    Attributes:
        name: What they did.
        rounds: Seconds of each contender, round by round.
        peaks_mb: Highest resident memory of the process while each contender ran, where the system tells.
        cpu_rounds: Seconds of processor time of each contender, round by round.
    """

    name: str
    rounds: Mapping[str, Sequence[float]]
    peaks_mb: Mapping[str, float]
    cpu_rounds: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def extrapolate(self, factors: Mapping[str, float]) -> Comparison:
        """The same with the times of contenders that did a part of the work multiplied up to all of it."""

        def multiply(rounds: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
            return {key: [factors.get(key, 1.0) * seconds for seconds in times] for key, times in rounds.items()}

        return replace(self, rounds=multiply(self.rounds), cpu_rounds=multiply(self.cpu_rounds))

    @property
    def seconds(self) -> dict[str, float]:
        """Median of each contender."""
        return {contender: statistics.median(times) for contender, times in self.rounds.items()}

    @property
    def ratios(self) -> dict[str, float]:
        """How many times longer peers took than ours: the first by the comparison's name, others with their own too."""
        (_, ours), *peers = self.seconds.items()
        names = [self.name, *(f"{self.name}: {peer}" for peer, _ in peers[1:])][: len(peers)]
        return {name: theirs / ours for name, (_, theirs) in zip(names, peers, strict=True)}


def read_arguments(
    description: str | None, *, draws_plot: bool = False, quick: Mapping[str, int] | None = None, **settings: int
) -> argparse.Namespace:
    """Flags of a benchmark: `--json --rounds --threads` and one per setting; sets the threads before torch is there.

    `draws_plot` adds `--plot`, the file that the benchmark draws its figure to; `quick` adds `--quick`, with other
    defaults, which shows that the benchmark runs and no more.
    """
    parser = argparse.ArgumentParser(description=(description or "").split("\n")[0])
    parser.add_argument("--json", type=Path, metavar="OUT", help="where to write the result")
    if quick is not None:
        parser.add_argument("--quick", action="store_true", help="a small run that shows nothing but that it runs")
        settings |= quick if "--quick" in sys.argv else {}
    rounds = settings.pop("rounds", 3)
    parser.add_argument("--rounds", type=int, default=rounds, help=f"times that each contender runs (default {rounds})")
    parser.add_argument("--threads", type=int, default=1, help="threads that each contender may use (default 1)")
    if draws_plot:
        parser.add_argument("--plot", type=Path, metavar="FILE", help="where to draw the growth")
    for name, default in settings.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default, help=f"default {default}")
    arguments = parser.parse_args()
    limit_threads(arguments.threads)
    return arguments


def limit_threads(n_threads: int) -> None:
    """Give every library that counts in this process `n_threads`; call it before any of them is imported."""
    if "torch" in sys.modules or "numpy" in sys.modules:
        raise RuntimeError("threads must be limited before torch and numpy are imported")
    for name in _THREAD_VARIABLES:
        os.environ[name] = str(n_threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if n_threads > 1 else "false"
    os.environ["HF_HUB_OFFLINE"] = "1"
    torch, arrow = importlib.import_module("torch"), importlib.import_module("pyarrow")
    torch.set_num_threads(n_threads)
    arrow.set_cpu_count(n_threads)


def run(name: str, contenders: Mapping[str, Callable[[], object]], rounds: int = 3) -> Comparison:
    """Time contenders that do the same work, ours first.

    Each runs once unmeasured; then all run once a round, and each round begins with another of them.
    """
    order = list(contenders)
    times: dict[str, list[float]] = {contender: [] for contender in order}
    cpu_times: dict[str, list[float]] = {contender: [] for contender in order}
    peaks = dict.fromkeys(order, 0.0)
    for contender in order:
        contenders[contender]()
    for number in range(rounds):
        first = number % len(order)
        for contender in order[first:] + order[:first]:
            gc.collect()
            _forget_peak()
            start, cpu_start = time.perf_counter(), time.process_time()
            contenders[contender]()
            times[contender].append(time.perf_counter() - start)
            cpu_times[contender].append(time.process_time() - cpu_start)
            peaks[contender] = max(peaks[contender], _read_peak())
    return Comparison(name, times, peaks, cpu_times)


def run_in_turns(
    name: str, contenders: Mapping[str, Callable[[], Iterable[object]]], rounds: int = 3, *, n_unmeasured: int = 1
) -> Comparison:
    """Time contenders that do the same work bit by bit, ours first: each does a bit in turn, so that all meet the same
    weather. `rounds` of the comparison holds every bit but the first `n_unmeasured` of each round.

    Each call of a contender gives its bits anew; a round ends when one of them has none left.
    """
    order = list(contenders)
    times: dict[str, list[float]] = {contender: [] for contender in order}
    cpu_times: dict[str, list[float]] = {contender: [] for contender in order}
    peaks = dict.fromkeys(order, 0.0)
    for number in range(rounds):
        gc.collect()
        bits = {contender: iter(contenders[contender]()) for contender in order}
        for turn in itertools.count(number):
            took: dict[str, tuple[float, float]] = {}
            first = turn % len(order)
            for contender in order[first:] + order[:first]:
                _forget_peak()
                start, cpu_start = time.perf_counter(), time.process_time()
                if next(bits[contender], None) is None:
                    break
                took[contender] = time.perf_counter() - start, time.process_time() - cpu_start
                peaks[contender] = max(peaks[contender], _read_peak())
            if len(took) < len(order):
                break
            if turn - number >= n_unmeasured:
                for contender, (seconds, cpu_seconds) in took.items():
                    times[contender].append(seconds)
                    cpu_times[contender].append(cpu_seconds)
    return Comparison(name, times, peaks, cpu_times)


def compare_pairs(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """How many times longer theirs took, bit against bit: the median, and its 95% interval by order statistics."""
    ratios = sorted(b / a for a, b in zip(ours, theirs, strict=True))
    n, below, outside = len(ratios), 0, 0.5 ** len(ratios)
    while outside + math.comb(n, below + 1) * 0.5**n <= 0.025 and below + 1 < n // 2:
        below += 1
        outside += math.comb(n, below) * 0.5**n
    return statistics.median(ratios), ratios[below], ratios[-1 - below]


def _forget_peak() -> None:
    """Linux can count the highest resident memory anew; elsewhere it is that of the process so far."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")


def _read_peak() -> float:
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) / 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _MB


def report(
    name: str, comparisons: Sequence[Comparison], arguments: argparse.Namespace, **more: Mapping[str, Any]
) -> None:
    """Print the table; write the record, and what else it should hold, where `--json` says."""
    record = _as_record(name, comparisons, arguments) | more
    width = max(len(key) for key in record["seconds"])
    print(f"{name}: medians of {arguments.rounds} rounds, {arguments.threads} thread(s), {record['settings']}")
    for comparison in comparisons:
        for contender, seconds in comparison.seconds.items():
            spread = "-".join(f"{pick(comparison.rounds[contender]):.3g}" for pick in (min, max))
            peak = comparison.peaks_mb[contender]
            cpu = statistics.median(comparison.cpu_rounds.get(contender, [math.nan]))
            times = f"{seconds:9.4g} s  ({spread} s, cpu {cpu:.3g} s)"
            print(f"  {comparison.name + '/' + contender:{width}}  {times}  {peak:7.0f} MB")
        for key, ratio in comparison.ratios.items():
            print(f"  {key:{width}}  {ratio:9.2f} x")
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _as_record(name: str, comparisons: Sequence[Comparison], arguments: argparse.Namespace) -> dict[str, Any]:
    peaks = {f"{one.name}/{key}": value for one in comparisons for key, value in one.peaks_mb.items()}
    fixed = ("json", "plot", "rounds", "threads")
    return {
        "name": name,
        "ratios": {key: value for one in comparisons for key, value in one.ratios.items()},
        "seconds": {f"{one.name}/{key}": value for one in comparisons for key, value in one.seconds.items()},
        "peak_mb": max(peaks.values()),
        "machine": describe_machine(),
        "peaks_mb": peaks,
        "cpu_seconds": {
            f"{one.name}/{key}": statistics.median(times)
            for one in comparisons
            for key, times in one.cpu_rounds.items()
        },
        "rounds": {f"{one.name}/{key}": list(times) for one in comparisons for key, times in one.rounds.items()},
        "settings": {key: value for key, value in vars(arguments).items() if key not in fixed},
    }


def describe_machine() -> dict[str, Any]:
    """Processor, memory, load and versions; a load near the number of cores or above makes times worth little."""
    versions = {name: _version(name) for name in ("torch", "transformers", "transformer_lens", "sae_lens", "emosae")}
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load": [round(value, 2) for value in os.getloadavg()],
        "niceness": os.nice(0),
        "threads": int(os.environ.get("OMP_NUM_THREADS", "0")),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return names[0].partition(":")[2].strip() if names else platform.processor()


def _version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package.replace("_", "-"))
    except PackageNotFoundError:
        return None
