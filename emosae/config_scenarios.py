"""What a run does with its dials: the section of the config on scenarios."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from emosae.config_saes import Absolute, Corpus, Count, Section

USUAL_DOSE = 0.40
Dose = Annotated[float, Field(gt=0)]


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
    dose: Dose | Literal["calibrated"] = Field(
        default=USUAL_DOSE,
        description="The primary dose of every dial, as added norm over the mean residual norm; `calibrated` takes for "
        "each dial the one that is fixed on tune stories, as `emosae dial calibrate` does.",
    )
    doses_by_dial: dict[str, Dose] = Field(
        default={}, description="Primary doses of single dials by emotion, whatever `dose` says."
    )
    calibration_doses: tuple[Dose, ...] = Field(
        default=(0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8),
        min_length=1,
        description="Doses at which dials are calibrated.",
    )
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
    subspace_episodes: int = Field(
        default=60,
        ge=0,
        description="Episodes of each arm in which only a part of a target's dial is turned up, inside or outside the "
        "span of the emotion vectors; 0: none.",
    )
    subspace_random: int = Field(
        default=3,
        ge=0,
        description="Random subspaces of the same rank that it is compared with; with any, also one "
        "where residuals vary and one that holds as much of the dial.",
    )
    way_out: bool = Field(
        default=False, description="Add an arm in which the model may say that a task cannot be done."
    )
    workers: Count = Field(default=2, description="Sandboxes at a time.")
    program_seconds: float = Field(default=5.0, gt=0, description="What a program has for loading and all its tests.")
    unsafe_no_sandbox: bool = Field(default=False, description="Run the model's programs without bubblewrap.")

    @property
    def turned(self) -> tuple[str, ...]:
        """The emotions whose dials are turned, in code or in conversations."""
        named = (*self.targets, *self.opponents, *self.decoys, *self.conversation_dials, *self.conversation_decoys)
        return tuple(dict.fromkeys(named))

    @property
    def common_dose(self) -> float:
        """The primary dose of a dial that has none of its own; candidates for a dial are compared at it."""
        return USUAL_DOSE if self.dose == "calibrated" else self.dose

    @model_validator(mode="after")
    def _doses_of_turned_dials(self) -> ScenariosSection:
        if strangers := sorted(set(self.doses_by_dial) - set(self.turned)):
            raise ValueError(f"doses_by_dial names what no scenario turns: {', '.join(strangers)}")
        return self

    @model_validator(mode="after")
    def _one_role_each(self) -> ScenariosSection:
        roles = [*self.targets, *self.opponents, *self.decoys]
        if twice := sorted({emotion for emotion in roles if roles.count(emotion) > 1}):
            raise ValueError(f"an emotion may be target, opponent or decoy, not several: {', '.join(twice)}")
        return self
