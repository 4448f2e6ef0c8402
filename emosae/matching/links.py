"""Link the features of two SAEs: which are one, which are parts of one, and which are nested in another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from emosae.errors import UserError
from emosae.features import StoryFeatures
from emosae.matching.labels import Pair, Relation, choose_matches, find_splits, label_pairs
from emosae.matching.nearest import PLAIN, Products
from emosae.matching.nesting import Firing, find_nested
from emosae.matching.null import Accepted, Rule, accept, draw_alike, draw_shuffled
from emosae.matching.rows import Numbers, Side, read_products, take_activations, take_directions, take_profiles
from emosae.sae import Dictionary

Link = tuple[Pair, Relation, str]

LINK_SCHEMA = pa.schema(
    [
        ("sae_a", pa.string()),
        ("feature_a", pa.int64()),
        ("sae_b", pa.string()),
        ("feature_b", pa.int64()),
        ("relation", pa.string()),
        ("by", pa.string()),
        ("activation_corr", pa.float64()),
        ("decoder_cosine", pa.float64()),
        ("profile_corr", pa.float64()),
        ("activation_threshold", pa.float64()),
        ("decoder_threshold", pa.float64()),
        ("activation_false_share", pa.float64()),
        ("decoder_false_share", pa.float64()),
    ]
)
"""The columns of a table of links."""


@dataclass(frozen=True, slots=True)
class Criteria:
    """When features are linked.

    Attributes:
        alpha: Share of the features of unrelated SAEs that chance may link, over all measures together.
        min_fires: Stories in which a feature must fire to be compared by its activations; under it correlations are
            chance.
        rule: What a match is beside nearer than chance.
        use_decoder: Whether decoder directions are compared too; None is wherever both SAEs read the same hook.
        same_model: Whether both SAEs read the same model. The decoders of two models live in different spaces.
        products: How products of all pairs are made.
    """

    alpha: float = 0.01
    min_fires: int = 10
    rule: Rule = "mutual"
    use_decoder: bool | None = None
    same_model: bool = True
    products: Products = PLAIN


DEFAULT = Criteria()


@dataclass(frozen=True, eq=False, slots=True)
class Measured:
    """Two SAEs by one measure, and what it accepts; a measure that only describes accepts nothing."""

    a: Side
    b: Side
    accepted: Accepted | None = None

    def read(self, pairs: list[Pair]) -> Float[np.ndarray, " pair"]:
        """The measure of each pair; NaN where it cannot be compared."""
        return read_products(self.a, self.b, np.array(pairs, dtype=np.int64).reshape(-1, 2))


def match_features(
    a: StoryFeatures,
    b: StoryFeatures,
    dict_a: Dictionary,
    dict_b: Dictionary,
    *,
    rng: np.random.Generator,
    block: Int[np.ndarray, " story"] | None = None,
    rows: Int[np.ndarray, " kept"] | None = None,
    criteria: Criteria = DEFAULT,
) -> pa.Table:
    """Link the features of two SAEs that read the same stories.

    Three measures. `activation_corr`: correlation of mean activations over stories, which is what two SAEs of any two
    models have in common; tokens differ from tokenizer to tokenizer, and at 65k features a table of products of tokens
    would have to be held or read twice. `decoder_cosine`: cosine of decoder directions, only in the same space.
    `profile_corr`: correlation over emotions of the mean activation; it describes and accepts nothing, as many features
    share an emotion. The first two accept pairs beyond chance (see `accept`): stories are exchanged within `block`, so
    that to share an emotion is not enough; partners' directions are drawn at random in the shape of b's decoder. Each
    measure, and nesting, gets its part of `alpha`.

    Relations: `split`, several features of b stand for one of a (`find_splits`); `merge`, the reverse; `match`, pairs
    that the rule picks (`choose_matches`), each feature in one at most; `absorbed`, a feature with none of these that
    is nested in one of the other SAE (`find_nested`), whatever SAE comes first: an absorbed feature is `feature_a`. A
    feature without a link is an orphan.

    Args:
        a: One SAE's activations.
        b: The other's, on the same stories.
        dict_a: The SAE itself.
        dict_b: The other itself.
        rng: Draws the null partners.
        block: Emotion of each story, by number; all stories are one block without it.
        rows: The stories over which activations are compared; all without it.
        criteria: When features are linked.

    Returns:
        A row per link: `by` (activation, decoder, both, or firing for absorbed features), the three measures (null
        where one cannot be taken), the threshold of the first two and the share of their pairs that chance made.

    Refused: tables on different stories; decoders of two spaces, if they are asked for.
    """
    if a.story_ids != b.story_ids:
        raise ValueError(f"{a.sae} and {b.sae} were pooled on different stories")
    block = np.zeros(len(a.story_ids), dtype=np.int64) if block is None else block
    rows = np.arange(len(block)) if rows is None else rows
    is_shared = _share_space(a, b, dict_a, dict_b, criteria)
    alone = replace(criteria, alpha=criteria.alpha / (3 if is_shared else 2))
    measured = {"activation": _compare_activations(a, b, block[rows], rows, rng, alone)}
    if is_shared:
        measured["decoder"] = _compare_decoders(dict_a, dict_b, rng, alone)
    relations, by = _relate(measured)
    first, second = (take_profiles(one.mean[rows], block[rows]) for one in (a, b))
    every = measured | {"profile": Measured(first, second)}
    links: list[Link] = [(pair, relations[pair], by[pair]) for pair in sorted(relations)]
    own, other = _find_absorbed((a, b), relations, rows, block[rows], alone)
    saes = (a.sae, b.sae)
    parts = (_tabulate(saes, links + own, every, flipped=False), _tabulate(saes, other, every, flipped=True))
    return pa.concat_tables(parts)


def _share_space(
    a: StoryFeatures, b: StoryFeatures, dict_a: Dictionary, dict_b: Dictionary, criteria: Criteria
) -> bool:
    """Whether directions are to be compared; refused where they are asked for and live in different spaces."""
    is_shared = criteria.same_model and a.hook_name == b.hook_name and dict_a.d_in == dict_b.d_in
    if criteria.use_decoder and not is_shared:
        raise UserError(
            f"the decoders of {a.sae} and {b.sae} live in different spaces ({a.hook_name}, {dict_a.d_in} wide; "
            f"{b.hook_name}, {dict_b.d_in} wide): match them by activations"
        )
    return is_shared and criteria.use_decoder is not False


def _compare_activations(
    a: StoryFeatures,
    b: StoryFeatures,
    block: Int[np.ndarray, " kept"],
    rows: Numbers,
    rng: np.random.Generator,
    criteria: Criteria,
) -> Measured:
    first, second = (take_activations(one.mean, rows, criteria.min_fires) for one in (a, b))
    null = partial(draw_shuffled, second.rows, block, rng)
    found = accept(first, second, null, alpha=criteria.alpha, rule=criteria.rule, how=criteria.products)
    return Measured(first, second, found)


def _compare_decoders(a: Dictionary, b: Dictionary, rng: np.random.Generator, criteria: Criteria) -> Measured:
    first, second = (take_directions(one) for one in (a, b))
    null = partial(draw_alike, second.rows, rng)
    found = accept(first, second, null, alpha=criteria.alpha, rule=criteria.rule, how=criteria.products)
    return Measured(first, second, found)


def _relate(measured: Mapping[str, Measured]) -> tuple[dict[Pair, Relation], dict[Pair, str]]:
    """Every pair's relation, and which measures found it; parts are found by activations."""
    accepted = {name: one.accepted for name, one in measured.items() if one.accepted is not None}
    pairs = {name: [(int(i), int(j)) for i, j in one.pairs] for name, one in accepted.items()}
    scores = {name: dict(zip(pairs[name], measured[name].read(pairs[name]), strict=True)) for name in accepted}
    by = choose_matches(accepted, scores)
    acts = measured["activation"]
    splits = find_splits(acts.a, acts.b, accepted["activation"].to_a)
    merges = [(i, j) for j, i in find_splits(acts.b, acts.a, accepted["activation"].to_b)]
    parts = {pair: "both" if by.get(pair, "activation") != "activation" else "activation" for pair in splits + merges}
    return label_pairs(by, splits, merges), by | parts


