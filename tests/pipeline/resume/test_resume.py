"""A run that ends early, wherever it does, is continued to the same tables, byte for byte, and the same counts."""

import errno
import hashlib
import inspect
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actkit.backends import Model, describe, load
from actkit.config import BatchSpec, ModelSpec, OutputSpec, SaeSpec, TokenSpec
from actkit.errors import ActkitError, RunError, WriteError
from actkit.hooks import HookPoint
from actkit.pipeline import digests as digest
from actkit.pipeline.data import Record, Rejected
from actkit.pipeline.extract import extract
from actkit.pipeline.recipe import Finished, Job, Recipe
from actkit.recipes import capture, dpo, feature_dataset, reward_detect, sae_extract
from actkit.recipes.runner import ingredients
from actkit.recipes.saes import load_saes
from actkit.runs import atomic_files as files
from actkit.runs import manifest
from actkit.runs.paths import SHARDS
from actkit.runs.progress import Progress
from actkit.runs.removal import check_out

PAIRS = str(Path(__file__).parents[2] / "data" / "pairs.jsonl")
POINT = HookPoint(2, "hook_resid_post")
SMALL = BatchSpec(batch_tokens=24, shard_sequences=3)
COMMANDS = ("capture", "dpo", "sae-extract", "feature-dataset", "reward-detect")
Make = Callable[[], Recipe]

_loaded: list[Any] = []


def model() -> Model:
    if not _loaded:
        _loaded.append(load(describe(ModelSpec(device="cpu")), [POINT]))
        _loaded.append(load_saes([SaeSpec("tiny", "blocks.2.hook_resid_post")], "cpu"))
    found: Model = _loaded[0]
    return found


def write_input(folder: Path) -> Path:
    """Records of several lengths; some are bad, one has too long a text for whoever cuts."""
    path = folder / "in.jsonl"
    lines = []
    for number in range(13):
        text = " ".join(f"word{number}" for _ in range(1 + 5 * (number % 4)))
        row = {"prompt": text, "text": text, "response": "yes", "label": ["good", "bad"][number % 2], "group": number}
        lines.append(
            "{" if number == 5 else json.dumps(row if number != 8 else {"prompt": 3, "text": "", "label": "x"})
        )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def recipe_of(command: str, path: Path) -> Make:
    """A maker of recipes, since what a recipe counts belongs to one run."""

    def make() -> Recipe:
        about, saes = model().description, _loaded[1]
        made, dense = ingredients(about, saes), replace(ingredients(about, saes, [POINT]), top_k=5)
        if command == "capture":
            return capture.recipe(capture.CaptureSpec(path=str(path), tokens=TokenSpec(12)), dense)
        if command == "dpo":
            return dpo.recipe(dpo.DpoSpec(PAIRS), ingredients(about, points=[POINT]))
        if command == "sae-extract":
            spec = sae_extract.SaeExtractSpec(str(path), save_all_tokens=True, top_k=5, tokens=TokenSpec(30))
            return sae_extract.recipe(spec, made)
        if command == "feature-dataset":
            corpus = feature_dataset.FeatureDatasetSpec(str(path), top_k=5, context_size=12)
            return feature_dataset.recipe(corpus, made)
        return reward_detect.recipe(reward_detect.RewardDetectSpec(str(path), tokens=TokenSpec(100)), made)

    return make


def run(
    make: Make,
    out: Path,
    on_progress: Callable[[Progress], None] = lambda _: None,
    batch: BatchSpec = SMALL,
    options: dict[str, Any] | None = None,
    **output: Any,
) -> Finished:
    return extract(Job(make(), model(), [POINT], OutputSpec(out, **output), batch, options or {}), on_progress)


def contents(run: Path) -> dict[str, bytes]:
    """Every file of a run but run.json and the like, which hold times and paths."""
    every = {path.relative_to(run).as_posix(): path for path in run.rglob("*") if path.is_file()}
    return {name: path.read_bytes() if path.suffix == ".parquet" else b"" for name, path in every.items()}


def facts(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "run.json").read_text(encoding="utf-8"))
    times = ("seconds", "profile", "tokens_per_second", "peak_memory_mb", "began", "ended", "sessions", "notes")
    return {name: value for name, value in found.items() if name not in times}


