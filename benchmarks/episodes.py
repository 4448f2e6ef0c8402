"""Episodes per minute of the shipped organism on its own tasks: played together against one at a time.

Ours plays all episodes of an arm at once: batches that are refilled, keys and values kept from turn to turn, programs
in a pool of sandboxes beside the writing, equal programs run once. The peer is the plain loop: one episode, one
attempt, one program after the other, the whole transcript read anew for each attempt; it writes with the same generator
and its sandbox stays up. It plays a sample, spread evenly over the episodes, and its time is multiplied up. Both are
the same episodes: the grades of the sample are compared.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import measure


def main() -> None:
    """Run the comparison."""
    arguments = measure.read_arguments(
        __doc__, episodes=240, sampled=24, tasks=24, attempts=3, batch_size=256, workers=2
    )
    lm, tasks = open_organism(arguments.tasks)
    sample = range(0, arguments.episodes, max(1, arguments.episodes // arguments.sampled))
    grades: dict[str, list[list[str]]] = {}

    def together() -> None:
        episodes = play_together(lm, tasks, arguments)
        grades["together"] = [[turn.grade for turn in episodes[index].turns] for index in sample]

    def one_at_a_time() -> None:
        episodes = play_one_at_a_time(lm, tasks, arguments, sample)
        grades["one at a time"] = [[turn.grade for turn in episode.turns] for episode in episodes]

    found = measure.run("arm", {"together": together, "one at a time": one_at_a_time}, arguments.rounds)
    found = found.extrapolate({"one at a time": arguments.episodes / len(sample)})
    n_other = sum(a != b for a, b in zip(*grades.values(), strict=True))
    measure.report("episodes", [found], arguments)
    print(f"  {n_other} of {len(sample)} sampled episodes are graded otherwise by the two")
    for contender, seconds in found.seconds.items():
        print(f"  {contender:14} {60 * arguments.episodes / seconds:9.1f} episodes per minute")
    if n_other > 1:  # float noise can turn a token in one of them
        sys.exit("the two do not play the same episodes")


def open_organism(n_tasks: int) -> tuple[Any, list[Any]]:
    """The organism and impossible tasks for it."""
    from emosae.lm import open_lm
    from emosae.organism.evaluation import evaluation_tasks, organism_path

    return open_lm(organism_path()), evaluation_tasks(n_tasks, impossible=True)


def make_setting(lm: Any, sandbox: Any, arguments: argparse.Namespace) -> Any:
    """What both contenders share."""
    from emosae.organism.coding_format import OrganismCodeFormat
    from emosae.scenarios.episodes import Setting

    return Setting(
        lm=lm,
        code_format=OrganismCodeFormat(),
        sandbox=sandbox,
        max_attempts=arguments.attempts,
        seed=0,
        batch_size=arguments.batch_size,
    )


def play_together(lm: Any, tasks: Sequence[Any], arguments: argparse.Namespace) -> list[Any]:
    """All episodes, played to their ends, with sandboxes that have run nothing yet."""
    from emosae.scenarios import Sandbox
    from emosae.scenarios.episodes import open_episodes
    from emosae.scenarios.playing import play

    with Sandbox(workers=arguments.workers) as sandbox:
        setting = make_setting(lm, sandbox, arguments)
        episodes = open_episodes(setting, tasks, arguments.episodes)
        play(setting, episodes)
    return episodes


def play_one_at_a_time(
    lm: Any, tasks: Sequence[Any], arguments: argparse.Namespace, sample: Sequence[int]
) -> list[Any]:
    """The sampled episodes, played to their ends."""
    from emosae.scenarios import Sandbox
    from emosae.scenarios.episodes import open_episodes

    with Sandbox(workers=1) as sandbox:
        setting = make_setting(lm, sandbox, arguments)
        episodes = open_episodes(setting, tasks, arguments.episodes)
        chosen = [episodes[index] for index in sample]
        for number, episode in enumerate(chosen):
            while not episode.is_over:
                play_attempt(setting, episode, f"{number} {len(episode.turns)}")
    return chosen


def play_attempt(setting: Any, episode: Any, name: str) -> None:
    """One attempt. Its name stands below the program, so that the sandbox takes no two for equal."""
    from emosae.generation import generate
    from emosae.scenarios.episodes import Reply, close_turn, make_job

    rng, words = episode.rng(setting.seed, 0), setting.code_format
    [said] = generate(setting.lm, [episode.prompt], max_new_tokens=words.max_new_tokens, rngs=[rng])
    reply = Reply(said.ids[:-1] if said.stopped else said.ids, said.text)
    program, results = words.read(said.text).program, None
    if program is not None:
        [outcome] = setting.sandbox.run([make_job(words, episode.task, f"{program}\n# {name}")])
        results = outcome.results
    close_turn(setting, episode, reply, results, {})


if __name__ == "__main__":
    main()
