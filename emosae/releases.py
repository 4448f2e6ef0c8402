"""SAEs that others published: opened by release and id, from the hub or, without a network, from its cache."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def load_release(release: str, sae_id: str, *, device: str, dtype: str) -> Any:
    """sae-lens' SAE of that release and id; the files are downloaded only if the hub's cache lacks them."""
    from sae_lens import SAE

    with _shapes_from_cache():
        return SAE.from_pretrained(release, sae_id, device=device, dtype=dtype)


def published_quality(release: str, sae_id: str) -> dict[str, float]:
    """`fvu` and `l0` as sae-lens' directory of releases says; it writes 1.0 and 0.0 where nothing is known."""
    from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

    entry = get_pretrained_saes_directory().get(release)
    if entry is None:
        return {}
    explained, l0 = entry.expected_var_explained.get(sae_id, 1.0), entry.expected_l0.get(sae_id, 0.0)
    known = {"fvu": 1 - explained} if explained != 1.0 else {}
    return known | ({"l0": float(l0)} if l0 else {})


@contextmanager
def _shapes_from_cache() -> Iterator[None]:
    """Have sae-lens read the shapes of Gemma Scope's weights from the file itself.

    It asks the hub for them each time, even if the file lies in the cache, so that a machine without a network could
    open no such SAE.
    """
    from sae_lens.loading import pretrained_sae_loaders as loaders

    theirs = loaders.get_safetensors_tensor_shapes
    loaders.get_safetensors_tensor_shapes = _read_shapes
    try:
        yield
    finally:
        loaders.get_safetensors_tensor_shapes = theirs


def _read_shapes(repo_id: str, filename: str) -> dict[str, list[int]]:
    from huggingface_hub import hf_hub_download

    with Path(hf_hub_download(repo_id, filename)).open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}
