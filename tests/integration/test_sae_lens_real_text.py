"""Harvest, training, fidelity and pooling on a model and stories that nobody here made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from emosae.activations import find_real_tokens, harvest
from emosae.errors import UserError
from emosae.features import check_fidelity, pool_features, token_acts
from emosae.lm import open_lm
from emosae.sae import open_sae
from emosae.store import Stage
from emosae.stories import load_stories
from emosae.training import SaeTrainSpec, train_sae

pytestmark = [pytest.mark.integration, pytest.mark.shared]

HOOK, WRONG_HOOK = "blocks.3.hook_resid_post", "blocks.0.hook_resid_pre"


def test_from_stories_to_pooled_features(shared_dir: Path, tmp_path: Path) -> None:
    lm = open_lm(shared_dir / "models" / "stories260K")
    stories = load_stories(shared_dir / "data" / "emotion_stories_20" / "stories.jsonl")[::40]
    documents = [lm.document(story.text) for story in stories]
    resid = harvest(lm, documents, [HOOK, WRONG_HOOK])
    n_tokens = [len(find_real_tokens(lm, document)) for document in documents]
    assert len(resid[HOOK]) == len(resid[WRONG_HOOK]) == sum(n_tokens)

    spec = SaeTrainSpec(model_name="stories260K", hook_name=HOOK, d_sae=128, k=8, steps=150, batch_size=512)
    sae = open_sae(train_sae(resid[HOOK], spec, Stage(tmp_path)))
    quality = check_fidelity(sae, resid[HOOK])
    assert quality.fvu < 0.3
    assert quality.l0 == pytest.approx(8, rel=0.1)
    with pytest.raises(UserError, match="worse than the mean residual"):
        check_fidelity(sae, resid[WRONG_HOOK])

    pooled = pool_features(lm, {"resid3": sae}, stories, skip_tokens=5).features["resid3"]
    assert pooled.n_tokens.tolist() == [count - 5 for count in n_tokens]
    first = sae.encode(resid[HOOK][5 : n_tokens[0]])
    np.testing.assert_allclose(pooled.mean.toarray()[0], first.mean(0), atol=1e-3)
    strongest = pooled.top.to_pylist()[0]
    story = next(story for story in stories if story.id == strongest["story_id"])
    acts = token_acts(lm, sae, story, [strongest["feature_idx"]]).acts[:, 0]
    torch.testing.assert_close(acts[strongest["token_pos"]].item(), strongest["value"], rtol=1e-4, atol=1e-3)
