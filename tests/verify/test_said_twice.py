"""What a run says in two places is compared, whoever made the checksums anew."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from actkit.runs.card import SEALED, card, sealed
from actkit.runs.facts import facts_of
from actkit.verify.recompute.run import RecomputeSpec, recompute
from actkit.verify.tables.findings import Findings
from actkit.verify.tables.run import verify
from actkit.verify.tables.said_twice import MOST_TEXT, check_said_twice
from tests.verify.mutations import leaves, other
from tests.verify.tampering import reseal

SOME = 8
"""Leaves that are changed where tests must be fast."""


def problems(run: Path) -> list[str]:
    findings = Findings(run)
    check_said_twice(run, facts_of(run), findings)
    return [str(problem) for problem in findings.problems]


def changed(path: Path, within: str, every: bool) -> Iterator[Any]:
    """Write the document with another value at each of its leaves, or at some; then as it was."""
    text, draw = path.read_text(encoding="utf-8"), random.Random(0)
    places = [place for place in leaves(json.loads(text)) if place[0] == within]
    for where in places if every else draw.sample(places, min(len(places), SOME)):
        document = json.loads(text)
        inner = document
        for key in where[:-1]:
            inner = inner[key]
        inner[where[-1]] = other(inner[where[-1]], draw)
        path.write_text(json.dumps(document), encoding="utf-8")
        yield where
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "every"),
    [("features", False), *(pytest.param(name, True, marks=pytest.mark.slow) for name in ("pairs", "directions"))],
)
def test_every_entry_of_the_two_files_is_held_against_the_third(
    name: str, every: bool, copy: Callable[[str], Path]
) -> None:
    run = copy(name)
    assert problems(run) == []
    for where in (
        place for part in ("fingerprint", "sessions") for place in changed(run / "fingerprint.json", part, every)
    ):
        assert any("fingerprint.json" in text for text in problems(run)), where
    for where in changed(run / "run.json", "options", every):
        # What is null is in no config.yaml, and stays so.
        assert problems(run) or json.loads((run / "run.json").read_text())["options"][where[1]] is None, where
    config = run / "config.yaml"
    lines = config.read_text(encoding="utf-8").splitlines(keepends=True)
    for number, line in list(enumerate(lines))[:: 1 if every else 5]:
        for instead in ("", f"#{line}", line * 2):
            config.write_text("".join([*lines[:number], instead, *lines[number + 1 :]]), encoding="utf-8")
            assert problems(run) == ["config.yaml: not the options that run.json states"], line
    config.unlink()
    assert problems(run) == []


def test_the_card_is_the_one_that_run_json_gives(copy: Callable[[str], Path]) -> None:
    run = copy("vectors")
    path, facts = run / "README.md", facts_of(run)
    lines = path.read_text(encoding="utf-8").partition(SEALED)[0].splitlines(keepends=True)
    for number in range(0, len(lines), 7):
        for instead in ("", f"#{lines[number]}"):
            text = "".join([*lines[:number], instead, *lines[number + 1 :]])
            path.write_text(sealed(text), encoding="utf-8")
            assert problems(run) == ["README.md: not the card that run.json gives"], lines[number]
            path.write_text(text, encoding="utf-8")
            assert problems(run) == [], "somebody's own card"
    path.write_text(card(facts, "mit", "somebody/name"), encoding="utf-8")
    assert problems(run) == [], "a run that was pushed"
    path.unlink()
    assert problems(run) == [], "a run of an older version"


def test_it_is_a_finding_of_verify_and_what_others_made_ends(copy: Callable[[str], Path]) -> None:
    run = copy("vectors")
    facts = json.loads((run / "run.json").read_text())
    facts["fingerprint"]["dtype"] = "float16"
    (run / "run.json").write_text(json.dumps(facts))
    reseal(run)
    found = [str(problem) for problem in verify(run).problems]
    assert "run.json: fingerprint.dtype is not what the rest of it says" in found
    nested: Any = 1
    for _ in range(2000):
        nested = [nested]
    for options, where in (({"layers": nested}, "run.json"), ({"layers": "x" * MOST_TEXT}, "config.yaml")):
        findings = Findings(run)
        check_said_twice(run, {**facts, "options": options}, findings)
        assert any(where in str(problem) for problem in findings.problems)
    (run / "fingerprint.json").write_text("[]")
    (run / "config.yaml").unlink()
    (run / "config.yaml").mkdir()
    assert len([text for text in problems(run) if "cannot be read" in text]) == 2


def test_the_model_is_the_one_that_is_described(copy: Callable[[str], Path]) -> None:
    run = copy("vectors")
    facts = facts_of(run)
    model = {**facts["model"], "architecture": "GPT2LMHeadModel", "n_layers": 12}
    found, _ = recompute(run, {**facts, "model": model}, RecomputeSpec(1), Findings(run))
    assert [text for text in found.problems if "run.json says that model." in text] == [
        "run.json says that model.architecture is 'GPT2LMHeadModel', and the model that it is 'LlamaForCausalLM'",
        "run.json says that model.n_layers is 12, and the model that it is 4",
    ]


@pytest.mark.parametrize(
    ("name", "where", "value", "says"),
    [
        ("vectors", "counts.tokens", 9, "counts.tokens is not what the manifests in shards say"),
        ("vectors", "input.shapes", {"text": 3}, "input is not what the manifests in shards say"),
        ("vectors", "rejected_reasons", {"x": 1}, "rejected_reasons is not what the manifests in shards say"),
        ("vectors", "unit", "pair of texts", "unit is 'pair of texts', not None or record or pair"),
        ("vectors", "exports", ["xml"], "exports is 'xml', not"),
        ("vectors", "model.device", "cuda:7", "model.device is 'cuda:7', not cpu"),
        ("vectors", "began", 1.0, "began is 1.0, not"),
        ("vectors", "rules.bos", "never", "fingerprint.rules.bos is not what the rest of it says"),
        ("pooled", "statistics.feature_scores.draws", 7, "statistics.feature_scores.draws is not what the rest of it"),
        (
            "directions",
            "statistics.concept_tables.seed",
            7,
            "statistics.concept_tables.seed is not what the rest of it",
        ),
    ],
)
def test_what_run_json_says_of_itself_or_of_its_shards(
    copy: Callable[[str], Path], name: str, where: str, value: Any, says: str
) -> None:
    """All but two of them passed, once checksums had been made anew."""
    run = copy(name)
    assert verify(run).problems == []
    facts = json.loads((run / "run.json").read_text())
    *outer, last = where.split(".")
    inner = facts
    for key in outer:
        inner = inner[key]
    assert inner[last] != value
    inner[last] = value
    (run / "run.json").write_text(json.dumps(facts))
    reseal(run)
    found = [str(problem) for problem in verify(run).problems]
    assert any(text.startswith(f"run.json: {says}") for text in found), found


@pytest.mark.parametrize(
    ("stated", "sound"), [("2.13.0+cu130", True), ("2.13.0", True), ("2.12.0", False), ("2.13.0+cpu", False)]
)
def test_torch_may_be_named_without_its_build(stated: str, sound: bool, copy: Callable[[str], Path]) -> None:
    """PyPI's CUDA build is 2.13.0 in its metadata and 2.13.0+cu130 in `torch.__version__`."""
    run = copy("vectors")
    for name in ("run.json", "fingerprint.json"):
        document = json.loads((run / name).read_text())
        document["sessions"][-1]["torch"] = "2.13.0+cu130"
        if name == "run.json":
            document["versions"]["torch"] = stated
        (run / name).write_text(json.dumps(document))
    found = problems(run)
    assert [text for text in found if "versions.torch" in text] == ([] if sound else found[:1])
    assert bool(found) != sound


@pytest.mark.parametrize(
    ("where", "value"),
    [("neuronpedia_id", "gpt2-small/6"), ("predicts", "blocks.3.hook_resid_post"), ("metadata.prepend_bos", False)],
)
def test_the_saes_are_those_that_are_described(copy: Callable[[str], Path], where: str, value: Any) -> None:
    run = copy("features")
    facts = facts_of(run)
    assert recompute(run, facts, RecomputeSpec(1), Findings(run))[0].others == []
    about = json.loads(json.dumps(facts["saes"][0]))
    (about["metadata"] if where.startswith("metadata.") else about)[where.removeprefix("metadata.")] = value
    found, _ = recompute(run, {**facts, "saes": [about]}, RecomputeSpec(1), Findings(run))
    assert any(
        f"run.json says that {where} of {about['name']} is {value!r}, its files " in text for text in found.others
    )
