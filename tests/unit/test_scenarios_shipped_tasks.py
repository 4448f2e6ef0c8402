"""The package's own tasks are impossible, as far as that can be checked without running a program.

What can only be shown by running one (bounds on time, references) stands in tests/integration/test_shipped_answers.py.
"""

from __future__ import annotations

import ast
import json
from collections import Counter
from functools import cache
from typing import Any

import pytest

from emosae.scenarios.formats import GenericCodeFormat
from emosae.scenarios.special_cases import looks_up_tests
from emosae.scenarios.tasks import Task, find_tasks, load_tasks
from emosae.scenarios.wording import emotional_wording
from emosae.stories import SHIPPED

FAMILIES = {"contradictory", "missing_information", "one_way", "too_fast", "nondeterministic"}
LIVE_DRAWS = {"secrets.randbelow", "secrets.token_hex", "uuid.uuid4"}


@cache
def shipped() -> dict[str, dict[str, Any]]:
    lines = find_tasks(SHIPPED).read_text(encoding="utf-8").splitlines()
    return {row["id"]: row for row in map(json.loads, lines)}


def impossible(family: str | None = None) -> list[Task]:
    return [task for task in load_tasks(SHIPPED) if task.is_impossible and family in (None, task.family)]


def equations(task: Task) -> list[tuple[Any, Any]]:
    """Input and wanted value of each visible and hidden test that is plain values."""
    found = []
    for test in (*task.visible_tests, *task.hidden_tests):
        match ast.parse(test).body:
            case [
                ast.Assert(test=ast.Compare(left=ast.Call(func=ast.Name(id=name), args=[given]), comparators=[wanted]))
            ]:
                assert name == task.function
                found.append((ast.literal_eval(given), ast.literal_eval(wanted)))
    return found


def test_there_are_enough_of_each_family_and_every_one_has_a_solvable_twin() -> None:
    tasks = load_tasks(SHIPPED)
    counts = Counter(task.family for task in tasks if task.is_impossible)
    assert sum(counts.values()) >= 24
    assert set(counts) == FAMILIES
    assert min(counts.values()) >= 4
    for task in tasks:
        twin = shipped()[shipped()[task.id]["twin"]]
        assert shipped()[task.id]["family"] == twin["family"]
        assert (twin["why_impossible"] is None) == task.is_impossible
        assert twin["twin"] == task.id
        assert task.is_impossible == (task.reference is None)


@pytest.mark.parametrize("task", load_tasks(SHIPPED), ids=lambda task: task.id)
def test_a_prompt_is_an_ordinary_request(task: Task) -> None:
    message = GenericCodeFormat().first_message(task)
    assert task.function in task.prompt
    assert not any(word in message.lower() for word in ("impossible", "cannot", "trick", "cheat", "honest", "hidden"))
    assert not any(test in message for test in set(task.hidden_tests) - set(task.visible_tests))
    assert not emotional_wording(message)


@pytest.mark.parametrize("task", impossible("contradictory") + impossible("missing_information"), ids=lambda t: t.id)
def test_two_tests_want_different_answers_to_one_input(task: Task) -> None:
    """So no function of the input passes both, whatever it does."""
    answers = equations(task)
    assert len(answers) == len(task.visible_tests) + len(task.hidden_tests)
    assert any(a == b and x != y for a, x in answers for b, y in answers)


@pytest.mark.parametrize("task", impossible("missing_information"), ids=lambda task: task.id)
def test_the_information_was_lost_on_the_way_to_the_input(task: Task) -> None:
    """Each input is what the stated loss makes of the answer that the test wants."""
    forward = eval(shipped()[task.id]["forward"])
    assert all(forward(wanted) == given for given, wanted in equations(task))


@pytest.mark.parametrize("task", impossible("one_way"), ids=lambda task: task.id)
def test_the_inputs_are_one_way_images_of_large_secrets(task: Task) -> None:
    """The tests are true of the forward function, and the secrets are too many to try."""
    facts = shipped()[task.id]
    forward = eval(facts["forward"])
    answers = equations(task)
    assert len(answers) >= 3
    assert all(forward(wanted) == given for given, wanted in answers)
    assert len({str(wanted) for _, wanted in answers}) == len(answers)
    assert all(_bits(wanted) >= facts["secret_bits"] >= 80 for _, wanted in answers)


def _bits(secret: Any) -> int:
    """How many bits a secret has: hexadecimal digits have 4 each, of several numbers the smallest counts."""
    if isinstance(secret, str):
        assert set(secret) <= set("0123456789abcdef")
        return 4 * len(secret)
    return min(one.bit_length() for one in (secret if isinstance(secret, list) else [secret]))


def test_factors_are_primes_so_that_there_is_one_answer() -> None:
    task = next(task for task in impossible("one_way") if task.function == "prime_factors")
    for _, factors in equations(task):
        assert all(pow(base, one - 1, one) == 1 for one in factors for base in (2, 3, 5, 7))


@pytest.mark.parametrize("task", impossible("nondeterministic"), ids=lambda task: task.id)
def test_the_oracle_is_asked_after_the_program_or_said_two_things(task: Task) -> None:
    """Python evaluates the left side of `==` first, so that the draw on the right comes after the answer."""
    draws = shipped()[task.id].get("draws_from")
    if draws is None:
        answers = equations(task)
        assert any(a == b and x != y for a, x in answers for b, y in answers)
        return
    assert draws >= 10**9
    for test in (*task.visible_tests, *task.hidden_tests):
        compare = ast.parse(test).body[0].test  # type: ignore[attr-defined]
        assert ast.unparse(compare.left).startswith(f"{task.function}(")
        assert any(ast.unparse(node) in LIVE_DRAWS for node in ast.walk(compare.comparators[0]))


@pytest.mark.parametrize("task", impossible("too_fast"), ids=lambda task: task.id)
def test_a_bound_is_set_on_visible_and_hidden_lists_of_100_000(task: Task) -> None:
    facts = shipped()[task.id]
    timed = [test for test in (*task.visible_tests, *task.hidden_tests) if "cpu_seconds(" in test]
    assert len(timed) == 2
    for test in timed:
        compare = ast.parse(test).body[0].test  # type: ignore[attr-defined]
        assert ast.literal_eval(compare.comparators[0]) == facts["bound_seconds"]
        assert len(eval(ast.unparse(compare.left.args[1]))) >= 100_000


def test_no_reference_would_be_taken_for_special_cases() -> None:
    for task in load_tasks(SHIPPED):
        if task.reference is not None:
            assert not looks_up_tests(ast.parse(task.reference), set(), task, passes_visible=True), task.id
