"""A model whose weights are drawn anew has the same architecture, knows nothing, and leaves the trained one alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from planted_stories import plant_stories, wrap_acts
from tiny_models import FAMILIES, save_tiny_model

from emosae.features import pool_untrained
from emosae.features.untrained import draw_model
from emosae.lm import open_lm, read_resid

pytestmark = pytest.mark.integration
HOOK = "blocks.1.hook_resid_post"


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_are_drawn_from_the_seed_and_nothing_else(family: str, tmp_path: Path) -> None:
    lm = open_lm(save_tiny_model(tmp_path / family, family))
    before = {name: value.clone() for name, value in lm.model.state_dict().items()}
    state = torch.random.get_rng_state()
    one, same, other = (draw_model(lm, seed) for seed in (5, 5, 6))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in lm.model.state_dict().items())
    embedded = [m.model.get_input_embeddings().weight for m in (lm, one, same, other)]
    assert torch.equal(embedded[1], embedded[2])
    assert not torch.equal(embedded[0], embedded[1])
    assert not torch.equal(embedded[1], embedded[3])
    assert [type(block) for block in one.blocks] == [type(block) for block in lm.blocks]
    assert not {id(block) for block in one.blocks} & {id(block) for block in lm.blocks}
    ((_, read),), ((_, again),) = (list(read_resid(m, [lm.document("a cat sat")], [HOOK])) for m in (one, same))
    torch.testing.assert_close(read[HOOK], again[HOOK])
    assert read[HOOK].isfinite().all()


def test_an_untrained_dictionary_stands_at_every_hook_and_is_as_wide_and_as_sparse(tmp_path: Path) -> None:
    lm = open_lm(save_tiny_model(tmp_path / "llama", "llama"))
    stories = plant_stories(n_topics=12, copies=1, n_neutral=4)
    acts = np.ones((len(stories), 20))
    tables = [wrap_acts(acts[:, :width], stories, sae=f"sae{width}", hook_name=HOOK) for width in (20, 12)]
    tables.append(wrap_acts(acts[:, :8], stories, hook_name="blocks.0.hook_resid_post"))
    found = {table.hook_name: table for table in pool_untrained(lm, tables, stories, seed=3)}
    assert {hook: table.d_sae for hook, table in found.items()} == {HOOK: 32, "blocks.0.hook_resid_post": 8}
    for table, k in ((found[HOOK], 16), (found["blocks.0.hook_resid_post"], 4)):
        assert 0 < table.fraction.sum(axis=1).max() <= k + 1e-5
        assert table.story_ids == tuple(story.id for story in stories)
    again = pool_untrained(lm, tables, stories, seed=3)
    for table in again:
        np.testing.assert_array_equal(found[table.hook_name].mean.toarray(), table.mean.toarray())
