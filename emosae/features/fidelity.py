"""Whether a dictionary rebuilds the run's text as well as its maker says: a wrong layer or scale shows here first."""

from __future__ import annotations

import warnings

from emosae.axes import Resid
from emosae.errors import UserError
from emosae.sae import Dictionary, SaeQuality, evaluate_sae

WARN_L0_RATIO, REFUSE_L0_RATIO = 2.0, 5.0
WARN_FVU_EXCESS = 0.15


def check_fidelity(dictionary: Dictionary, resid: Resid) -> SaeQuality:
    """Measure a dictionary on residuals of the run's text and compare with what was recorded when it was trained.

    Refused: a reconstruction worse than the mean residual (fvu of 1 or more), and an l0 more than 5 times off the
    record in either direction. Warned of: an l0 more than 2 times off, and an fvu more than 0.15 above the record.
    Dictionaries without a record are held to the first rule only.
    """
    quality = evaluate_sae(dictionary, resid)
    recorded = getattr(dictionary, "recorded", {})
    seen = f"SAE {dictionary.name} at {dictionary.hook_name}: fvu {quality.fvu:.2f}, l0 {quality.l0:.1f} on this text"
    mend = "check the hook, the layer and the input scale"
    if quality.fvu >= 1:
        raise UserError(f"{seen}, worse than the mean residual; {mend}")
    ratio = _l0_ratio(quality.l0, recorded.get("l0", quality.l0))
    excess = quality.fvu - recorded.get("fvu", quality.fvu)
    written = ", ".join(f"{key} {value:.2f}" for key, value in recorded.items())
    if ratio > REFUSE_L0_RATIO:
        raise UserError(f"{seen}, but recorded {written}; {mend}")
    if ratio > WARN_L0_RATIO or excess > WARN_FVU_EXCESS:
        warnings.warn(f"{seen}, but recorded {written}; {mend}", stacklevel=2)
    return quality


def _l0_ratio(measured: float, recorded: float) -> float:
    """How many times the larger exceeds the smaller; 1 is agreement."""
    low, high = sorted((measured, recorded))
    return 1.0 if high == 0 else high / max(low, 1e-9)
