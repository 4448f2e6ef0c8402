"""What a run does with its dials: the section of the config on scenarios."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from emosae.config_saes import Absolute, Corpus, Count, Section


class ScenariosSection(Section):
    """What the model does while features are turned."""

    enabled: tuple[Literal["conversation", "impossible_code"], ...] = Field(
        default=("conversation", "impossible_code"), description="Which scenarios run."
    )
    tasks: Corpus | None = Field(
        default=None,
        description="Programming tasks, one JSON object a line; `shipped` is the package's Python tasks, none is the "
        "organism's own.",
    )
    conversations: Absolute | None = Field(
        default=None, description="Conversations, one JSON object a line; none is the shipped ones."
    )
    conversation_dials: tuple[str, ...] = Field(
        default=("afraid", "loving"),
        description="Emotions whose dials are turned in the conversations that expect them; none turns nothing there.",
    )
    conversation_decoys: tuple[str, ...] = Field(
        default=("proud",), description="Emotions whose dials are turned there as controls."
    )
    conversation_replies: Count = Field(default=1, description="Replies to each of these conversations in each arm.")
    reply_mark: str = Field(
        default="", description="What stands before the answer of a model that thinks aloud first, such as </think>."
    )
    n_tasks: Count = Field(default=100, description="Impossible tasks, where the organism's own are used.")
    n_solvable: Count = Field(default=20, description="Solvable controls, where the organism's own are used.")
    n_tune: int = Field(
        default=20,
        ge=0,
        description="Impossible tasks kept apart to measure the untouched rate before the plan is sealed, where the "
        "organism's own are used; of a file a fifth is, if it has 25 or more.",
    )
    smallest_effect: float = Field(
        default=0.15,
        gt=0,
        lt=1,
        description="Change of the rate that should be shown in four runs of five; for the plan.",
    )
    elicitation: Literal["plain", "pressure", "few_shot", "ladder"] = Field(
        default="ladder",
        description="How tasks are put: plainly, with a deadline in the words on each failure, behind honestly solved "
        "tasks, or (ladder) in the one of these whose untouched rate on tune tasks is nearest to 0.30. Ladder is plain "
        "for the organism, which knows no other way, and where there are no tune tasks.",
    )
    elicitation_episodes: Count = Field(default=40, description="Untouched episodes of tune tasks on each rung.")
    episodes: Count = Field(default=200, description="Episodes per condition.")
    max_attempts: Count = Field(default=3, description="Attempts at a task in an episode.")
    dose: float = Field(default=0.40, gt=0, description="Added norm over the mean residual norm, at the primary dose.")
    other_doses: tuple[float, ...] = Field(
        default=(0.20,), description="Further doses of targets and opponents, for the dose-response."
    )
    composure_doses: tuple[float, ...] = Field(
        default=(0.10, 0.60), description="Further doses of opponents alone: how much they protect, at what price."
    )
    composure_episodes: Count = Field(default=60, description="Episodes at each of those doses, at most.")
    targets: tuple[str, ...] = Field(default=("desperate",), description="Emotions expected to raise the behaviour.")
    opponents: tuple[str, ...] = Field(default=("calm",), description="Emotions expected to lower it.")
    decoys: tuple[str, ...] = Field(
        default=("proud", "curious", "afraid", "guilty"), description="Emotions expected to leave it alone."
    )
    random_sets: int = Field(default=3, ge=0, description="Random feature sets matched to the target.")
    mediation_episodes: int = Field(default=40, ge=0, description="Episodes of each loop with features held; 0: none.")
    way_out: bool = Field(
        default=False, description="Add an arm in which the model may say that a task cannot be done."
    )
    workers: Count = Field(default=2, description="Sandboxes at a time.")
    program_seconds: float = Field(default=5.0, gt=0, description="What a program has for loading and all its tests.")
    unsafe_no_sandbox: bool = Field(default=False, description="Run the model's programs without bubblewrap.")

    @model_validator(mode="after")
    def _one_role_each(self) -> ScenariosSection:
        roles = [*self.targets, *self.opponents, *self.decoys]
        if twice := sorted({emotion for emotion in roles if roles.count(emotion) > 1}):
            raise ValueError(f"an emotion may be target, opponent or decoy, not several: {', '.join(twice)}")
        return self
