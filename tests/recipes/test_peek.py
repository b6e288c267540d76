"""`peek`: what a file is and who reads it; every line that it prints runs."""

import json
import shlex
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actkit.backends import Description, describe
from actkit.config import ModelSpec, ReadSpec
from actkit.errors import InputError
from actkit.recipes.label_words import named, word_of
from actkit.recipes.peeking.columns import LONGEST, columns_of
from actkit.recipes.peeking.labels import label_fields
from actkit.recipes.peeking.peek import Peek, peek
from actkit.recipes.peeking.questions import MADE, whole_questions
from tests.command_line import Run

ASKED = ["How do tides work?", "Name a fruit.", "Greet me.", "What is 7 times 6?"]
GOOD = ["The moon pulls the sea.", "A banana.", "Hello there!", "It is 42."]
BAD = ["I do not know.", "A rock.", "Go away.", "It is 41."]


@lru_cache
def tiny() -> Description:
    return describe(ModelSpec("tiny"))


def look(path: Path | str, read: ReadSpec | None = None) -> Peek:
    return peek(str(path), tiny(), "tiny", read or ReadSpec())


def jsonl(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def each(make: Callable[[str, str, str], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [row for three in zip(ASKED, GOOD, BAD, strict=True) for row in make(*three)]


PAIRS = each(lambda q, a, b: [{"question": q, "chosen": a, "rejected": b, "system": "Be short."}])
FILES: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "pairs": ("p.jsonl", jsonl(PAIRS), "dpo", ()),
    "pandas": ("p.json", pd.DataFrame(PAIRS).to_json(), "dpo", ()),
    "grades": (
        "g.jsonl",
        jsonl(
            each(
                lambda q, a, b: [
                    {"prompt": q, "response": a, "helpfulness": 4},
                    {"prompt": q, "response": b, "helpfulness": 1},
                ]
            )
        ),
        "reward-detect",
        ("--label-field", "helpfulness", "--positive", ">2.5", "--negative", "<2.5"),
    ),
    "kto": (
        "k.jsonl",
        jsonl(each(lambda q, a, b: [{"instruction": q, "output": x, "kto_tag": x == a} for x in (a, b)])),
        "reward-detect",
        (),
    ),
    "classes": (
        "c.csv",
        "review,class\n" + "".join(f"{a},ham\n{b},spam\n" for a, b in zip(GOOD, BAD, strict=True)),
        "reward-detect",
        ("--text-field", "review", "--label-field", "class", "--positive", "ham", "--negative", "spam"),
    ),
    "headerless": (
        "h.tsv",
        "".join(f"{a}\t1\n{b}\t0\n" for a, b in zip(GOOD, BAD, strict=True)),
        "reward-detect",
        ("--columns", "text,label"),
    ),
    "statements": (
        "s.csv",
        "statement,label\n" + "".join(f"{a},1\n{b},0\n" for a, b in zip(GOOD, BAD, strict=True)),
        "concept",
        (),
    ),
    "prompts": ("x.txt", "\n".join(ASKED) + "\n", "capture", ()),
    "documents": ("d.jsonl", jsonl([{"story": text} for text in GOOD]), "feature-dataset", ()),
    "splits": ("t.json", json.dumps({"validation": PAIRS, "test": PAIRS[:1]}), "dpo", ("--split", "validation")),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", FILES)
def test_every_line_that_is_printed_runs(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, actkit: Run
) -> None:
    monkeypatch.chdir(tmp_path)
    name, text, command, options = FILES[kind]
    Path(name).write_text(text, encoding="utf-8")
    found = look(name)
    first = next(reading for reading in found.readings if reading.command == command)
    assert shlex.split(first.line) == ["actkit", command, name, *options]
    assert first.kept == first.read > 0 and first.lengths and first.text
    for reading in found.readings:
        if reading.kept:
            done = actkit(*shlex.split(reading.line)[1:], "--plan")
            assert done.status == 0, done.err
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("labels", "positive", "negative"),
    [
        (("1 - bad", "5 - good", "3 - fair"), "5 - good", "1 - bad"),
        (("not good", "so-so", "good one"), "good one", "not good"),
        (("very bad", "fine"), "fine", "very bad"),
        (("ham", "spam"), "ham", "spam"),
        (("10 stars", "9 stars"), "10 stars", "9 stars"),
    ],
)
def test_the_better_label_is_suggested_as_the_positive_one(
    labels: tuple[str, ...], positive: str, negative: str
) -> None:
    rows = [{"text": f"{text} {label}", "verdict": label} for text in GOOD for label in labels]
    columns = columns_of(rows)
    found = label_fields(columns, rows)
    assert ("verdict", (positive,), (negative,)) in [(own.label, own.positive, own.negative) for own in found]


@pytest.mark.parametrize("values", [(0, 1), (True, False), tuple(at / 20 for at in range(21))])
def test_the_most_of_something_bad_is_suggested_as_negative(values: tuple[Any, ...]) -> None:
    """By the rule for grades `toxicity` above the middle was the positive class."""
    rows = [{"text": f"{text} {value} {at}", "toxicity": value} for at, text in enumerate(GOOD * 4) for value in values]
    columns, most = columns_of(rows), max(values)
    suggested = [own for own in label_fields(columns, rows) if own.label == "toxicity" and own.positive]
    assert suggested
    for own in suggested:
        negative, positive = named(own.negative), named(own.positive)
        assert negative.holds(word_of(most)) and not positive.holds(word_of(most))


def test_what_the_columns_are() -> None:
    rows = [
        {"text": f"number {n}", "label": n % 2, "more": [n], "none": None, "turns": [{"role": "user"}]}
        for n in range(6)
    ]
    columns = {column.name: column for column in columns_of(rows)}
    assert columns["label"].facts() == {"types": {"number": 6}, "examples": ["0", "1"], "labels": {"0": 3, "1": 3}}
    assert columns["text"].facts() == {"types": {"text": 6}, "examples": ["number 0", "number 1"]}
    assert [dict(column.kinds) for name, column in columns.items() if name in ("more", "none")] == [
        {"list": 6},
        {"null": 6},
    ]
    assert columns_of(["a", "b"]) == []


def test_a_chat_is_shown_as_the_model_sees_it(tmp_path: Path) -> None:
    rows = [
        {"messages": [{"from": "human", "value": q}, {"from": "gpt", "value": a}]}
        for q, a in zip(ASKED, GOOD, strict=True)
    ]
    (tmp_path / "c.jsonl").write_text(jsonl(rows))
    found = look(tmp_path / "c.jsonl")
    reading = next(reading for reading in found.readings if reading.command == "capture")
    assert reading.text == "<|bos|><|user|>How do tides work?<|end|><|assistant|>The moon pulls the sea.<|end|>"
    assert found.roles == {"human": 4, "gpt": 4} and reading.fields_read == ["messages"]


def test_who_cannot_read_it_says_why(tmp_path: Path) -> None:
    (tmp_path / "c.parquet").touch()
    pa.parquet.write_table(pa.table({"prompt": pa.array([b"bytes"], pa.binary())}), tmp_path / "c.parquet")
    found = look(tmp_path / "c.parquet")
    assert found.format == "Parquet" and found.records == 1 and not any(reading.kept for reading in found.readings)
    assert all(reading.why for reading in found.readings)
    with pytest.raises(InputError, match="peek reads a file several times"):
        look("-")


@pytest.mark.slow
def test_more_records_than_are_looked_at_are_about_so_many(tmp_path: Path) -> None:
    (tmp_path / "l.jsonl").write_text(jsonl([{"text": f"number {n:05}"} for n in range(3000)]))
    found = look(tmp_path / "l.jsonl")
    assert not found.exact and found.records == 3000


def test_json_and_screen(actkit: Run, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(jsonl([*PAIRS, {"question": "\x1b[2Jx", "chosen": "", "rejected": "b"}]))
    facts = actkit("peek", path, "--json").found
    assert (facts["format"], facts["records"], facts["exact"]) == ("JSONL", 5, True)
    dpo = facts["commands"]["dpo"]
    assert dpo["reads"] and (dpo["kept"], dpo["looked_at"]) == (4, 5) and dpo["line"] == f"actkit dpo {path}"
    assert f"{path}:5, field chosen" in dpo["first_rejected"] and dpo["tokens"]["min"] > 5
    assert {"question", "system"} <= set(dpo["fields_read"])
    assert facts["columns"]["system"] == {"types": {"text": 4}, "examples": ["Be short."]}
    shown = actkit("peek", path)
    assert shown.status == 0 and f"actkit dpo {path}" in shown.out and "\x1b[2J" not in shown.out
    assert "JSONL, 5 records" in shown.out and "Be short." in shown.out


@pytest.mark.slow
def test_files_that_nobody_prepared_get_the_line_that_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, actkit: Run
) -> None:
    """Ids before the label in a TSV without a header; chats under other names; a score in place of a label."""
    monkeypatch.chdir(tmp_path)
    wordings = {"joy": "What a lovely day it was with {} and me", "anger": "I can not stand {}, and never could at all"}
    rows = [(f"e{at}x{at * 7}", word, text.format(f"the {at}")) for at in range(12) for word, text in wordings.items()]
    Path("a.tsv").write_text("".join("\t".join(row) + "\n" for row in rows))
    said = [{"speaker": "user", "utterance": "Well?"}, {"speaker": "bot", "utterance": "Well."}]
    chats = [{"convo_id": at * 37, "turns": said, "liked": at % 2 == 0} for at in range(8)]
    Path("b.jsonl").write_text("".join(json.dumps(chat) + "\n" for chat in chats))
    scored = [{"ask": f"Question {at}, and a long one?", "reply": f"Reply {at}.", "score": at / 7} for at in range(24)]
    pq.write_table(pa.Table.from_pylist(scored), "c.parquet")
    lines = {
        "a.tsv": "--label-field label --positive joy --negative anger --columns column_1,label,text",
        "b.jsonl": "--label-field liked",
        "c.parquet": "--text-field reply --label-field score --positive '>2.24' --negative '<=1.05'",
    }
    for file, options in lines.items():
        found = actkit("peek", file)
        assert f"\nactkit reward-detect {file} {options}\n" in f"\n{found.out}", found.out
        kept = shlex.split(next(line for line in found.out.splitlines() if line.startswith("actkit reward-detect")))
        assert actkit(*kept[1:], "--plan", "-q").status == 0


def test_fields_within_objects_are_found_and_ids_are_no_texts(tmp_path: Path, actkit: Run) -> None:
    """Of a log of calls it proposed `--text-field custom_id` alone."""
    calls = [
        {
            "custom_id": f"req-{at}",
            "channel": "the web",
            "request": {"messages": [{"role": "user", "content": f"Is it {at}?"}]},
            "response": {"choices": [{"message": {"role": "assistant", "content": f"It is {at}."}}]},
            "verdict": {"label": ("gut", "schlecht")[at % 2]},
        }
        for at in range(12)
    ]
    path = tmp_path / "calls.jsonl"
    path.write_text(jsonl(calls))
    found = {reading.command: reading for reading in look(path).readings}
    asked = "--prompt-field request.messages --response-field response.choices.0.message"
    assert found["capture"].line == f"actkit capture {path} {asked}"
    assert "Is it 0?" in found["capture"].text and "It is 0." in found["capture"].text
    rewards = found["reward-detect"]
    assert "--label-field verdict.label" in rewards.line and "channel" not in rewards.line and rewards.guessed
    assert "exchange them" in actkit("peek", str(path)).out
    path.write_text(jsonl({"row": {"prompt": "One?", "chosen": f"Yes {at}.", "rejected": "No."}} for at in range(6)))
    line = next(reading.line for reading in look(path).readings if reading.command == "dpo")
    assert line.endswith("--prompt-field row.prompt --chosen-field row.chosen --rejected-field row.rejected")
    assert actkit(*shlex.split(line)[1:], "--plan", "-q").status == 0


def test_two_texts_beginning_alike_are_one_example_and_objects_are_written_as_json() -> None:
    texts = columns_of({"text": f"{'x' * LONGEST} {at}", "more": {"a": "é", "b": None}} for at in range(3))
    assert [len(column.examples) for column in texts] == [1, 1, 0]
    assert columns_of([{"a": [{"role": "user", "content": "é"}]}])[0].examples == ['[{"role": "user", "content": "é"}]']


def test_sentences_that_repeat_are_texts_and_a_note_beside_tables_does_not_decide(tmp_path: Path) -> None:
    """Paths and numbers were taken for the text, where few sentences made a column of labels."""
    said = [("The room was clean and kind.", "good"), ("The soup was cold then.", "bad")] * 4
    rows = [f"C:\\notes\\{number}.txt;{text};{label}\r\n" for number, (text, label) in enumerate(said)]
    table = "Pfad;Bewertung;Urteil\r\n" + "".join(rows)
    (tmp_path / "win.csv").write_text(table, encoding="utf-8-sig", newline="")
    lines = {reading.command: reading.line for reading in look(tmp_path / "win.csv").readings if reading.kept}
    assert "--text-field Bewertung --label-field Urteil" in lines["reward-detect"]
    assert lines["capture"].endswith("--prompt-field Bewertung")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(tmp_path / "win.csv", "part/win.csv")
        archive.writestr("README.txt", "exported on Monday")
    lines = {reading.command: reading.line for reading in look(tmp_path / "all.zip").readings if reading.kept}
    assert lines["feature-dataset"].endswith("--text-field Bewertung")


@pytest.mark.parametrize(
    "record",
    [
        {"results": [{"question_id": "q1", "variations": [{"prompt": "Why?"}, {"prompt": "How?"}]}]},
        {"custom_id": "r-1", "answer": {"choices": [{"message": {"role": "assistant", "content": "A"}}]}},
        {"input": {"question": "Why?", "chat_history": [{"role": "user", "content": "Hi"}]}},
        {"data": {"question": "Why?", "context": "A long text that is asked about."}},
        {"id": "r1", "n": 1},
    ],
)
def test_no_line_reads_ids_or_one_of_several_or_what_belongs_to_a_question(
    record: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(jsonl([record]), encoding="utf-8")
    named = [shlex.split(reading.line)[3:] for reading in look(path).readings if reading.kept]
    wrong = ("custom_id", "results.0", "input.chat_history", "id")
    assert not [words for words in named if words and words[0] == "--prompt-field" and words[1].startswith(wrong)]
    assert ["--prompt-field", "data.context"] not in named and ["--text-field", "id"] not in named


LETTERED = "\nA. the moon\nB. the sun"
CHOICES = ["the moon", "the sun"]
QUESTIONS: dict[str, tuple[dict[str, Any], str, str | None]] = {
    "squad": (
        {"id": "1", "title": "Sea", "context": "The sea.", "answers": {"text": ["the moon"], "answer_start": [3]}},
        "The sea.\nQ",
        "the moon",
    ),
    "squad 2, without an answer": (
        {"context": "The sea.", "answers": {"text": [], "answer_start": []}},
        "The sea.\nQ",
        None,
    ),
    "mmlu": ({"subject": "sea", "choices": CHOICES, "answer": 1}, f"Q{LETTERED}", "B"),
    "race": ({"article": "The sea.", "options": CHOICES, "answer": "A"}, f"The sea.\nQ{LETTERED}", "A"),
    "gretel": (
        {"sql_context": "CREATE TABLE it (it INT, so TEXT);", "context_id": "7", "answer": "it"},
        "CREATE TABLE it (it INT, so TEXT);\nQ",
        "it",
    ),
    "boolq": ({"passage": "The sea.", "answer": True}, "The sea.\nQ", "yes"),
    "hotpotqa": (
        {"context": {"title": ["Sea"], "sentences": [["The sea.", "It is wet."]]}, "answer": "it"},
        "The sea.\nIt is wet.\nQ",
        "it",
    ),
    "arc": ({"choices": {"text": CHOICES, "label": ["1", "2"]}, "answerKey": "2"}, "Q\n1. the moon\n2. the sun", "2"),
    "medqa": ({"options": dict(zip("AB", CHOICES, strict=True)), "answer": "the sun"}, f"Q{LETTERED}", "the sun"),
    "mmlu as CSV": ({"A": CHOICES[0], "B": CHOICES[1], "C": "me", "answer": "B"}, f"Q{LETTERED}\nC. me", "B"),
    "copa": (
        {"premise": "The sea.", "choice1": CHOICES[0], "choice2": CHOICES[1], "label": 1},
        f"The sea.\nQ{LETTERED}",
        None,
    ),
    "siqa": (
        {"context": "The sea.", "answerA": CHOICES[0], "answerB": CHOICES[1], "label": "1"},
        f"The sea.\nQ{LETTERED}",
        None,
    ),
    "sciq": (
        {"support": "", "distractor1": "the sun", "distractor2": "the tide", "correct_answer": "the moon"},
        "Q\nA. the moon\nB. the sun\nC. the tide",
        "the moon",
    ),
    "hellaswag": ({"ctx": "Q", "endings": CHOICES, "label": "1"}, f"Q{LETTERED}", None),
    "triviaqa": (
        {
            "entity_pages": {"wiki_context": []},
            "search_results": {"title": ["t"], "search_context": ["The sea."]},
            "answer": {"aliases": ["b"], "value": "it"},
        },
        "The sea.\nQ",
        "it",
    ),
    "narrativeqa": (
        {"document": {"id": "x", "summary": {"text": "The sea."}}, "answers": [{"text": "it"}]},
        "The sea.\nQ",
        "it",
    ),
}


@pytest.mark.quick(4)
@pytest.mark.skipif(shutil.which("jq") is None, reason="needs jq")
@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
@pytest.mark.parametrize("kind", QUESTIONS)
def test_a_question_in_several_fields_gets_the_line_that_joins_them(
    kind: str, ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was proposed that keeps a passage or choices."""
    monkeypatch.chdir(tmp_path)
    fields, prompt, response = QUESTIONS[kind]
    own = {name: value for name, value in fields.items() if value != "Q"}
    rows = [{"question" if len(own) == len(fields) else "ctx": asked, **own} for asked in ASKED]
    name = f"its rows.{ending}"
    if ending == "jsonl":
        Path(name).write_text(jsonl(rows), encoding="utf-8")
    else:
        pq.write_table(pa.Table.from_pylist(rows), name)
    found = look(name)
    assert not any(reading.kept for reading in found.readings if reading.command in ("capture", "sae-extract"))
    assert found.joined is not None
    subprocess.run(found.joined, shell=True, check=True, timeout=120)
    made = [json.loads(line) for line in Path(MADE).read_text("utf-8").splitlines()]
    assert [row["prompt"] for row in made] == [prompt.replace("Q", asked) for asked in ASKED]
    assert [row.get("response") for row in made] == [response] * len(ASKED)
    again = next(reading for reading in look(MADE).readings if reading.command == "capture")
    assert again.kept == again.read == len(ASKED)


@pytest.mark.parametrize(
    ("name", "text"), [("e.jsonl", ""), ("e.jsonl", "\n\n"), ("e.csv", "prompt,id\n"), ("e.txt", "\n")]
)
def test_a_file_without_records_is_an_error(name: str, text: str, tmp_path: Path, actkit: Run) -> None:
    """It was said to hold none, with exit status 0, and that no command reads it, for no reason."""
    (tmp_path / name).write_text(text)
    found = actkit("peek", tmp_path / name)
    assert found.status == 1 and found.err.startswith(f"error: {tmp_path / name}: ")


@pytest.mark.parametrize("row", [{"question": "Q", "answer": "A"}, {"article": "A", "label": 1}, {"text": "t"}, {}])
def test_what_lies_in_one_field_needs_no_line(row: dict[str, Any]) -> None:
    assert whole_questions("x.jsonl", [row]) is None


def test_the_line_is_shown_and_in_json(tmp_path: Path, actkit: Run) -> None:
    fields, _, _ = QUESTIONS["mmlu"]
    path = tmp_path / "q.jsonl"
    path.write_text(jsonl([{"question": asked, **fields} for asked in ASKED]), encoding="utf-8")
    shown, found = actkit("peek", path), actkit("peek", path, "--json").found
    assert found["joined"] in shown.out and f"actkit capture {MADE} reads" in shown.out
    path.write_text(jsonl(PAIRS), encoding="utf-8")
    assert actkit("peek", path, "--json").found["joined"] is None


def test_a_system_message_within_an_object_is_named_and_is_no_text(tmp_path: Path) -> None:
    """It was proposed as the corpus, where it was the longest text."""
    rows = [
        {"request": {"system": "You help. " * 9, "messages": [{"role": "user", "content": asked}]}, "reply": good}
        for asked, good in zip(ASKED, GOOD, strict=True)
    ]
    path = tmp_path / "r.jsonl"
    path.write_text(jsonl(rows), encoding="utf-8")
    options = {reading.command: shlex.split(reading.line)[3:] for reading in look(path).readings if reading.kept}
    system = ["--system-field", "request.system"]
    asked = ["--prompt-field", "request.messages", "--response-field", "reply", *system]
    assert options["capture"] == options["sae-extract"] == asked
    assert options["feature-dataset"] == ["--text-field", "request.messages", *system]
    path.write_text(jsonl([{"id": n, "request": {"system": f"You help {n}."}} for n in range(4)]), encoding="utf-8")
    assert "request.system" in next(r.line for r in look(path).readings if r.command == "feature-dataset" and r.kept)


@pytest.mark.parametrize(
    "row",
    [
        {"question": "is it so", "passage": "It is {n} so.", "answer": True},
        {"premise": "It fell {n}.", "question": "cause", "choice1": "It was cut.", "label": 1},
        {"context": "They went {n} home.", "question": "What next?", "answerA": "sleep", "label": "1"},
        {"sentence": "It is {n} big.", "option1": "it", "answer": "1"},
    ],
)
def test_no_line_judges_or_asks_the_passage_of_a_question_or_a_label(row: dict[str, Any], tmp_path: Path) -> None:
    rows = [{k: v.format(n=n) if isinstance(v, str) else v for k, v in row.items()} for n in range(6)]
    rows += [{**each, **{k: 0 if row[k] != "1" else "2" for k in ("answer", "label") if k in row}} for each in rows]
    path = tmp_path / "q.jsonl"
    path.write_text(jsonl(rows), encoding="utf-8")
    for reading in look(path).readings:
        words = shlex.split(reading.line)
        if reading.kept and reading.command in ("capture", "sae-extract", "reward-detect"):
            assert not {"passage", "premise", "context"} & {*words}, reading.line
            assert "--text-field" in words or "--label-field" not in words, reading.line
