"""Numbers and lists as the report writes them."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence

from emosae.report.figures import Estimate

UNKNOWN = "not measured"


def clean_text(text: object) -> str:
    """Text with control, direction-changing and private characters made visible; line breaks and tabs stay."""
    return "".join(
        c if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Co", "Cs") else "\N{REPLACEMENT CHARACTER}"
        for c in str(text)
    )


def say_number(value: float, digits: int = 2) -> str:
    """A plain number, with a true minus sign."""
    return f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}") if math.isfinite(value) else UNKNOWN


def say_share(value: float) -> str:
    """A share as a whole percentage; small ones and large ones never become 0% or 100% by rounding."""
    if not math.isfinite(value):
        return UNKNOWN
    if 0 < value < 0.005:
        return "<1%"
    if 0.995 < value < 1:
        return ">99%"
    return f"{100 * value:.0f}%"


def say_estimate(estimate: Estimate, digits: int = 2) -> str:
    """`0.98 [0.95, 0.99]`."""
    value = say_number(estimate.value, digits)
    if not (estimate.known and estimate.bounded):
        return value
    return f"{value} [{say_number(estimate.lo, digits)}, {say_number(estimate.hi, digits)}]"


def say_rate(estimate: Estimate) -> str:
    """`41% [34, 47]`."""
    value = say_share(estimate.value)
    if not (estimate.known and estimate.bounded):
        return value
    return f"{value} [{100 * estimate.lo:.0f}, {100 * estimate.hi:.0f}]"


def say_points(estimate: Estimate) -> str:
    """`+44 [+35, +52]`, in percentage points."""
    if not estimate.known:
        return UNKNOWN
    value = _signed(estimate.value)
    return f"{value} [{_signed(estimate.lo)}, {_signed(estimate.hi)}]" if estimate.bounded else value


def _signed(share: float) -> str:
    text = f"{100 * share:+.0f}".replace("-", "\N{MINUS SIGN}")
    return "0" if text[1:] == "0" else text


def say_p(value: float) -> str:
    """A probability to two digits."""
    if not math.isfinite(value):
        return UNKNOWN
    return f"{value:.1e}" if 0 < value < 1e-3 else f"{value:.3f}"


def join_words(words: Sequence[str], last: str = "and") -> str:
    """`a, b and c`."""
    words = list(words)
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}" if words else ""


def say_count(number: int, noun: str, plural: str = "") -> str:
    """`1 SAE`, `2 SAEs`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def say_plainly(name: object) -> str:
    """A name from a table as words."""
    return str(name).replace("_", " ")


def start_sentence(text: str) -> str:
    """The text with its first letter raised."""
    return text[:1].upper() + text[1:]
