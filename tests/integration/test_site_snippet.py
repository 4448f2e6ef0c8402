"""The code that a feature page offers to paste does what emosae's own clamp does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from emosae.interventions import Clamp, edit_resid
from emosae.sae import open_sae
from emosae.site.snippet import write_snippet

pytestmark = pytest.mark.integration

D_IN, D_SAE, FEATURE, VALUE = 12, 20, 3, 2.5


@pytest.mark.parametrize(("architecture", "options"), [("standard", {}), ("jumprelu", {}), ("topk", {"k": 4})])
def test_the_pasted_clamp_is_ours(architecture: str, options: dict[str, Any], tmp_path: Path) -> None:
    from sae_lens import SAE

    hook_name = "blocks.1.hook_resid_post"
    metadata = {"model_name": "tiny", "hook_name": hook_name}
    sae = SAE.from_dict({"architecture": architecture, "d_in": D_IN, "d_sae": D_SAE, "metadata": metadata, **options})
    generator = torch.Generator().manual_seed(1)
    for name, weight in sae.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        weight.data = noise.abs() if name == "threshold" else noise
    sae.save_model(tmp_path / "the sae")

    pasted: dict[str, Any] = {}
    code = write_snippet(hook_name, str(tmp_path / "the sae"))
    exec(code.replace("{feature_idx}", str(FEATURE)).replace("{value}", str(VALUE)), pasted)
    resid = torch.randn(9, D_IN, generator=generator)
    ours = edit_resid(resid, open_sae(tmp_path / "the sae"), (Clamp(FEATURE, VALUE),))
    torch.testing.assert_close(pasted["clamp"](resid), ours, atol=1e-5, rtol=1e-5)
