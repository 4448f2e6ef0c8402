"""Whatever an endpoint does, every cell is written once, whole, and by the rules; a killed run goes on where it was."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from emosae.cli import DONE, FAILED, main
from emosae.errors import UserError
from emosae.stories import load_stories
from emosae.stories.banned import find_banned
from emosae.stories.check import check_stories
from emosae.stories.generate.answers import read_stories
from emosae.stories.generate.cells import batch_cells, plan_cells
from emosae.stories.generate.journal import open_journal, read_finished
from emosae.stories.generate.prompts import PROMPT_VERSION, write_messages
from emosae.stories.generate.settings import GenerateSettings
from emosae.stories.generate.spend import estimate_spend
from emosae.stories.generate.write import Tally, write_stories

pytestmark = pytest.mark.integration

EMOTIONS = ["afraid", "calm", "proud"]
TOPICS = ["a wedding", "riding the bus", "the night shift", "a phone call"]
WORDS = [f"{a}{b}{c}n" for a in "bdfgklmr" for b in "aeiou" for c in "stvz"]
QUICK = GenerateSettings(per_cell=2, per_call=3, concurrency=4, timeout=20, first_wait=0.02)
IMPATIENT = QUICK.model_copy(update={"timeout": 1.0})


def make_text(n_words: int = 80) -> str:
    return " ".join(random.SystemRandom().choices(WORDS, k=n_words))


@dataclass
class Asked:
    """One request as the server saw it."""

    model: str
    emotion: str
    slots: dict[int, str]
    prompt: str
    time: float

    def entries(self) -> list[dict[str, Any]]:
        return [{"slot": slot, "text": make_text()} for slot in self.slots]


Fault = Callable[["Handler", Asked], None]


@dataclass
class World:
    """A server's memory, and the faults that it commits in turn before it answers well."""

    faults: list[Fault] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    answer: Callable[[Asked], str] = lambda asked: json.dumps({"stories": asked.entries()})
    delay: float = 0.0
    in_flight: int = 0
    most_in_flight: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Handler(BaseHTTPRequestHandler):
    world: World
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["messages"][-1]["content"]
        slots = {int(n): topic for n, topic in re.findall(r"^(\d+)\. Topic: (.*?)\. \w+ person", prompt, re.M)}
        emotion = re.search(r"dominant emotion is: (.*)\.", prompt)
        assert self.path == "/v1/chat/completions"
        assert self.headers["Authorization"] == "Bearer secret"
        assert emotion is not None
        asked = Asked(body["model"], emotion[1], slots, prompt, time.monotonic())
        with self.world.lock:
            self.world.asked.append(asked)
            self.world.in_flight += 1
            self.world.most_in_flight = max(self.world.most_in_flight, self.world.in_flight)
            fault = self.world.faults.pop(0) if self.world.faults else None
        time.sleep(self.world.delay)
        with self.world.lock:
            self.world.in_flight -= 1
        try:
            fault(self, asked) if fault else self.complete(self.world.answer(asked))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def complete(self, text: str | None) -> None:
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        usage = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
        named = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
        self.send(200, json.dumps({**named, "choices": [choice], "usage": usage}))

    def send(self, status: int, body: str, headers: Mapping[str, str] | None = None, cut: int = 0) -> None:
        content = body.encode()
        self.send_response(status)
        given = {"Content-Type": "application/json", "Content-Length": str(len(content)), **(headers or {})}
        for name, value in given.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content[: len(content) - cut])
        self.close_connection = self.close_connection or cut > 0

    def log_message(self, format: str, *args: Any) -> None:
        pass


def fail(handler: Handler, asked: Asked) -> None:
    handler.send(500, '{"error": {"message": "boom"}}')


def stall(handler: Handler, asked: Asked) -> None:
    time.sleep(2)
    handler.close_connection = True


