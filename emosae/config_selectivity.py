"""The section of a config that says how features are ranked."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from tyro.conf import arg

from emosae.config_saes import Count, Section

Share = Annotated[float, Field(gt=0, lt=1)]


class SelectivitySection(Section):
    """Which features tell one emotion from the others."""

    alpha: Annotated[Share, arg(aliases=("--alpha",))] = Field(default=0.05, description="False discovery rate.")
    permutations: Annotated[Count, arg(aliases=("--permutations",))] = Field(
        default=1024, description="Shuffles of the labels within topics."
    )
    top: Annotated[Count, arg(aliases=("--top",))] = Field(
        default=20, description="Candidates kept per SAE and emotion."
    )
    spikes: Annotated[int, Field(ge=0), arg(aliases=("--spikes",))] = Field(
        default=10,
        description="Features spiked into the stories of each emotion, to see how selective a feature must be to be "
        "found; it takes a second reading of the stories, and 0 leaves it out.",
    )
