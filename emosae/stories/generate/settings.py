"""What is asked for and how; every setting is a flag of the console."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from emosae.stories.limits import Count, Lengths

Seconds = Annotated[float, Field(gt=0)]
Price = Annotated[float, Field(ge=0)]


class CallSettings(BaseModel):
    """How an endpoint is called, what becomes of one that fails, and what it takes for a call."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    concurrency: Count = Field(default=8, description="Calls at the same time.")
    timeout: Seconds = Field(default=120.0, description="Seconds until a call that has not ended counts as failed.")
    retries: Annotated[int, Field(ge=0)] = Field(default=8, description="How often a failed call is made again.")
    first_wait: Seconds = Field(
        default=1.0,
        description="Seconds before the first retry, doubled each time up to a minute; jitter takes a half.",
    )
    temperature: float | None = Field(default=None, description="Sampling temperature; none is the endpoint's own.")
    price_in: Price | None = Field(default=None, description="Price of a million prompt tokens.")
    price_out: Price | None = Field(default=None, description="Price of a million answer tokens.")


class GenerateSettings(CallSettings, Lengths):
    """How many stories, and how they are asked for."""

    per_cell: Count = Field(default=12, description="Stories of each emotion and topic.")
    per_call: Count = Field(default=4, description="Stories asked for in one call, all of one emotion.")
    asks: Count = Field(default=4, description="How often a cell is asked for whose story is missing or breaks a rule.")
