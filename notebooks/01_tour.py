# %% [markdown]
# # A tour of a finished run
#
# `make demo` reads stories with the embedded organism, finds the features that tell emotions apart, turns them while
# the model works on tasks that cannot be done, and writes a report. This notebook opens what lies in its run directory.
#
# Functional features are no evidence of feelings, and the model is not the character it writes.

# %%
import os

import matplotlib.pyplot as plt

import emosae

run = emosae.open_run(os.environ.get("EMOSAE_RUN", "../runs/demo"))
print(run.report)
print("\n".join(run.tables))

# %% [markdown]
# ## The ledger
# One row per feature and emotion, with all evidence and one verdict. A verdict names the file and row that earned it.

# %%
ledger = run.ledger.to_pandas()
print(ledger["verdict"].value_counts(dropna=False).to_string())

# %%
shown = ["emotion", "sae", "feature_idx", "auroc", "q_bh", "auroc_confirm", "auroc_confirm_lo", "verdict"]
best = ledger.sort_values(["q_bh", "auroc"], ascending=[True, False]).drop_duplicates("emotion")
print(best[shown].round(3).to_string(index=False))

# %% [markdown]
# ## Found on some topics, read on others
# `auroc` is what a feature was chosen by; `auroc_confirm` is read once, on topics that played no part in the choice. A
# point far below the diagonal was luck, or a feature of the topics.

# %%
figure, axes = plt.subplots(figsize=(4.5, 4.5))
axes.scatter(best["auroc"], best["auroc_confirm"])
axes.plot([0.5, 1], [0.5, 1], linewidth=0.8, color="grey")
for row in best.itertuples():
    axes.annotate(row.emotion, (row.auroc, row.auroc_confirm), fontsize=7)
axes.set(xlabel="AUROC on discover topics", ylabel="AUROC on confirm topics")
figure.tight_layout()

# %% [markdown]
# ## Does turning it change what the model does?
# A row per arm. `rate` is the share of all episodes that ended in a shortcut; `delta` is paired with the unsteered arm.

# %%
if "scenarios/impossible_code/summary" in run.tables:
    arms = run.table("scenarios/impossible_code/summary").to_pandas()
    arms = arms[~arms["hides_naming"]].sort_values("rate")
    print(
        arms[["condition", "dial", "method", "dose", "n", "rate", "delta", "delta_lo", "delta_hi"]].round(2).to_string()
    )
else:
    print("This run executed no programs: it had no sandbox.")
