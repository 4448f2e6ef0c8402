"""Code that a reader can paste: the SAE through sae-lens, one feature clamped, the error carried through."""

from __future__ import annotations

import re

_TEMPLATE = """\
from sae_lens import SAE

sae = {load}

def clamp(resid, feature_idx={{feature_idx}}, value={{value}}):
    \"\"\"resid: the stream at {hook}\"\"\"
    acts = sae.encode(resid)
    error = resid - sae.decode(acts)
    acts[..., feature_idx] = value
    return sae.decode(acts) + error
"""


def write_snippet(hook_name: str, location: str) -> str:
    """Python text with the places `{feature_idx}` and `{value}` left open.

    Args:
        hook_name: Where the SAE reads.
        location: A directory in sae-lens' format, or `release:id`; empty if it cannot be told.
    """
    return _TEMPLATE.format(load=_write_load(location), hook=re.sub(r"[^\w.]", "_", hook_name))


def find_layer(hook_name: str) -> int | None:
    """The block that a hook name speaks of; None if it names no block."""
    found = re.match(r"blocks\.(\d+)\.", hook_name)
    return int(found[1]) if found else None


def _write_load(location: str) -> str:
    release, _, sae_id = location.partition(":")
    is_release = len(release) > 1 and sae_id and "/" not in release  # one letter is a drive
    if is_release:
        return f"SAE.from_pretrained({release!r}, {sae_id!r})"
    return f"SAE.load_from_disk({location or 'DIRECTORY'!r})"