def trickle(handler: Handler, asked: Asked) -> None:
    """Bytes keep coming, so that no single read is ever late."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    for _ in range(20):
        handler.wfile.write(b" ")
        time.sleep(0.1)
    handler.close_connection = True


def break_off(handler: Handler, asked: Asked) -> None:
    handler.send(200, json.dumps({"choices": [{"message": {"content": "x" * 99}}]}), cut=40)


def hang_up(handler: Handler, asked: Asked) -> None:
    handler.close_connection = True


def answer_half_a_body(handler: Handler, asked: Asked) -> None:
    handler.send(200, '{"choices": [{"message": {"content": "{\\"stor')


def answer_half_a_story(handler: Handler, asked: Asked) -> None:
    text = json.dumps({"stories": asked.entries()})
    handler.complete(text[: len(text) * 5 // 6])


def answer_html(handler: Handler, asked: Asked) -> None:
    handler.send(200, "<html>maintenance</html>", {"Content-Type": "text/html"})


def answer_other_json(handler: Handler, asked: Asked) -> None:
    handler.send(200, '{"choices": {"0": "surprise"}, "usage": 7}')


def answer_a_list(handler: Handler, asked: Asked) -> None:
    handler.send(200, "[1, 2]")


def answer_nothing(handler: Handler, asked: Asked) -> None:
    handler.complete(None)


def chat(handler: Handler, asked: Asked) -> None:
    handler.complete("Certainly! Here is a story { about a bus.")


def limit_rate(handler: Handler, asked: Asked) -> None:
    handler.send(429, '{"error": {"message": "slow down"}}', {"Retry-After": "1"})


FAULTS = [
    *[fail, stall, trickle, break_off, hang_up, answer_half_a_body, answer_half_a_story],
    *[answer_html, answer_other_json, answer_a_list, answer_nothing, chat, limit_rate],
]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"world": world}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield world
    server.shutdown()
    server.server_close()
    thread.join()


def generate(path: Path, settings: GenerateSettings = QUICK, emotions: list[str] = EMOTIONS) -> Tally:
    cells = plan_cells(emotions, TOPICS, settings.per_cell)
    return write_stories(path, cells, emotions, "m", settings, random.Random(0))


def written(path: Path) -> list[dict[str, Any]]:
    """The lines of a file; every one must be whole."""
    content = path.read_text(encoding="utf-8")
    assert content.endswith("\n")
    return [json.loads(line) for line in content.splitlines()]


def assert_complete(path: Path, per_cell: int = 2) -> None:
    """Exactly the cells that were asked for, each once, and all good."""
    cells = plan_cells(EMOTIONS, TOPICS, per_cell)
    rows = written(path)
    assert Counter(row["id"] for row in rows) == Counter(cell.id for cell in cells)
    by_id = {cell.id: cell for cell in cells}
    for row in rows:
        cell = by_id[row["id"]]
        assert (row["emotion"], row["topic"], row["perspective"]) == (cell.emotion, cell.topic, cell.perspective)
    report = check_stories(load_stories(path), skip=["leakage"])
    assert report.violations == {}


def test_every_cell_is_written_once_with_where_it_came_from(world: World, tmp_path: Path) -> None:
    tally = generate(tmp_path / "s.jsonl")
    assert_complete(tmp_path / "s.jsonl")
    assert (tally.found, tally.written, tally.given_up, tally.retries) == (0, 24, {}, 0)
    assert (tally.spend.calls, tally.spend.tokens_in, tally.spend.tokens_out) == (9, 900, 450)
    for row in written(tmp_path / "s.jsonl"):
        assert (row["model"], row["writer"], row["endpoint"]) == ("m", "m", "127.0.0.1")
        assert row["prompt_version"] == PROMPT_VERSION
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", row["time"])


def test_a_finished_file_is_asked_nothing_and_does_not_change(world: World, tmp_path: Path) -> None:
    generate(tmp_path / "s.jsonl")
    before, n_asked = (tmp_path / "s.jsonl").read_bytes(), len(world.asked)
    tally = generate(tmp_path / "s.jsonl")
    assert ((tmp_path / "s.jsonl").read_bytes(), len(world.asked)) == (before, n_asked)
    assert (tally.found, tally.written) == (24, 0)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_loses_nothing_and_doubles_nothing(world: World, tmp_path: Path, fault: Fault) -> None:
    world.faults = [fault, fault]
    tally = generate(tmp_path / "s.jsonl", IMPATIENT if fault in (stall, trickle) else QUICK)
    assert_complete(tmp_path / "s.jsonl")
    assert len(world.asked) > 9
    is_answer = fault in (answer_half_a_story, answer_nothing, chat)
    assert (tally.retries >= 2, bool(tally.refused)) == (not is_answer, is_answer)


def test_all_faults_at_once(world: World, tmp_path: Path) -> None:
    world.faults = random.Random(3).sample(FAULTS * 2, len(FAULTS) * 2)
    generate(tmp_path / "s.jsonl", IMPATIENT.model_copy(update={"asks": 12}))
    assert_complete(tmp_path / "s.jsonl")


def test_stories_before_the_cut_of_an_answer_are_kept(world: World, tmp_path: Path) -> None:
    world.faults = [answer_half_a_story]
    generate(tmp_path / "s.jsonl", QUICK.model_copy(update={"concurrency": 1}))
    assert [len(asked.slots) for asked in world.asked[:2]] == [3, 1]


def test_retry_after_holds_back_every_call(world: World, tmp_path: Path) -> None:
    world.faults = [limit_rate]
    generate(tmp_path / "s.jsonl", QUICK.model_copy(update={"concurrency": 1}))
    assert world.asked[1].time - world.asked[0].time > 0.95
    world.faults, world.asked = [limit_rate] * 2, []
    generate(tmp_path / "t.jsonl", QUICK.model_copy(update={"concurrency": 2}))
    assert world.asked[2].time - world.asked[1].time > 0.9


def test_waits_grow(world: World, tmp_path: Path) -> None:
    world.faults = [fail] * 5
    generate(tmp_path / "s.jsonl", QUICK.model_copy(update={"concurrency": 1, "first_wait": 0.1}))
    gaps = [later.time - earlier.time for earlier, later in zip(world.asked[:5], world.asked[1:6], strict=True)]
    assert all(gap > 0.05 * 2**attempt for attempt, gap in enumerate(gaps))


@pytest.mark.parametrize("limit", [1, 3])
def test_no_more_calls_at_once_than_allowed(world: World, tmp_path: Path, limit: int) -> None:
    world.delay = 0.1
    settings = QUICK.model_copy(update={"concurrency": limit, "per_call": 2})
    generate(tmp_path / "s.jsonl", settings)
    assert world.most_in_flight == limit


def spoil(**entry: Any) -> Callable[[Asked], str]:
    """Answers whose first story is spoiled the first time."""
    spoiled: set[str] = set()

    def answer(asked: Asked) -> str:
        entries = asked.entries()
        if asked.emotion not in spoiled:
            entries[0] |= entry
            spoiled.add(asked.emotion)
        return f"```json\n{json.dumps({'stories': entries})}\n```"

    return answer


@pytest.mark.parametrize(
    ("entry", "kind", "told"),
    [
        ({"text": make_text(59)}, "length", "it had 59 words where 60 to 110 are allowed"),
        ({"text": make_text(111)}, "length", "it had 111 words"),
        ({"text": make_text(77) + " Fearful, placidly prideful"}, "banned", "it used forbidden words: "),
        ({"slot": 99}, "missing", "it was missing from the answer"),
        ({"slot": "1"}, "missing", "it was missing"),
        ({"text": None}, "missing", "it was missing"),
        ({"text": ["x"]}, "missing", "it was missing"),
    ],
)
def test_a_refused_story_is_asked_for_again_with_the_reason(
    world: World, tmp_path: Path, entry: dict[str, Any], kind: str, told: str
) -> None:
    world.answer = spoil(**entry)
    tally = generate(tmp_path / "s.jsonl")
    assert_complete(tmp_path / "s.jsonl")
    assert tally.refused == {kind: len(EMOTIONS)}
    again = [asked for asked in world.asked if "was turned down" in asked.prompt]
    assert len(again) == len(EMOTIONS)
    assert all(told in asked.prompt and len(asked.slots) == 1 for asked in again)


def test_near_duplicates_are_refused_within_an_answer_and_across_runs(world: World, tmp_path: Path) -> None:
    first, changed = make_text(), make_text().split()
    changed[8:] = first.split()[8:]
    texts = [first, " ".join(changed)]

    def repeat(asked: Asked) -> str:
        entries = asked.entries()
        for entry in entries:
            entry["text"] = texts.pop() if texts else entry["text"]
        return json.dumps({"stories": entries})

    world.answer = repeat
    settings = QUICK.model_copy(update={"concurrency": 1})
    assert generate(tmp_path / "s.jsonl", settings).refused == {"duplicate": 1}
    texts.append(first)
    tally = generate(tmp_path / "s.jsonl", settings.model_copy(update={"per_cell": 3}))
    assert (tally.refused, tally.found, tally.written) == ({"duplicate": 1}, 24, 12)
    assert_complete(tmp_path / "s.jsonl", per_cell=3)


def test_a_slot_answered_twice_counts_once(world: World, tmp_path: Path) -> None:
    world.answer = lambda asked: json.dumps({"stories": [*asked.entries(), *asked.entries(), {"slot": 4, "text": "x"}]})
    generate(tmp_path / "s.jsonl")
    assert_complete(tmp_path / "s.jsonl")
    assert len(world.asked) == 9


def test_what_is_refused_too_often_is_given_up_and_tried_by_the_next_run(world: World, tmp_path: Path) -> None:
    good = world.answer
    world.answer = lambda asked: good(asked) if asked.emotion != "calm" else chr(123) + "}"
    tally = generate(tmp_path / "s.jsonl", QUICK.model_copy(update={"asks": 2}))
    assert (tally.written, len(tally.given_up)) == (16, 8)
    assert all(cell.startswith("calm/") for cell in tally.given_up)
    assert sum(asked.emotion == "calm" for asked in world.asked) == 6
    world.answer, world.asked = good, []
    generate(tmp_path / "s.jsonl")
    assert {asked.emotion for asked in world.asked} == {"calm"}
    assert_complete(tmp_path / "s.jsonl")


def test_an_endpoint_that_stays_down_ends_the_run_and_what_was_written_stays(world: World, tmp_path: Path) -> None:
    world.faults = [*[lambda handler, asked: handler.complete(world.answer(asked))] * 2, *[fail] * 100]
    settings = QUICK.model_copy(update={"retries": 1, "concurrency": 1})
    with pytest.raises(UserError, match=r"3 calls in a row were given up: 2 calls failed, the last with: .*boom"):
        generate(tmp_path / "s.jsonl", settings)
    assert len(written(tmp_path / "s.jsonl")) == 6
    world.faults, world.asked = [], []
    generate(tmp_path / "s.jsonl")
    assert sum(len(asked.slots) for asked in world.asked) == 18
    assert_complete(tmp_path / "s.jsonl")


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_wrong_key_or_model_is_refused_at_once(world: World, tmp_path: Path, status: int) -> None:
    world.faults = [lambda handler, asked: handler.send(status, '{"error": {"message": "no"}}')] * 9
    with pytest.raises(UserError, match=r"127\.0\.0\.1 refuses model 'm'"):
        generate(tmp_path / "s.jsonl", QUICK.model_copy(update={"concurrency": 1}))
    assert len(world.asked) == 1


def test_one_bad_request_costs_its_own_cells_only(world: World, tmp_path: Path) -> None:
    world.faults = [lambda handler, asked: handler.send(400, '{"error": {"message": "content filter"}}')]
    tally = generate(tmp_path / "s.jsonl", QUICK.model_copy(update={"concurrency": 1}))  # so a call of three is first
    assert (tally.written, len(tally.given_up), tally.retries) == (21, 3, 0)
    assert "content filter" in next(iter(tally.given_up.values()))


def command(out: Path, topics: Path, emotions: Path, *flags: str) -> list[str]:
    given = ["--out", str(out), "--topics", str(topics), "--emotions", str(emotions), *flags]
    return ["stories", "generate", "--per-cell", "2", "--per-call", "3", "--first-wait", "0.02", *given]


@pytest.fixture
def lists(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "topics").write_text("\n".join(TOPICS))
    (tmp_path / "emotions").write_text("\n".join(EMOTIONS))
    return tmp_path / "topics", tmp_path / "emotions"


def test_killed_three_times_it_ends_with_exactly_the_cells(
    world: World, tmp_path: Path, lists: tuple[Path, Path]
) -> None:
    out = tmp_path / "s.jsonl"
    world.faults = random.Random(4).sample(FAULTS, len(FAULTS))
    world.delay = 0.15
    done: dict[str, set[str]] = {}
    for run, wanted in enumerate((3, 9, 15, 24)):
        done[f"m{run}"] = set(read_finished(out))
        flags = ["--model", f"m{run}", "--concurrency", "2", "--timeout", "2", "--asks", "12"]
        program = [sys.executable, "-m", "emosae", *command(out, *lists, *flags)]
        writer = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if wanted < 24:
            wait_for_lines(out, wanted, writer)
            os.kill(writer.pid, signal.SIGKILL)
        printed = writer.communicate(timeout=240)[0]
        assert writer.returncode == (0 if wanted == 24 else -signal.SIGKILL), printed
        if wanted < 24:
            with out.open("ab") as file:
                file.write(b'{"id": "proud/a-phone-call/1", "text": "torn'[: 11 * run])
    assert_complete(out)
    for asked in world.asked:
        cells = [cell for cell in plan_cells(EMOTIONS, TOPICS, 2) if cell.emotion == asked.emotion]
        unfinished = {cell.topic for cell in cells if cell.id not in done[asked.model]}
        assert set(asked.slots.values()) <= unfinished
    assert len({row["model"] for row in written(out)}) == 4
    told = re.search(r"stories: (\d+) were there, (\d+) written, 0 missing", printed)
    assert told is not None
    assert (int(told[1]), int(told[2])) == (len(done["m3"]), 24 - len(done["m3"]))


def wait_for_lines(path: Path, count: int, writer: subprocess.Popen) -> None:
    deadline = time.monotonic() + 200
    while writer.poll() is None and time.monotonic() < deadline:
        if path.exists() and path.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.01)
    raise AssertionError(f"no {count} lines: {writer.communicate()[0]}")


def test_the_verb_reports_and_shows_its_progress(
    world: World, lists: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    prices = ["--price-in", "1000", "--price-out", "2000"]
    assert main(command(tmp_path / "s.jsonl", *lists, "--model", "m", *prices)) == DONE
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0] == "stories: 0 were there, 24 written, 0 missing"
    assert lines[2] == "9 calls, 900 prompt tokens, 450 answer tokens, cost 1.80"
    assert lines[3] == str(tmp_path / "s.jsonl")
    assert "24/24" in printed.err
    assert "story/s" in printed.err or "s/story" in printed.err


def test_the_verb_fails_while_cells_are_missing(
    world: World, lists: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    world.answer = lambda asked: "no"
    assert main(command(tmp_path / "s.jsonl", *lists, "--model", "m", "--asks", "1")) == FAILED
    assert "24 of 24 stories are missing, such as " in capsys.readouterr().err.splitlines()[-1]


def test_a_dry_run_asks_nothing_and_writes_nothing(
    world: World, lists: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    flags = ["--model", "m", "--dry-run", "--price-in", "1", "--price-out", "10"]
    assert main(command(tmp_path / "s.jsonl", *lists, *flags)) == DONE
    printed = capsys.readouterr().out
    assert printed.startswith("stories: 0 of 24 are there, 24 missing\nestimate: 9 calls, ")
    assert "cost 0.0" in printed
    assert (world.asked, (tmp_path / "s.jsonl").exists()) == ([], False)
    assert main(command(tmp_path / "s.jsonl", *lists, "--model", "m")) == FAILED
    assert "OPENAI_API_KEY is not set" in capsys.readouterr().err


def test_an_estimate_covers_what_is_missing_only() -> None:
    cells = plan_cells(EMOTIONS, TOPICS, 2)
    whole = estimate_spend(cells, [], EMOTIONS, QUICK)
    half = estimate_spend(cells, [cell.id for cell in cells if cell.copy], EMOTIONS, QUICK)
    assert half.tokens_out * 2 == pytest.approx(whole.tokens_out, rel=0.01)
    assert whole.tokens_out == pytest.approx(24 * (85 * 1.4 + 14), rel=0.01)
    priced = QUICK.model_copy(update={"price_in": 2.0, "price_out": 4.0})
    assert whole.cost(QUICK) is None
    assert whole.cost(priced) == pytest.approx((whole.tokens_in * 2 + whole.tokens_out * 4) / 1e6)


def test_two_writers_of_one_file_are_refused(tmp_path: Path) -> None:
    with (
        open_journal(tmp_path / "s.jsonl"),
        pytest.raises(UserError, match="another process is writing to it"),
        open_journal(tmp_path / "s.jsonl"),
    ):
        pass


def test_a_journal_keeps_whole_lines_and_refuses_what_it_did_not_write(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    path.write_bytes(b'{"id": "a", "text": "x"}\n{"id": "b", "te')
    with open_journal(path) as journal:
        assert journal.stories == {"a": "x"}
        journal.append({"id": "b", "text": "y"})
        with pytest.raises(ValueError, match="b is finished already"):
            journal.append({"id": "b", "text": "z"})
    assert path.read_bytes() == b'{"id": "a", "text": "x"}\n{"id": "b", "text": "y"}\n'
    path.write_bytes(path.read_bytes()[:-1])
    with open_journal(path) as journal:
        assert journal.stories == {"a": "x", "b": "y"}
    for line in (b"{oops}\n", b'{"text": "x"}\n', b'{"id": "a", "text": "x"}\n' * 2):
        path.write_bytes(line)
        with pytest.raises(UserError, match=r"s\.jsonl line \d: "), open_journal(path):
            pass
        assert path.read_bytes() == line


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ('{"stories": [{"slot": 1, "text": " a "}, {"slot": 2, "text": "b"}]}', {1: "a", 2: "b"}),
        ('Sure:\n```json\n{"stories": [{"slot": 1, "text": "a {b}"}]}\n```\nDone {ok}.', {1: "a {b}"}),
        ('{"stories": [{"slot": 1, "text": "a"}, {"slot": 2, "text": "b', {1: "a"}),
        ('{"stories": [{"slot": 1, "text": "a"}, {"slot": 1, "text": "b"}]}', {1: "a"}),
        ('{"stories": [{"slot": true, "text": "a"}, {"slot": 1, "text": ""}, 7, null]}', {}),
        ('{"stories": {"slot": 1}}', {}),
        ('{"stories": 3}', {}),
        ("", {}),
        ("{", {}),
        ("[]", {}),
        ("once upon a time", {}),
    ],
)
def test_answers_are_read_as_far_as_they_go(answer: str, found: dict[int, str]) -> None:
    assert read_stories(answer) == found


def test_cells_are_even_in_perspective_and_apart_in_name() -> None:
    cells = plan_cells(EMOTIONS, TOPICS, 3)
    assert len({cell.id for cell in cells}) == len(cells) == 36
    for emotion in EMOTIONS:
        counts = Counter(cell.perspective for cell in cells if cell.emotion == emotion)
        assert counts == {"first": 6, "third": 6}
    batches = list(batch_cells(cells, {cells[0].id}, 5))
    assert [cell for batch in batches for cell in batch] == cells[1:]
    assert all(len({cell.emotion for cell in batch}) == 1 for batch in batches)
    with pytest.raises(UserError, match="topic 'A bus!' cannot be told from 'a bus'"):
        plan_cells(EMOTIONS, ["a bus", "A bus!"], 1)


def test_prompts_forbid_the_words_and_vary_alike_for_every_emotion() -> None:
    prompts = {}
    for emotion in ("afraid", "anxious"):
        batch = [cell for cell in plan_cells([emotion], TOPICS, 2) if cell.perspective == "first"]
        system, user = write_messages(batch, ["afraid", "anxious"], QUICK, {})
        assert (system["role"], user["role"]) == ("system", "user")
        assert "60 to 110 words" in user["content"]
        assert find_banned(user["content"], emotion)
        prompts[emotion] = [line for line in user["content"].splitlines() if re.match(r"\d+\. Topic", line)]
    assert prompts["afraid"] == prompts["anxious"]
    assert len(prompts["afraid"]) == 4
