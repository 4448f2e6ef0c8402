"""Every emotion word is there once, says what a story must not use, and human norms are read or refused by name."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import pytest

from emosae.cli import main
from emosae.errors import UserError
from emosae.stories import EmotionWord, Norm, banned_forms, load_norms, load_taxonomy

PAPER_WORDS = """
afraid, alarmed, alert, amazed, amused, angry, annoyed, anxious, aroused, ashamed, astonished, at ease, awestruck,
bewildered, bitter, blissful, bored, brooding, calm, cheerful, compassionate, contemptuous, content, defiant,
delighted, dependent, depressed, desperate, disdainful, disgusted, disoriented, dispirited, distressed, disturbed,
docile, droopy, dumbstruck, eager, ecstatic, elated, embarrassed, empathetic, energized, enraged, enthusiastic,
envious, euphoric, exasperated, excited, exuberant, frightened, frustrated, fulfilled, furious, gloomy, grateful,
greedy, grief-stricken, grumpy, guilty, happy, hateful, heartbroken, hope, hopeful, horrified, hostile, humiliated,
hurt, hysterical, impatient, indifferent, indignant, infatuated, inspired, insulted, invigorated, irate, irritated,
jealous, joyful, jubilant, kind, lazy, listless, lonely, loving, mad, melancholy, miserable, mortified, mystified,
nervous, nostalgic, obstinate, offended, on edge, optimistic, outraged, overwhelmed, panicked, paranoid, patient,
peaceful, perplexed, playful, pleased, proud, puzzled, rattled, reflective, refreshed, regretful, rejuvenated,
relaxed, relieved, remorseful, resentful, resigned, restless, sad, safe, satisfied, scared, scornful, self-confident,
self-conscious, self-critical, sensitive, sentimental, serene, shaken, shocked, skeptical, sleepy, sluggish, smug,
sorry, spiteful, stimulated, stressed, stubborn, stuck, sullen, surprised, suspicious, sympathetic, tense, terrified,
thankful, thrilled, tired, tormented, trapped, triumphant, troubled, uneasy, unhappy, unnerved, unsettled, upset,
valiant, vengeful, vibrant, vigilant, vindictive, vulnerable, weary, worn out, worried, worthless
"""
PAPER = [word.strip() for word in PAPER_WORDS.replace("\n", " ").split(",")]
CORPUS_WORDS = """
loving guilty afraid desperate calm joyful excited grieving sad lonely proud curious angry frustrated anxious ashamed
relieved hopeful grateful disgusted surprised jealous amused nostalgic content bored resentful hopeless tender panicked
confident embarrassed
"""
CORPUS = CORPUS_WORDS.split()
MUST_BAN = {
    "afraid": "fear fears frightened scariest terrified dreading horrifying petrified spooked",
    "calm": "peacefully serenity tranquillity relaxing placid composure still soothes",
    "confident": "self-assured sure certainty boldly self-belief",
    "desperate": "desperation frantically despaired hopelessness last-resort",
    "embarrassed": "awkwardness mortifying humiliation shame sheepishly self-consciously",
    "hopeless": "hope hoped despairing despondent futility pointlessly useless",
    "lonely": "loner alone isolation solitary solitude forsaken",
    "sad": "saddened sorrowful unhappily melancholic misery gloomy mournful depression heartbroken",
}
MUST_ALLOW = {
    "afraid": "scarecrow terrific",
    "calm": "composer compost distillery",
    "confident": "confidential",
    "curious": "curing wonderful",
    "grateful": "grated",
    "jealous": "environment",
    "relieved": "relied",
    "resentful": "biter",
    "surprised": "amazon stunt",
    "tender": "fondue",
}
WARRINER = '"","Word","V.Mean.Sum","V.SD.Sum","A.Mean.Sum","D.Mean.Sum"\n"1","merry",9,1.1,3,6\n"2","grim",2,1,5,4\n'
NRC_1 = "Word\tValence\tArousal\tDominance\nmerry\t1.0\t0.25\t0.6\ngrim\t0.125\t0.5\t0.4\n"
NRC_2 = "term\tvalence\tarousal\tdominance\nmerry\t1.0\t-0.5\t0.2\ngrim\t-0.75\t0.0\t-0.2\n"


@pytest.fixture(scope="module")
def taxonomy() -> Mapping[str, EmotionWord]:
    return load_taxonomy()


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_every_word_of_the_paper_and_of_the_corpus_is_there(taxonomy: Mapping[str, EmotionWord]) -> None:
    assert len(PAPER) == 171
    assert [word for word, entry in taxonomy.items() if entry.source == "arXiv 2604.07729"] == PAPER
    own = {word for word, entry in taxonomy.items() if entry.source == "emosae"}
    assert own == set(CORPUS) - set(PAPER)
    assert set(taxonomy) == set(PAPER) | set(CORPUS)


def test_no_word_has_two_lines() -> None:
    text = (files("emosae.stories") / "data" / "taxonomy.jsonl").read_text(encoding="utf-8")
    counts = Counter(json.loads(line)["word"] for line in text.splitlines())
    assert [word for word, count in counts.items() if count > 1] == []


def test_families_have_names_and_company(taxonomy: Mapping[str, EmotionWord]) -> None:
    families = Counter(entry.family for entry in taxonomy.values())
    assert 12 <= len(families) <= 16
    assert all(re.fullmatch("[a-z]+", family) for family in families)
    assert min(families.values()) >= 3


def test_opponents_are_words_that_oppose_back(taxonomy: Mapping[str, EmotionWord]) -> None:
    pairs = {word: entry.opponent for word, entry in taxonomy.items() if entry.opponent}
    assert pairs["desperate"] == "calm"
    assert {word for word, opponent in pairs.items() if opponent == word or pairs.get(opponent) != word} == set()


def test_opponents_share_no_form(taxonomy: Mapping[str, EmotionWord]) -> None:
    pairs = [(entry, taxonomy[entry.opponent]) for entry in taxonomy.values() if entry.opponent]
    assert [(one.word, set(one.forms) & set(two.forms)) for one, two in pairs if set(one.forms) & set(two.forms)] == []


def test_valence_and_arousal_are_in_range_and_opponents_differ(taxonomy: Mapping[str, EmotionWord]) -> None:
    placed = {word: (entry.valence, entry.arousal) for word, entry in taxonomy.items()}
    assert {word: place for word, place in placed.items() if not all(-1 <= number <= 1 for number in place)} == {}
    near = [
        word
        for word, entry in taxonomy.items()
        if entry.opponent and max(abs(a - b) for a, b in zip(placed[word], placed[entry.opponent], strict=True)) < 0.5
    ]
    assert near == []


def test_forms_begin_with_the_word_and_are_clean_text(taxonomy: Mapping[str, EmotionWord]) -> None:
    for word, entry in taxonomy.items():
        listed = [*entry.forms, *entry.synonyms]
        assert entry.forms[0] == word
        assert entry.synonyms
        assert [text for text, count in Counter(listed).items() if count > 1] == []
        assert [text for text in listed if not re.fullmatch("[a-z]+([ -][a-z]+)*", text)] == []


def test_banned_are_forms_and_synonyms() -> None:
    assert {"desperate", "desperately", "desperateness", "desperation", "frantic"} <= banned_forms("desperate")
    assert banned_forms("Desperate") == banned_forms("desperate")
    assert banned_forms("saudade") == {"saudade"}


@pytest.mark.parametrize("emotion", MUST_BAN)
def test_close_words_are_banned_in_every_inflection(emotion: str) -> None:
    assert set(MUST_BAN[emotion].split()) - banned_forms(emotion) == set()


@pytest.mark.parametrize("emotion", MUST_ALLOW)
def test_everyday_words_that_only_begin_alike_are_allowed(emotion: str) -> None:
    assert set(MUST_ALLOW[emotion].split()) & banned_forms(emotion) == set()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (WARRINER, [Norm(1.0, -0.5, "Warriner et al. 2013"), Norm(-0.75, 0.0, "Warriner et al. 2013")]),
        (NRC_1, [Norm(1.0, -0.5, "NRC-VAD v1"), Norm(-0.75, 0.0, "NRC-VAD v1")]),
        (NRC_2, [Norm(1.0, -0.5, "NRC-VAD v2"), Norm(-0.75, 0.0, "NRC-VAD v2")]),
    ],
    ids=["warriner", "nrc-1", "nrc-2"],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_norms_are_known_by_their_columns_and_mapped(
    text: str, expected: list[Norm], newline: str, tmp_path: Path
) -> None:
    path = tmp_path / "norms.txt"
    path.write_bytes(("\ufeff" + text.replace("\n", newline)).encode("utf-8"))
    assert dict(load_norms(path)) == dict(zip(["merry", "grim"], expected, strict=True))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "V.Mean.Sum"),
        ("Word,Valence,Arousal,Dominance\nmerry,1,1,1\n", "term, valence, arousal, dominance"),
        (NRC_1.replace("0.125", "low"), "line 3: Valence is 'low', not a number"),
        (NRC_1.replace("0.125", "nan"), "line 3: Valence is nan, off the scale 0..1"),
        (NRC_1.replace("0.25", "1.01"), "line 2: Arousal is 1.01, off the scale 0..1"),
        (WARRINER.replace(",9,", ",0.9,"), "line 2: V.Mean.Sum is 0.9, off the scale 1..9"),
        (NRC_2.replace("-0.75", "-1.5"), "line 3: valence is -1.5, off the scale -1..1"),
        (NRC_2 + "sour\n", "line 4: valence is None"),
        (NRC_2.replace("grim", " "), "line 3: the word '' is empty"),
        (NRC_2.replace("grim", "merry"), "line 3: the word 'merry'"),
        (WARRINER + '"' + "x" * 200_000, "after line 3: is not a table"),
    ],
)
def test_bad_norms_are_refused_by_file_and_line(text: str, named: str, tmp_path: Path) -> None:
    path = write(tmp_path / "norms.csv", text)
    with pytest.raises(UserError, match=re.escape(named)) as refusal:
        load_norms(path)
    assert str(path) in str(refusal.value)


def test_norms_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.csv: cannot be read"):
        load_norms(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes("Wört".encode("latin-1"))
    with pytest.raises(UserError, match=r"latin\.csv: is not UTF-8"):
        load_norms(tmp_path / "latin.csv")


def test_a_word_that_stands_twice_with_the_same_ratings_is_read(tmp_path: Path) -> None:
    assert list(load_norms(write(tmp_path / "norms.txt", NRC_2 + NRC_2.splitlines()[1] + "\n"))) == ["merry", "grim"]


def test_the_words_are_listed_beside_the_norms_of_the_user(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "ratings.csv"
    path.write_text("Word,V.Mean.Sum,A.Mean.Sum,D.Mean.Sum\ncalm,7,2,6\nafraid,2,6,3\nproud,8,5,7\n")
    assert main(["stories", "words", "--norms", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if line.split()[-2:] == ["-", "-"]]) == len(load_taxonomy()) - 3
    assert next(line for line in lines if line.startswith("calm ")).split()[-2:] == ["+0.50", "-0.75"]
    assert lines[-1].startswith("3 of 176 words have norms")


def test_a_family_that_is_none_is_named_with_those_that_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stories", "words", "--family", "colours"]) == 2
    assert "'colours'" in capsys.readouterr().err
    assert main(["stories", "words", "--family", "fear"]) == 0
    rows = capsys.readouterr().out.splitlines()[1:-2]
    assert [row.split("  ")[0] for row in rows] == [
        word for word, its in load_taxonomy().items() if its.family == "fear"
    ]