def _find_absorbed(
    features: tuple[StoryFeatures, StoryFeatures],
    relations: Mapping[Pair, Relation],
    rows: Numbers,
    block: Int[np.ndarray, " kept"],
    criteria: Criteria,
) -> tuple[list[Link], list[Link]]:
    """Links of features without a relation that are nested in one of the other SAE: those of a, and those of b."""
    firings = [Firing.of(one.fraction, rows, criteria.min_fires) for one in features]
    found: list[list[Link]] = []
    for end, one in enumerate(features):
        unlinked = np.setdiff1d(np.arange(one.d_sae), [pair[end] for pair in relations])
        nested = find_nested(firings[end], firings[1 - end], unlinked, block, alpha=criteria.alpha)
        pairs = nested if end == 0 else nested[:, ::-1]
        found.append([((int(i), int(j)), "absorbed", "firing") for i, j in pairs])
    return found[0], found[1]


def _tabulate(
    saes: tuple[str, str], links: Sequence[Link], measured: Mapping[str, Measured], *, flipped: bool
) -> pa.Table:
    """Links with their scores; `flipped` writes the second SAE first."""
    pairs = [pair for pair, _, _ in links]
    ends = [(saes[end], [pair[end] for pair in pairs]) for end in ((1, 0) if flipped else (0, 1))]
    columns: dict[str, object] = {
        "relation": [relation for _, relation, _ in links],
        "by": [by for _, _, by in links],
    }
    for name, (sae, features) in zip("ab", ends, strict=True):
        columns |= {f"sae_{name}": [sae] * len(links), f"feature_{name}": features}
    for name, score in (("activation", "corr"), ("decoder", "cosine"), ("profile", "corr")):
        values = measured[name].read(pairs).tolist() if name in measured else [None] * len(links)
        columns[f"{name}_{score}"] = [_known(value) for value in values]
    for name in ("activation", "decoder"):
        accepted = measured[name].accepted if name in measured else None
        for number in ("threshold", "false_share"):
            columns[f"{name}_{number}"] = [_known(getattr(accepted, number, None))] * len(links)
    return pa.table({field.name: columns[field.name] for field in LINK_SCHEMA}, schema=LINK_SCHEMA)


def _known(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else value
