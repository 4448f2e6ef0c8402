"""Validation: simulations with planted truth, which show that the error control holds, or that it does not."""

from emosae.validation.selectivity import validate_selectivity

__all__ = ["validate_selectivity"]
