"""Cut topics into discover, tune and confirm so that no topic is in two of them and none ever moves."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from emosae.errors import UserError
from emosae.stories.records import SPLITS, Story

Unit = tuple[str, str]
"""What is assigned as one: ("topic", its name), or ("story", its id) for a story without a topic."""

QUOTA = (12, 4, 8)
"""Topics of 24 that go to discover, tune and confirm; other numbers are cut in the same proportions."""


def assign_splits(stories: Sequence[Story], salt: str, quota: tuple[int, int, int] = QUOTA) -> list[Story]:
    """Give every story the split of its topic (of its own id, if it has no topic).

    A split that is already stored wins and its whole topic follows it. The other topics are ordered by salted
    hash and fill what the stored ones leave of the quota: the order of the file does not matter, and once the
    result is stored with the corpus, topics added later never move an old one.

    Raises:
        UserError: A topic that is stored in two splits.
    """
    if min(quota) < 0 or sum(quota) == 0:
        raise UserError(f"quota {quota}: needs three counts of topics, none negative and not all zero")
    stored = _stored_splits(stories)
    split_of: dict[Unit, str] = {}
    for members in _pools(stories):
        held = {unit: stored[unit] for unit in members if unit in stored}
        split_of |= _cut(members, held, salt, quota)
    return [replace(story, split=split_of[_unit(story)]) for story in stories]


def _unit(story: Story) -> Unit:
    return ("story", story.id) if story.topic is None else ("topic", story.topic)


def _pools(stories: Sequence[Story]) -> list[set[Unit]]:
    """Units that share a quota, so that no split lacks a kind.

    All topics with an emotion are one pool, topics of neutral text only another, and stories without a topic
    are one pool per emotion.
    """
    felt = {story.topic for story in stories if not story.is_neutral}
    pools: dict[Unit, set[Unit]] = defaultdict(set)
    for story in stories:
        kind = ("story", story.emotion) if story.topic is None else ("topic", str(story.topic in felt))
        pools[kind].add(_unit(story))
    return list(pools.values())


def _cut(
    members: Collection[Unit], stored: Mapping[Unit, str], salt: str, quota: tuple[int, int, int]
) -> dict[Unit, str]:
    """Order the units that have no split yet by salted hash and cut them by what is left of the quota."""
    new = sorted((unit for unit in members if unit not in stored), key=lambda unit: _salted_hash(salt, unit))
    shares = _remaining_shares(stored, n_units=len(members), quota=quota)
    names = [name for name in SPLITS for _ in range(shares[name])]
    return {**stored, **dict(zip(new, names, strict=True))}


def _salted_hash(salt: str, unit: Unit) -> str:
    return hashlib.sha256("\0".join((salt, *unit)).encode("utf-8")).hexdigest()


def _stored_splits(stories: Sequence[Story]) -> dict[Unit, str]:
    stored: dict[Unit, str] = {}
    for story in stories:
        if story.split is None:
            continue
        known = stored.setdefault(_unit(story), story.split)
        if known != story.split:
            two = f"{known} and {story.split}"
            raise UserError(f"topic {story.topic!r} is stored in two splits, {two}: choose one")
    return stored


def _remaining_shares(stored: Mapping[Unit, str], n_units: int, quota: tuple[int, int, int]) -> dict[str, int]:
    """How many new units each split takes to come as near to the quota as the stored ones allow."""
    held = Counter(stored.values())
    goal = _apportion(n_units, quota)
    lacking = [max(0, want - held[name]) for want, name in zip(goal, SPLITS, strict=True)]
    return dict(zip(SPLITS, _apportion(n_units - len(stored), lacking), strict=True))


def _apportion(total: int, weights: Sequence[int]) -> list[int]:
    """Whole shares of `total` in proportion to `weights`, by largest remainder; earlier splits win ties."""
    scale = max(1, sum(weights))
    whole = [total * weight // scale for weight in weights]
    remainders = [(-(total * weight % scale), place) for place, weight in enumerate(weights)]
    for _, place in sorted(remainders)[: total - sum(whole)]:
        whole[place] += 1
    return whole
