"""The ledger: one row per feature and emotion with all its evidence, and the verdict that the row has earned."""

from __future__ import annotations

from emosae.ledger.behaviour import is_matched
from emosae.ledger.build import build_ledger
from emosae.ledger.verdicts import LADDER, VERDICTS, Requirement, Rung, Verdict, judge

__all__ = ["LADDER", "VERDICTS", "Requirement", "Rung", "Verdict", "build_ledger", "is_matched", "judge"]
