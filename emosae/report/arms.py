"""The arms of the impossible-code experiment as the report shows them: grouped, named, and coloured by expectation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from emosae.report.figures import Estimate, MarkStyle
from emosae.report.records import ReportData, Row, read_estimate, read_number

SHAPES = {"up": "^", "down": "v", "off": "s"}
GROUPS = ("untouched", "target", "opponent", "decoy", "random features", "random directions", "vectors", "prompt")


@dataclass(frozen=True, slots=True)
class Arm:
    """One row of the summary.

    Attributes:
        condition: See `scenarios.conditions.Condition`.
        dial: The emotion or control.
        method: sae, vector or "-".
        role: none, target, opponent, decoy or control.
        dose: Added norm over the mean residual norm.
        primary: Whether this is the dose that conclusions rest on.
        n: Impossible episodes.
        rate: Share that ended in a cheat.
        delta: Paired difference from the untouched arm, with a 95% interval.
        delta90: The same with a 90% interval.
        silent: Whether that 90% interval lies inside +-0.10.
        parse_rate: Share of attempts that could be read.
        row: The whole row.
    """

    condition: str
    dial: str
    method: str
    role: str
    dose: float
    primary: bool
    n: int
    rate: Estimate
    delta: Estimate
    delta90: Estimate
    silent: bool | None
    parse_rate: float
    row: Row

    @property
    def key(self) -> tuple[str, str, str, float]:
        """What tells arms of one kind apart."""
        return self.condition, self.dial, self.method, self.dose

    @property
    def name(self) -> str:
        """A few words."""
        if self.condition == "none":
            return "nothing done"
        if self.condition == "prompt":
            return f"prompt: {self.dial}"
        if self.condition in ("random", "direction"):
            return self.dial
        return f"{self.dial} {self.condition}" + ("" if self.primary else f" at {self.dose:g}")

    @property
    def group(self) -> str:
        """Which of GROUPS it belongs to."""
        special = {
            "none": "untouched", "random": "random features", "direction": "random directions", "prompt": "prompt",
        }  # fmt: skip
        if self.condition in special:
            return special[self.condition]
        return "vectors" if self.method == "vector" else self.role

    @property
    def expected(self) -> int:
        """+1 where more cheating is expected, -1 where less, 0 where no change is."""
        sign = {"target": 1, "opponent": -1}.get(self.role, 0)
        return sign if self.condition == "up" else -sign if self.condition in ("down", "off") else 0

    def style(self, *, hollow: bool = False) -> MarkStyle:
        """Its mark: shape by what is done, colour by what is expected."""
        role = {1: "up", -1: "down", 0: "ink" if self.condition == "none" else "other"}[self.expected]
        return MarkStyle(SHAPES.get(self.condition, "o"), role, hollow)


def read_arms(data: ReportData, *, hides_naming: bool = False) -> list[Arm]:
    """The arms of one kind, in the order of GROUPS and then of the table."""
    arms = [_read_arm(row) for row in data.rows("summary") if bool(row["hides_naming"]) == hides_naming]
    return sorted(arms, key=lambda arm: GROUPS.index(arm.group) if arm.group in GROUPS else len(GROUPS))


def find_untouched(arms: Sequence[Arm]) -> Arm | None:
    """The arm in which nothing is done."""
    return next((arm for arm in arms if arm.condition == "none"), None)


def writes_programs(arm: Arm | None) -> bool:
    """Whether an arm has episodes and any attempt in it could be read; without that nothing can be concluded."""
    return arm is not None and arm.n > 0 and arm.parse_rate > 0 and read_number(arm.row, "coherence") > 0


def _read_arm(row: Row) -> Arm:
    return Arm(
        condition=row["condition"],
        dial=row["dial"],
        method=row["method"],
        role=row["role"],
        dose=float(row["dose"]),
        primary=bool(row["primary"]),
        n=int(row["n"]),
        rate=read_estimate(row, "rate", "lo", "hi"),
        delta=read_estimate(row, "delta"),
        delta90=read_estimate(row, "delta", "delta_lo90", "delta_hi90"),
        silent=row["silent"],
        parse_rate=read_number(row, "parse_rate"),
        row=row,
    )
