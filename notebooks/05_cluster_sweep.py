# %% [markdown]
# # A sweep on a cluster
#
# `emosae submit CONFIG.toml --out DIR` hands the stages to Slurm as arrays: harvest the activations once, train an SAE
# per combination of the sweep, rank each, and build one atlas of them all. `--local` runs the same tasks here, and
# `--dry-run` prints what would be submitted. docs/cluster.md has the details.

# %%
import os
import tempfile
from pathlib import Path

from emosae.cli import main

folder = Path(os.environ.get("EMOSAE_SCRATCH", tempfile.mkdtemp()))
config = folder / "sweep.toml"
config.write_text("""
[stories]
per_emotion = 8
[training]
documents = 60
[[saes]]
name = "sae"
hook_name = "blocks.3.hook_resid_post"
d_sae = 64
k = 8
steps = 60
batch_size = 256
[selectivity]
permutations = 32
[sweep]
seeds = [0, 1]
hooks = ["blocks.2.hook_resid_post", "blocks.3.hook_resid_post"]
[cluster]
partition = "gpu"
minutes = 60
gpus = 1
""")

# %% [markdown]
# What Slurm would be asked for:

# %%
code = main(["submit", str(config), "--out", str(folder / "sweep"), "--dry-run"])
print("exit code", code)

# %% [markdown]
# Afterwards `emosae submit status DIR` shows a line per task, `emosae submit logs DIR TASK` its log, and the same
# `submit` submits again what failed, and only that.
