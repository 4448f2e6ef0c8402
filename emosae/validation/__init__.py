"""Validation where the truth is known: simulations for the error control, organisms for the verdicts on causes."""

from emosae.validation.scenarios import format_judged, validate_scenarios
from emosae.validation.selectivity import validate_selectivity

__all__ = ["format_judged", "validate_scenarios", "validate_selectivity"]