def check_same(first: Path, second: Path) -> None:
    assert contents(first) == contents(second)
    assert facts(first) == facts(second)
    assert sorted(path.name for path in second.parent.glob(f"*{second.name}*")) == [second.name]


class Interruption:
    """Interrupts a run when it reports progress for the n-th time."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.times = 0

    def __call__(self, _: Progress) -> None:
        self.times += 1
        if self.times == self.at:
            raise KeyboardInterrupt


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_input(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("points", [4, pytest.param(1000, marks=pytest.mark.slow)], ids=["some", "all"])
def test_interrupted_at_any_batch_and_continued_is_the_same_run(
    command: str, points: int, source: Path, tmp_path: Path
) -> None:
    make = recipe_of(command, source)
    never = Interruption(0)
    most = {"max_records": 5 if command == "dpo" else None}
    whole = run(make, tmp_path / "whole", never, **most).path
    assert never.times >= 5 and len(list((whole / "sequences").iterdir())) > 2
    for at in range(2 if points < 9 else 1, never.times + 1, -(-never.times // points)):
        out = tmp_path / "part"
        with pytest.raises(KeyboardInterrupt):
            run(make, out, Interruption(at), **most)
        assert not out.exists()
        run(make, out, resume=True, **most)
        check_same(whole, out)
        shutil.rmtree(out)


@pytest.mark.slow
def test_interrupted_again_and_again_it_still_ends(source: Path, tmp_path: Path) -> None:
    make = recipe_of("feature-dataset", source)
    whole = run(make, tmp_path / "whole").path
    out = tmp_path / "part"
    shards = []
    for _ in range(100):
        try:
            # A report at the beginning, and five batches: enough for one shard, so that each time there is one more.
            run(make, out, Interruption(6), resume=True)
            break
        except KeyboardInterrupt:
            shards.append(len(list((out.with_name("part.partial") / "shards").glob("*.json"))))
    check_same(whole, out)
    assert len(shards) >= 3 and shards == sorted(shards)
    sessions = json.loads((out / "run.json").read_text())["sessions"]
    assert [session["shards_before"] for session in sessions] == [0, *shards]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "most", "stride"),
    [
        ("capture", 4, 9),
        pytest.param("feature-dataset", 13, 1, marks=pytest.mark.slow),
        pytest.param("dpo", 5, 1, marks=pytest.mark.slow),
    ],
)
def test_a_full_disk_at_any_write_is_one_sentence_and_can_be_continued(
    command: str, most: int, stride: int, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = recipe_of(command, source)
    real = os.fsync
    calls = 0
    full_at = -1

    def fsync(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls >= full_at > 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(files.os, "fsync", fsync)
    whole = run(make, tmp_path / "whole", max_records=most).path
    n_writes = calls
    assert n_writes > 25
    for at in range(1, n_writes, stride):  # the last one is after the run has its name
        calls, full_at = 0, at
        with pytest.raises(WriteError, match=r"cannot write .*: No space left on device"):
            run(make, tmp_path / "part", max_records=most)
        assert not list(tmp_path.rglob("*.tmp"))
        full_at = -1
        run(make, tmp_path / "part", resume=True, max_records=most)
        check_same(whole, tmp_path / "part")
        shutil.rmtree(tmp_path / "part")


def interrupted(make: Make, out: Path, at: int = 0) -> Path:
    """An unfinished run; by default one of which only the last steps are missing."""
    recipe = make()

    def finish(_: Path) -> Iterator[Any]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run((lambda: recipe) if at else (lambda: replace(recipe, finish=finish)), out, Interruption(at))
    return out.with_name(out.name + ".partial")


@pytest.mark.quick(1)
@pytest.mark.parametrize("how", ["truncated", "flipped", "missing"])
@pytest.mark.parametrize("name", ["features/part-00001.parquet", "shards/part-00001.json", "shards/part-00001.npz"])
def test_a_damaged_file_is_named_and_its_shard_alone_is_recomputed(
    how: str, name: str, source: Path, tmp_path: Path
) -> None:
    make = recipe_of("feature-dataset", source)
    whole = run(make, tmp_path / "whole").path
    path = interrupted(make, tmp_path / "part") / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(data if how == "flipped" else data[:-1])
    finished = run(make, tmp_path / "part", resume=True)
    state = "missing" if how == "missing" else "damaged"
    assert finished.facts["notes"] == [f"shard 1: {name} is {state}; that shard is computed again"]
    assert finished.facts["sessions"][-1]["shards_before"] == len(list((finished.path / SHARDS).iterdir())) - 1 > 1
    check_same(whole, finished.path)


@pytest.mark.slow
def test_a_damaged_first_shard_means_from_the_beginning(source: Path, tmp_path: Path) -> None:
    make = recipe_of("capture", source)
    whole = run(make, tmp_path / "whole").path
    (interrupted(make, tmp_path / "part") / "tokens" / "part-00000.parquet").write_bytes(b"")
    finished = run(make, tmp_path / "part", resume=True)
    assert "shard 0: tokens/part-00000.parquet is damaged" in finished.facts["notes"][0]
    check_same(whole, finished.path)


@pytest.mark.slow
def test_what_was_half_done_is_removed(source: Path, tmp_path: Path) -> None:
    """Temporary files, a shard without manifest, tables over the whole run, locks that were about to be taken."""
    make = recipe_of("feature-dataset", source)
    whole = run(make, tmp_path / "whole").path
    partial = interrupted(make, tmp_path / "part")
    left = ("features/.part-00002.parquet.tmp", "features/part-00099.parquet", "feature_stats/part-00007.parquet")
    for name in (*left, "shards/part-00099.npz", ".lock-123", ".run.json.tmp", "run.json"):
        (partial / name).parent.mkdir(exist_ok=True)
        (partial / name).write_bytes(b"half of it")
    check_same(whole, run(make, tmp_path / "part", resume=True).path)


def test_nothing_finished_is_computed_again(source: Path, tmp_path: Path) -> None:
    make = recipe_of("capture", source)
    partial = interrupted(make, tmp_path / "part")
    before = {path: path.stat().st_mtime_ns for path in partial.rglob("part-*.parquet")}
    batches: list[int] = []
    run(make, tmp_path / "part", lambda progress: batches.append(progress.tokens), resume=True)
    assert len(batches) == 1  # at the beginning, no batch after it
    after = {tmp_path / "part" / path.relative_to(partial): time for path, time in before.items()}
    assert {path: path.stat().st_mtime_ns for path in after} == after


@pytest.mark.slow
def test_a_manifest_vouches_for_every_file_of_its_shard(source: Path, tmp_path: Path) -> None:
    finished = run(recipe_of("feature-dataset", source), tmp_path / "run").path
    shards = sorted((finished / "shards").iterdir())
    assert [path.suffix for path in shards] == [".json"] * len(shards)  # what was counted is not needed any more
    vouched = set()
    for number, path in enumerate(shards):
        found = manifest.read(path)
        assert found.part == number
        before = manifest.read(shards[number - 1]).end.read if number else 0
        own = found.end.read - before
        assert found.progress.read == own == found.progress.written + found.progress.rejected
        for name, written in found.files().items():
            if not name.startswith("shards/"):
                vouched.add(name)
                assert (finished / name).stat().st_size == written.bytes
                assert hashlib.sha256((finished / name).read_bytes()).hexdigest() == written.sha256
    assert manifest.read(shards[-1]).end.read == 13
    tables = {path.relative_to(finished).as_posix() for path in finished.rglob("*.parquet")}
    over = ("feature_stats/", "feature_positions/", "feature_logits/")
    assert tables - vouched == {name for name in tables if name.startswith(over)}


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("number", "line"),
    [(0, '{"prompt": "another"}'), (2, '{"prompt": "another"}'), (5, '{"prompt": "mended"}'), (12, None)],
    ids=["first", "some", "one that was bad", "too few"],
)
def test_another_input_is_refused(number: int, line: str | None, source: Path, tmp_path: Path) -> None:
    make = recipe_of("capture", source)
    partial = interrupted(make, tmp_path / "part")
    before = contents(partial)
    lines = source.read_text().splitlines()
    lines[number : number + 1] = [line] if line is not None else []
    whole = source.read_text()
    source.write_text("\n".join(lines) + "\n")
    with pytest.raises(RunError, match="the input has changed: it ends" if line is None else "changed before record"):
        run(make, tmp_path / "part", resume=True)
    after = contents(partial)
    assert {name: data for name, data in before.items() if "layer_stats" not in name} == after
    source.write_text(whole)
    run(make, tmp_path / "part", resume=True)


def test_the_same_records_elsewhere_are_the_same_input(source: Path, tmp_path: Path) -> None:
    make = recipe_of("capture", source)
    interrupted(make, tmp_path / "part", at=6)
    kept = {name: data for name, data in contents(tmp_path / "part.partial").items() if name.endswith(".parquet")}
    moved = source.rename(tmp_path / "moved.jsonl")
    run(recipe_of("capture", moved), tmp_path / "part", resume=True)
    assert kept and kept.items() <= contents(tmp_path / "part").items()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"options": {"layers": "1"}}, 'layers was "0", is "1"'),
        ({"options": {"layers": "0", "chat": True}}, "chat was absent, is true"),
        ({"batch": replace(SMALL, shard_sequences=5)}, "shard_sequences was 3, is 5"),
        ({"on_bad_record": "fail"}, 'on_bad_record was "skip", is "fail"'),
        ({"max_records": 3}, "max_samples was null, is 3"),
    ],
)
def test_another_option_is_refused_and_named(change: dict[str, Any], named: str, source: Path, tmp_path: Path) -> None:
    make = recipe_of("capture", source)
    with pytest.raises(KeyboardInterrupt):
        run(make, tmp_path / "part", Interruption(6), options={"layers": "0"})
    partial = tmp_path / "part.partial"
    before = contents(partial)
    with pytest.raises(RunError, match="was begun differently") as caught:
        run(make, tmp_path / "part", **{"options": {"layers": "0"}, "resume": True, **change})
    assert named in caught.value.message and "more" not in caught.value.message
    assert contents(partial) == before


def test_another_model_tokenizer_or_sae_is_refused_and_named(source: Path, tmp_path: Path) -> None:
    make = recipe_of("sae-extract", source)
    interrupted(make, tmp_path / "part", at=6)
    changed = next(iter(model().module.parameters()))
    changed.data[0, 0] += 1
    with pytest.raises(RunError, match="weights was"):
        run(make, tmp_path / "part", resume=True)
    changed.data[0, 0] -= 1
    template, model().description.tokenizer.chat_template = model().description.tokenizer.chat_template, "{}"
    with pytest.raises(RunError, match="tokenizer was"):
        run(make, tmp_path / "part", resume=True)
    model().description.tokenizer.chat_template = template
    kept = _loaded[1]
    _loaded[1] = [replace(kept[0], facts={**kept[0].facts, "trained_by": "someone else"})]
    with pytest.raises(RunError, match=r"sae.tiny/blocks.2.hook_resid_post was"):
        run(make, tmp_path / "part", resume=True)
    _loaded[1] = load_saes([SaeSpec("tiny", "blocks.2.hook_resid_post")], "cpu")
    weights = inspect.getclosurevars(_loaded[1][0].encode).nonlocals["sae"].W_enc
    weights.data[0, 0] += 1
    with pytest.raises(RunError, match=r"sae.tiny/blocks.2.hook_resid_post was"):
        run(make, tmp_path / "part", resume=True)
    weights.data[0, 0] -= 1
    run(make, tmp_path / "part", resume=True)


def test_the_batch_budget_may_change(source: Path, tmp_path: Path) -> None:
    make = recipe_of("capture", source)
    interrupted(make, tmp_path / "part", at=6)
    finished = run(
        make,
        tmp_path / "part",
        batch=replace(SMALL, batch_tokens=64),
        options={"device": "x", "batch_tokens": 64},
        resume=True,
    )
    assert finished.facts["batch_tokens_used"] == 64


def test_a_complete_run_is_left_as_it_is(source: Path, tmp_path: Path) -> None:
    make = recipe_of("capture", source)
    first = run(make, tmp_path / "run", resume=True)  # with nothing there, it begins
    assert not first.was_complete
    before = {path: path.stat().st_mtime_ns for path in first.path.rglob("*")}
    again = run(make, tmp_path / "run", resume=True)
    assert again.was_complete and again.facts == json.loads((first.path / "run.json").read_text())
    assert {path: path.stat().st_mtime_ns for path in first.path.rglob("*")} == before
    with pytest.raises(RunError, match="max_samples was null, is 3"):
        run(make, tmp_path / "run", resume=True, max_records=3)


@pytest.mark.slow
def test_a_replacement_that_is_interrupted_leaves_the_old_run_and_replaces_it_when_continued(
    source: Path, tmp_path: Path
) -> None:
    make = recipe_of("capture", source)
    old = run(make, tmp_path / "run", max_records=4).path
    before = contents(old)
    with pytest.raises(KeyboardInterrupt):
        run(make, old, Interruption(6), overwrite=True)
    assert contents(old) == before
    finished = run(make, old, resume=True)
    assert finished.facts["counts"]["read"] == 13
    check_same(run(make, tmp_path / "whole").path, old)


def test_an_unfinished_run_beside_a_finished_one_that_it_does_not_replace_is_refused(
    source: Path, tmp_path: Path
) -> None:
    make = recipe_of("capture", source)
    partial = interrupted(make, tmp_path / "run", at=5)
    aside = partial.rename(tmp_path / "aside")
    run(make, tmp_path / "run")
    aside.rename(partial)
    with pytest.raises(RunError, match="run exists already, and the unfinished run was not begun to replace it"):
        run(make, tmp_path / "run", resume=True)


def test_a_second_process_is_refused_and_told_the_first(source: Path, tmp_path: Path) -> None:
    make = recipe_of("capture", source)
    seen: list[str] = []

    def second(_: Progress) -> None:
        for more in ({"resume": True}, {"overwrite": True}):
            with pytest.raises(RunError) as caught:
                run(make, tmp_path / "run", **more)
            seen.append(caught.value.message)
        for overwrite, resume in ((True, False), (False, True), (False, False)):
            with pytest.raises(RunError) as caught:  # before a model is loaded
                check_out(tmp_path / "run", overwrite, resume)
            seen.append(caught.value.message)

    run(make, tmp_path / "run", second)
    assert set(seen) == {f"{tmp_path}/run.partial is being written by process {os.getpid()} on {socket.gethostname()}"}
    check_same(run(make, tmp_path / "whole").path, tmp_path / "run")


def test_equal_values_have_one_digest_and_others_another() -> None:
    def of(*values: Any) -> str:
        hashed = digest.InputDigest()
        for number, value in enumerate(values):
            rejected = isinstance(value, Rejected)
            hashed.add(value if rejected else Record(number, "f", number, value))
        return hashed.hex()

    bad = Rejected(0, "f", 1, None, "empty line")
    assert of({"a": 1, "b": [2.5, None]}) == of({"b": [2.5, None], "a": 1})
    assert of(bad) == of(replace(bad, source="g", line=9))
    every = [of("a", "b"), of("ab"), of("b", "a"), of("a"), of(), of(bad), of({"a": 1}), of({1: "a", "a": 1}), of(b"a")]
    assert len(set(every)) == len(every)
    assert of(object()) == of(object())  # whose repr says where in memory they are


@pytest.mark.quick(2)
@pytest.mark.parametrize(("number", "times"), [(3, 2), (2, 2), (4, 0), (12, 0), (5, 2)])
def test_a_record_that_is_not_written_or_rejected_once_is_found_at_the_end(
    number: int, times: int, source: Path, tmp_path: Path
) -> None:
    """In the middle of a shard, across two, lost, and rejected twice."""
    recipe = recipe_of("capture", source)()

    def wrong() -> Iterator[Any]:
        for record in recipe.records():
            yield from [record] * (times if record.record_id == number else 1)
        if number == 12:
            yield replace(record, record_id=13)

    with pytest.raises(ActkitError, match=r"each once|counted, .* found"):
        run(lambda: replace(recipe, records=wrong), tmp_path / "run")
    assert not (tmp_path / "run").exists()
