"""What the stages of one run share: the model, the SAEs and the texts, opened when first asked for.

Where the config names nothing, the embedded organism and its own texts are taken.
"""

from __future__ import annotations

import logging
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from emosae.config import RunConfig, SaeFromRelease, SaeOnDisk, SaeShipped, SaeSpec, SaeToTrain
from emosae.errors import UserError, name_some
from emosae.store import Store

_log = logging.getLogger(__name__)

RESIDUALS = "resid_mean"
"""Residuals at hooks without an SAE, in the folder of the features."""

if TYPE_CHECKING:
    from torch import Tensor

    from emosae.features import StoryFeatures
    from emosae.lm import LanguageModel
    from emosae.organism.truth import Truth
    from emosae.sae import SaeLensDictionary
    from emosae.scenarios import CodeFormat, Task, Voices
    from emosae.selectivity import Selectivity
    from emosae.stories import Conversation, Story
    from emosae.training import World


class Inputs:
    """Opens each thing once per run. What a stage made is read back from its folder."""

    def __init__(self, cfg: RunConfig, store: Store) -> None:
        self.cfg = cfg
        self.store = store
        self._has_called = False

    @property
    def is_organism(self) -> bool:
        """Whether the run is about the embedded model or a variant of it, whose truth is known."""
        return self.truth is not None

    @cached_property
    def truth(self) -> Truth | None:
        """What is planted in the organism, for the text that its SAEs are trained on and for the report; else None."""
        from emosae.organism.truth import find_truth, load_truth

        name = self.cfg.model.name
        return load_truth() if name is None else find_truth(Path(name))

    @cached_property
    def world(self) -> World:
        """The processes that torchrun or srun started for this run; they train SAEs together."""
        from emosae.training import World

        return World.join(self.cfg.model.device)

    def call_helpers(self) -> None:
        """Tell the other processes, which wait for it, that SAEs are to be trained now."""
        self._has_called = True
        self.world.any(True)

    def dismiss_helpers(self) -> None:
        """Tell them that nothing was left to train, if they still wait."""
        if not self._has_called:
            self.world.any(False)

    @cached_property
    def lm(self) -> LanguageModel:
        """The language model."""
        from emosae.lm import open_lm
        from emosae.organism.evaluation import organism_path

        section = self.cfg.model
        name = section.name or organism_path()
        return open_lm(name, revision=section.revision, device=section.device, dtype=section.dtype)

    @property
    def model_title(self) -> str:
        """The model as pages call it, without the folder or account that it lies in."""
        if self.is_organism:
            return "the embedded organism" if self.cfg.model.name is None else "a variant of the embedded organism"
        return self.lm.name.rstrip("/").rsplit("/", 1)[-1]

    def describe_model(self) -> dict[str, str]:
        """Name, revision and weight hash, for the manifest."""
        name = f"{self.model_title} (synthetic)" if self.is_organism else self.lm.name
        return {"name": name, "revision": self.lm.revision, "weight_hash": self.lm.weight_hash}

    def read_corpus(self) -> list[Story]:
        """The stories as the config names them, with their splits."""
        from emosae.organism.evaluation import evaluation_stories
        from emosae.stories import assign_splits, load_stories, refuse_thin_emotions

        section = self.cfg.stories
        if section.path is not None:
            stories = assign_splits(load_stories(section.path, section.neutral), section.salt)
        elif self.is_organism:
            stories = evaluation_stories(salt=section.salt)
        else:
            raise UserError("stories.path: a model other than the organism needs stories; give a JSONL file")
        kept = self._that_fit(stories)
        refuse_thin_emotions(kept)
        return _cap_per_emotion(kept, section.per_emotion)

    def _that_fit(self, stories: list[Story]) -> list[Story]:
        """Without those that are longer than what the model can read at once, which are named."""
        lm = self.lm
        kept = [story for story in stories if len(lm.document(story.text)) <= lm.context]
        if len(kept) < len(stories):
            known = {story.id for story in kept}
            long = [story.id for story in stories if story.id not in known]
            said = "left out, as longer than the %d tokens that the model can read: %d of %d texts: %s"
            _log.warning(said, lm.context, len(long), len(stories), name_some(long))
        return kept

    @cached_property
    def stories(self) -> list[Story]:
        """The stories of the run, as the first stage saved them."""
        from emosae.stories import load_stories

        return load_stories(self.store.stage("stories").path / "stories.jsonl")

    @property
    def emotions(self) -> list[str]:
        """The emotions of the stories in alphabetical order, without the neutral ones' label."""
        from emosae.stories import NEUTRAL

        return sorted({story.emotion for story in self.stories} - {NEUTRAL})

    @cached_property
    def conversations(self) -> list[Conversation]:
        """Conversations from the file that the config names, else the organism's."""
        from emosae.organism.evaluation import evaluation_conversations
        from emosae.stories import load_conversations

        path = self.cfg.scenarios.conversations
        return evaluation_conversations() if path is None else load_conversations(path)

    @property
    def voices(self) -> Voices:
        """Passages for dialogues that cross emotions: the organism's own, or those of the package."""
        from emosae.organism.evaluation import evaluation_voices
        from emosae.scenarios import load_voices

        return evaluation_voices() if self.is_organism else load_voices()

    @property
    def reply_mark(self) -> str:
        """What stands before what is said to the user, if the model thinks aloud first; else empty."""
        from emosae.organism.chat_grammar import REPLY_MARK

        return REPLY_MARK if self.is_organism else self.cfg.scenarios.reply_mark

    def tasks(self, *, impossible: bool) -> list[Task]:
        """Confirm tasks or solvable controls, from the file that the config names, else the organism's."""
        from emosae.organism.evaluation import evaluation_tasks

        section = self.cfg.scenarios
        if section.tasks is None:
            return evaluation_tasks(section.n_tasks if impossible else section.n_solvable, impossible=impossible)
        return self._split_file[1] if impossible else [task for task in self._task_file if not task.is_impossible]

    @cached_property
    def tune_tasks(self) -> list[Task]:
        """Impossible tasks kept apart, on which alone anything is chosen; few files are long enough to have some."""
        from emosae.organism.evaluation import FIRST_TUNE_TASK, evaluation_tasks

        section = self.cfg.scenarios
        if section.tasks is None:
            return evaluation_tasks(section.n_tune, impossible=True, first=FIRST_TUNE_TASK)
        return self._split_file[0]

    @cached_property
    def _task_file(self) -> list[Task]:
        from emosae.scenarios import load_tasks

        return load_tasks(self.cfg.scenarios.tasks or "")

    @cached_property
    def _split_file(self) -> tuple[list[Task], list[Task]]:
        """The file's tune and confirm tasks."""
        from emosae.scenarios.plan import split_tasks

        return split_tasks([task for task in self._task_file if task.is_impossible], self.cfg.stories.salt)

    @cached_property
    def code_format(self) -> CodeFormat:
        """How tasks are put to the model."""
        from emosae.organism.coding_format import OrganismCodeFormat
        from emosae.scenarios import GenericCodeFormat

        return OrganismCodeFormat() if self.is_organism else GenericCodeFormat()

    def sae_documents(self) -> list[list[int]]:
        """What SAEs are trained on: fresh text of the organism's kind, or the run's own stories."""
        from emosae.organism.shipping import sae_training_documents

        if self.truth is not None:
            return sae_training_documents(self.lm, self.truth, self.cfg.training.documents)
        return [self.lm.document(story.text) for story in self.stories]

    @cached_property
    def dictionaries(self) -> dict[str, SaeLensDictionary]:
        """Every SAE of the run by name."""
        return {sae.name: self._open_sae(sae) for sae in self.cfg.saes}

    def _open_sae(self, sae: SaeSpec) -> SaeLensDictionary:
        from dataclasses import replace

        from emosae.sae import open_sae

        source, section = self.locate_sae(sae), self.cfg.model
        return replace(open_sae(source, device=section.device, dtype=section.dtype), name=sae.name)

    def locate_sae(self, sae: SaeSpec) -> str:
        """Where an SAE of the run lies: a directory, or release:id."""
        from emosae.organism.evaluation import shipped_sae_paths

        match sae:
            case SaeToTrain():
                return str(self.store.stage("saes").path / sae.name)
            case SaeOnDisk():
                return str(sae.path)
            case SaeFromRelease():
                return f"{sae.release}:{sae.sae_id}"
            case SaeShipped():
                shipped = shipped_sae_paths()
                if sae.shipped not in shipped:
                    raise UserError(f"no shipped SAE {sae.shipped!r}: there are {', '.join(shipped)}")
                return str(shipped[sae.shipped])

    @cached_property
    def features(self) -> list[StoryFeatures]:
        """Pooled activations, one record per SAE."""
        from emosae.features import StoryFeatures

        stage = self.store.stage("features")
        return [StoryFeatures.load(stage.substage(sae.name)) for sae in self.cfg.saes]

    @property
    def swept_hooks(self) -> list[str]:
        """Where residuals are averaged beside the SAEs' hooks: as the config names them, or the organism's blocks."""
        named = self.cfg.features.hooks
        if named or not self.is_organism:
            return list(named)
        return [f"blocks.{layer}.hook_resid_post" for layer in range(self.lm.n_layers)]

    @cached_property
    def resid_means(self) -> dict[str, Tensor]:
        """Average residual of every story, by hook, the earliest hook first."""
        from emosae.hooks import sort_hooks

        stage = self.store.stage("features")
        found = stage.read_tensors(RESIDUALS) if stage.has(f"{RESIDUALS}.safetensors") else {}
        found |= {table.hook_name: table.resid_mean for table in self.features}
        return {hook_name: found[hook_name] for hook_name in sort_hooks(found)}

    @cached_property
    def selectivity(self) -> Selectivity:
        """The ranking."""
        from emosae.selectivity import Selectivity

        return Selectivity.load(self.store.stage("selectivity"))


def _cap_per_emotion(stories: list[Story], limit: int | None) -> list[Story]:
    """At most ``limit`` stories of each emotion and split, in file order, so that no split is emptied."""
    if limit is None:
        return stories
    from collections import Counter

    total = Counter(story.emotion for story in stories)
    seen: Counter[tuple[str, str | None]] = Counter()
    in_split = Counter((story.emotion, story.split) for story in stories)
    kept = []
    for story in stories:
        key = (story.emotion, story.split)
        seen[key] += 1
        if seen[key] <= max(1, round(limit * in_split[key] / total[story.emotion])):
            kept.append(story)
    return kept
