# %% [markdown]
# # Reading selectivity honestly
#
# A dictionary of a few thousand features always holds one that looks like an emotion. This notebook goes through what
# emosae does about that, on the tables of a finished run; docs/selectivity.md has the method.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np

import emosae

run = emosae.open_run(os.environ.get("EMOSAE_RUN", "../runs/demo"))
candidates = run.table("selectivity/candidates").to_pandas()
summary = run.table("selectivity/summary").to_pandas()

# %% [markdown]
# ## Were the p-values honest?
# Labels are exchanged within topics and everything is tested again. A calibrated tail finds as large a share below a
# level as the level says; a point above the diagonal would mean that too much is found.

# %%
calibration = run.table("selectivity/calibration").to_pandas()
figure, axes = plt.subplots(figsize=(4.5, 4.5))
for sae, rows in calibration.groupby("sae"):
    seen = rows[rows["observed"] > 0]
    axes.loglog(seen["nominal"], seen["observed"], marker=".", label=sae)
axes.loglog([1e-4, 1], [1e-4, 1], color="grey", linewidth=0.8)
axes.set(xlabel="nominal tail", ylabel="share with exchanged labels")
axes.legend(fontsize=7)
figure.tight_layout()

# %% [markdown]
# ## Chosen on some topics, read on others, against a fixed rival
# The hardest rival emotion is chosen before confirm topics are read. An interval that reaches .5 is no finding.

# %%
shown = ["emotion", "n_tested", "n_discovered", "auroc", "auroc_confirm", "auroc_confirm_lo", "auroc_confirm_hi"]
print(summary[shown].round(2).to_string(index=False))
print(summary[["emotion", "rival", "auroc_rival_confirm", "auroc_rival_confirm_lo"]].round(2).to_string(index=False))

# %% [markdown]
# ## What would have been found?
# "Nothing found" says little unless one knows what would have been. A known direction is spiked into the activations of
# an emotion's stories at graded strengths; this is the weakest that is found.

# %%
if "selectivity/detection" in run.tables:
    print(run.table("selectivity/detection").to_pandas().round(3).to_string(index=False))

# %% [markdown]
# ## Is the feature better than what is free?
# Nine baselines on the same splits, paired with the best feature. Losing to a bag of words means that the SAE found
# words; losing to the difference of means means that the emotion is there, and that no one feature holds it.

# %%
comparisons = run.table("selectivity/comparisons").to_pandas()
print(comparisons.groupby(["baseline", "outcome"]).size().unstack(fill_value=0).to_string())

# %% [markdown]
# ## Confounds
# Length, position, perspective, and how much of the AUROC goes when the 20 most telling words are masked.

# %%
best = candidates.sort_values(["q_bh", "auroc"], ascending=[True, False]).drop_duplicates("emotion")
figure, axes = plt.subplots(figsize=(5, 3))
axes.hist(best["lexical_drop"].dropna(), bins=np.linspace(-0.1, 0.5, 25))
axes.set(xlabel="AUROC lost when telling words are masked", ylabel="best features")
figure.tight_layout()
print(
    best[["emotion", "feature_idx", "length_corr", "position_corr", "lexical_drop", "top_token"]].round(2).to_string()
)
