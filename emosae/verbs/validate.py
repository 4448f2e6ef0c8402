"""Verbs that check the instrument itself where the truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import FlagCreatePairsOff

from emosae.errors import UsageError, UserError
from emosae.verbs.command import Command, Out


@dataclass(frozen=True, kw_only=True)
class ValidateSelectivity(Command):
    """Simulate dictionaries with planted features, and check the ranking's error rates, power and intervals."""

    out: Out = Path("runs/validate_selectivity")
    """Folder of the simulations and the page; finished simulations in it are not done again."""
    simulations: int = 4000
    """Simulations of the global null; the other conditions take a quarter to a fortieth of it, at least 20."""
    seed: int = 0
    """Start of every random number."""
    quick: FlagCreatePairsOff[bool] = False
    """A tenth of the simulations: a minute or two, and errors three times as wide."""

    def run(self) -> Path:
        """Print the table; a bar that does not hold is a failure."""
        from emosae.store import Stage
        from emosae.validation import validate_selectivity
        from emosae.validation.verdicts import format_findings

        count = self.simulations // 10 if self.quick else self.simulations
        if count < 1 or self.seed < 0:
            raise UsageError(
                "validate selectivity: --simulations must be 1 or more (10 with --quick), --seed 0 or more"
            )
        findings = validate_selectivity(count, self.seed, Stage(self.out))
        verdicts = [(one.bar.claim, one.verdict) for one in findings]
        return _conclude(format_findings(findings), "bars", verdicts, self.out / "index.html")


@dataclass(frozen=True, kw_only=True)
class ValidateScenarios(Command):
    """Put organisms with other causes through the unchanged pipeline, and check that the verdicts follow them."""

    out: Out = Path("runs/validate_scenarios")
    """Folder of the variants, the runs and the page; what is finished in it is not done again."""
    episodes: int = 200
    """Episodes per arm."""
    seed: int = 0
    """Start of every random number of the runs."""

    def run(self) -> Path:
        """Print the table; a claim that does not hold is a failure."""
        from emosae.store import Stage
        from emosae.validation import format_judged, validate_scenarios

        if self.episodes < 1 or self.seed < 0:
            raise UsageError("validate scenarios: --episodes must be 1 or more, --seed 0 or more")
        judged = validate_scenarios(self.episodes, self.seed, Stage(self.out))
        verdicts = [(one.claim, one.verdict) for one in judged]
        return _conclude(format_judged(judged), "claims", verdicts, self.out / "index.html")


@dataclass(frozen=True, kw_only=True)
class ValidateAtlas(Command):
    """Match pairs of SAEs made from one dictionary, or from none in common, and check every kind of link."""

    out: Out = Path("runs/validate_atlas")
    """Folder of the table."""
    simulations: int = 10
    """Simulations of each setting."""
    seed: int = 0
    """Start of every random number."""

    def run(self) -> Path:
        """Print the table; a bar that does not hold is a failure."""
        from emosae.store import Stage
        from emosae.validation.atlas import validate_atlas
        from emosae.validation.verdicts import format_findings

        if self.simulations < 2 or self.seed < 0:
            raise UsageError("validate atlas: --simulations must be 2 or more, --seed 0 or more")
        findings = validate_atlas(self.simulations, self.seed, Stage(self.out))
        verdicts = [(one.bar.claim, one.verdict) for one in findings]
        return _conclude(format_findings(findings), "bars", verdicts, self.out / "validation.md")


def _conclude(table: str, kind: str, verdicts: Sequence[tuple[str, str]], page: Path) -> Path:
    """Print the table and give the page; refused if one of the claims failed."""
    from emosae.validation.verdicts import FAILED

    print(table, flush=True)
    if failed := [claim for claim, verdict in verdicts if verdict == FAILED]:
        raise UserError(f"{len(failed)} of {len(verdicts)} {kind} failed: {'; '.join(failed)}; see {page}")
    return page
