# %% [markdown]
# # Your own model and SAE, in ten lines
#
# Name a Hugging Face directory or hub name and an SAE: a directory in sae-lens' format, or `RELEASE:ID` such as
# `gemma-scope-2-4b-it-res:layer_22_width_16k_l0_medium`. The stories are the package's own unless you give a file. Here
# the embedded organism and one of its shipped SAEs stand for them, so that the notebook runs anywhere.

# %%
import json
import os
import tempfile
from pathlib import Path

import emosae
from emosae.organism.evaluation import evaluation_stories, organism_path, shipped_sae_paths

folder = Path(os.environ.get("EMOSAE_SCRATCH", tempfile.mkdtemp()))
model = organism_path()
sae = shipped_sae_paths()["blocks.3.resid_post.seed1"]

# %% [markdown]
# Stories are one JSON object a line: `emotion`, `topic`, `text`. Topics matter: features are chosen on some of them and
# read on others, and labels are exchanged within topics. `emosae stories check FILE` looks for emotion words that leak.

# %%
stories = folder / "stories.jsonl"
kept = [story for story in evaluation_stories() if story.emotion in ("calm", "desperate", "joyful", "sad")]
lines = [json.dumps({"emotion": one.emotion, "topic": one.topic, "text": one.text}) for one in kept]
stories.write_text("\n".join(lines) + "\n")
print(kept[0].text)

# %%
run = emosae.rank(model=model, sae=sae, stories=stories, out=folder / "run")
best = run.table("selectivity/summary").to_pandas()
print(
    best[["emotion", "feature_idx", "auroc", "q_bh", "auroc_confirm", "auroc_confirm_lo", "rival"]].round(3).to_string()
)

# %% [markdown]
# The same in the console, with a page of plots: `emosae rank --model DIR --sae DIR --stories FILE --out DIR`. Call it
# again after a kill and it goes on; what is finished is not done twice.

# %%
print(run.path / "selectivity/index.html")
