"""Whether SAEs rebuild the run's text as well as their makers say, and if not, which mistake it is.

A wrong layer, a wrong BOS setting and an unfolded input scale show here first: as an l0 and an fvu that are off.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence

from emosae.activations import harvest
from emosae.axes import Resid
from emosae.errors import UserError
from emosae.features.mistakes import find_mistake
from emosae.lm import LanguageModel
from emosae.sae import Dictionary, SaeQuality, evaluate_sae

WARN_L0_RATIO, REFUSE_L0_RATIO = 2.0, 5.0
WARN_FVU_EXCESS = 0.15
DOUBT_L0_RATIO, DOUBT_FVU_RATIO, DOUBT_FVU_EXCESS = 1.5, 1.1, 0.02
"""From here on it is worth a few passes of the model to ask whether another reading of the text fits better."""

PLAIN_FVU, PLAIN_L0_SHARE = 0.5, 0.5
"""What an SAE is held to if nothing is recorded: to explain more than half of the variance, as every SAE that is of use
does, and to keep more than half of its features silent on a token, without which its code is not sparse."""


def check_saes(
    lm: LanguageModel, dictionaries: Mapping[str, Dictionary], documents: Sequence[Sequence[int]]
) -> dict[str, SaeQuality]:
    """Measure SAEs on documents, which are read once, and hold each to its record; see `check_fidelity`.

    An SAE that is off is also fed what a usual mistake would have it fed: the places one block away, the text without
    BOS, residuals scaled to norm sqrt(d_in). If one of these fits clearly better, the SAE is refused by that name.
    Refused before anything is read: an SAE of another width than the model's.
    """
    for name, dictionary in dictionaries.items():
        if dictionary.d_in != lm.d_in:
            mend = "give an SAE that was trained on this model"
            raise UserError(f"SAE {name} reads {dictionary.d_in} dimensions, {lm.name} has {lm.d_in}: {mend}")
    resid = harvest(lm, documents, sorted({dictionary.hook_name for dictionary in dictionaries.values()}))
    return {
        name: check_fidelity(
            dictionary, resid[dictionary.hook_name], lambda own=dictionary: find_mistake(lm, own, documents)
        )
        for name, dictionary in dictionaries.items()
    }


def check_fidelity(
    dictionary: Dictionary, resid: Resid, explain: Callable[[], str | None] = lambda: None
) -> SaeQuality:
    """Measure a dictionary on residuals of the run's text and compare with what was recorded when it was trained.

    Refused: a reconstruction worse than the mean residual (fvu of 1 or more), an l0 more than 5 times off the record
    in either direction, and whatever `explain` has a name for. Warned of: an l0 more than 2 times off, and an fvu more
    than 0.15 above the record; without a record, an fvu above 0.5, or more than half of the features firing on a token.

    Args:
        dictionary: What to measure.
        resid: Residuals at its hook.
        explain: Names the mistake and its mend, or None; asked only if the figures are in doubt.
    """
    quality = evaluate_sae(dictionary, resid)
    recorded = getattr(dictionary, "recorded", {})
    if _is_in_doubt(quality, recorded, dictionary.d_sae) and (mistake := explain()):
        raise UserError(mistake)
    seen = f"SAE {dictionary.name} at {dictionary.hook_name}: fvu {quality.fvu:.2f}, l0 {quality.l0:.1f} on this text"
    mend = "check the hook, the layer and the input scale"
    if quality.fvu >= 1:
        raise UserError(f"{seen}, worse than the mean residual; {mend}")
    written = ", ".join(f"{key} {value:.2f}" for key, value in recorded.items())
    if _l0_ratio(quality, recorded) > REFUSE_L0_RATIO:
        raise UserError(f"{seen}, but recorded {written}; {mend}")
    if _is_off(quality, recorded):
        warnings.warn(f"{seen}, but recorded {written}; {mend}", stacklevel=2)
    elif not recorded and _is_in_doubt(quality, recorded, dictionary.d_sae):
        warnings.warn(f"{seen}, and nothing is recorded; an SAE of use has {_plain(dictionary.d_sae)}", stacklevel=2)
    return quality


def _is_off(quality: SaeQuality, recorded: Mapping[str, float]) -> bool:
    excess = quality.fvu - recorded.get("fvu", quality.fvu)
    return _l0_ratio(quality, recorded) > WARN_L0_RATIO or excess > WARN_FVU_EXCESS


def _plain(d_sae: int) -> str:
    return f"an fvu under {PLAIN_FVU:.1f} and an l0 under {PLAIN_L0_SHARE * d_sae:.0f}"


def _is_in_doubt(quality: SaeQuality, recorded: Mapping[str, float], d_sae: int) -> bool:
    """Whether fvu or l0 is off the record, or beyond the plain bound where it is not recorded."""
    most_fvu = DOUBT_FVU_RATIO * recorded["fvu"] + DOUBT_FVU_EXCESS if "fvu" in recorded else PLAIN_FVU
    is_l0_off = _l0_ratio(quality, recorded) > DOUBT_L0_RATIO
    fires_widely = "l0" not in recorded and quality.l0 > PLAIN_L0_SHARE * d_sae
    return quality.fvu > most_fvu or is_l0_off or fires_widely


def _l0_ratio(quality: SaeQuality, recorded: Mapping[str, float]) -> float:
    """How many times the larger of measured and recorded l0 exceeds the smaller; 1 is agreement, or no record."""
    low, high = sorted((quality.l0, recorded.get("l0", quality.l0)))
    return 1.0 if high == 0 else high / max(low, 1e-9)
