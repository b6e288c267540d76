"""What a run was asked: once, in its specs, for the command line and for Python alike."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, fields, is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

import actkit
from actkit.analysis.feature_tests.feature_scores import ScoreSettings
from actkit.config import BatchSpec, ModelSpec, OutputSpec, SaeSpec
from actkit.errors import RunError, UsageError
from actkit.pipeline.resume.fingerprint import CHANGES_NO_ROW
from actkit.recipes import capture, concept, dpo, feature_dataset, reward_detect, sae_extract
from actkit.recipes.asked import options_of
from actkit.recipes.concept import ConceptSpec
from actkit.recipes.feature_dataset import FeatureDatasetSpec
from actkit.recipes.specs import LARGEST, checked
from actkit.recipes.steering.spec import SteerSpec
from actkit.runs.facts import config_text
from tests.command_line import Run

CPU = ModelSpec(device="cpu")
SAES = [
    SaeSpec(path="d/one", layer=3, hook_name="hook_resid_post"),
    SaeSpec(path="d/two", layer=3, hook_name="hook_resid_post"),
    SaeSpec("release", "id/a", None, 3, "hook_resid_post"),
    SaeSpec("release", "id/b", None, 3, "hook_resid_post"),
]
NOT_ASKED = {"overwrite", "resume", "plan_only", "loaded", "published", "task", "backend"}
"""How a run is gone about, a model in memory, and what runs a model, of which there is one."""
MEANT: dict[str, Any] = {
    "out": Path("x/run"),
    "saes": SAES,
    "prompts": ("One: {x}", "-2\n\u2028\x7f😀"),
    "positions": "0,-1",
    "layers": "1,2",
    "columns": "a,b",
    "date": "2026-01-02T03:04:05",
    "input_format": "trl",
    "positive": "Good: {stem}",
    "negative": "Bad: {stem}",
}
"""Values of fields that not every value fits."""


def another(hint: Any, default: Any, name: str) -> Any:
    """A value of a field's type that is not its default."""
    kinds = [kind for kind in get_args(hint) if kind is not type(None)]
    if get_origin(hint) is Literal:
        return next(value for value in get_args(hint) if value != default)
    if get_origin(hint) in (Union, UnionType):
        return another(kinds[0], default, name)
    if is_dataclass(hint):
        return filled(hint)
    if get_origin(hint) in (tuple, Sequence):
        return tuple(f"{name}-{number}" for number in (1, 2)) if kinds[0] is str else (0.25, -2.0)
    if hint is int:
        return (default or 0) + 3
    values = {bool: default is not True, float: 0.125, str: f"{name}-x", Any: f"{name}-x"}
    return values[hint]


def filled(kind: Any, **given: Any) -> Any:
    """A spec of which every field, but what is not asked, has another value than by default."""
    hints = get_type_hints(kind)
    for field in fields(kind):
        if field.name in given or field.name in NOT_ASKED:
            continue
        hint, default = hints[field.name], None if field.default is MISSING else field.default
        fits = field.name in MEANT and (get_origin(hint) is not Literal and get_origin(hint) is not tuple)
        known = fits or (field.name == "prompts" and kind is actkit.CaptureSpec)
        given[field.name] = MEANT[field.name] if known else another(hint, default, field.name)
    return kind(**given)


DENSE = filled(actkit.DenseSpec)
SPARSE = filled(actkit.SparseSpec, output=filled(OutputSpec, store_dtype="float32"))
BY_LABEL = filled(actkit.FeedbackFields, positive_columns=(), negative_columns=())
BY_COLUMN = filled(actkit.FeedbackFields, label=None, positive=(), negative=())
ALONE = {"what", "template", "stems", "positive_columns", "negative_columns", "label", "positive", "negative"}
"""Fields that exclude others, so that each is left out once."""
ASKED: dict[str, tuple[Any, Any, Any]] = {
    "dpo": (dpo, filled(actkit.DpoSpec), DENSE),
    "capture": (capture, filled(actkit.CaptureSpec, chat=True), DENSE),
    "concept": (concept, filled(actkit.ConceptSpec, what=None), DENSE),
    "concept by name": (concept, filled(actkit.ConceptSpec, template=None, stems=None), DENSE),
    "sae-extract": (sae_extract, filled(actkit.SaeExtractSpec), SPARSE),
    "feature-dataset": (feature_dataset, filled(actkit.FeatureDatasetSpec), SPARSE),
    "reward-detect": (reward_detect, filled(actkit.RewardDetectSpec, fields=BY_LABEL), SPARSE),
    "reward-detect by columns": (reward_detect, filled(actkit.RewardDetectSpec, fields=BY_COLUMN), SPARSE),
}


def leaves(spec: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every field of a spec and of those in it: its path, its value and its default."""
    for field in fields(spec):
        value, made = getattr(spec, field.name), field.default_factory
        if is_dataclass(value):
            yield from leaves(value, f"{where}{field.name}.")
        else:
            yield f"{where}{field.name}", value, made() if made is not MISSING else field.default


def changed(spec: Any, path: str, value: Any) -> Any:
    name, _, rest = path.partition(".")
    return replace(spec, **{name: changed(getattr(spec, name), rest, value) if rest else value})


def plain(spec: Any) -> Any:
    """A spec whose sequences are tuples, whatever they were given as."""
    tuples = {path: tuple(value) for path, value, _ in leaves(spec) if isinstance(value, (list, tuple))}
    for path, value in tuples.items():
        spec = changed(spec, path, value)
    return spec


@pytest.fixture
def replayed(actkit: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[Any, Any]]:
    """The specs that the command line makes of a `config.yaml`."""
    monkeypatch.chdir(tmp_path)

    def replay(module: Any, own: Any, common: Any) -> tuple[Any, Any]:
        found: list[Any] = []

        def run(*specs: Any) -> None:
            found.extend(specs[:2])
            raise RunError("seen", "by the test")

        monkeypatch.setattr(module, f"run_{own.command.replace('-', '_')}", run)
        Path("config.yaml").write_text(config_text(own.command, options_of(own, common)), encoding="utf-8")
        status, _, err = actkit(own.command, "--config", "config.yaml", "-q")
        assert status == 1 and err.startswith("error: seen"), err
        return found[0], found[1]

    return replay


@pytest.mark.parametrize("name", ASKED)
def test_the_command_line_replays_a_config_of_any_specs(name: str, replayed: Callable[..., tuple[Any, Any]]) -> None:
    """Every field of every spec has another value than by default here, so that none can be left out."""
    module, own, common = ASKED[name]
    every = (*leaves(own), *leaves(common))
    usual = {path.rpartition(".")[2] for path, value, default in every if value == default}
    assert usual <= NOT_ASKED | ALONE | {"store_dtype"}
    found = replayed(module, own, common)
    assert (plain(found[0]), plain(found[1])) == (plain(own), plain(common))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("own", "common"),
    [
        (actkit.CaptureSpec(("x",)), replace(DENSE, saes=(), top_k=None)),
        (actkit.CaptureSpec(("x",)), replace(DENSE, saes=(SaeSpec("tiny", "blocks.1.hook_resid_post"),))),
        (actkit.SaeExtractSpec("p", top_k=None), replace(SPARSE, saes=[SaeSpec("r", None, layer=1)])),
        (actkit.FeatureDatasetSpec("p"), replace(SPARSE, saes=[SaeSpec(path="a"), SaeSpec("o/n", "i/d")])),
        (
            actkit.RewardDetectSpec(),
            replace(SPARSE, saes=[SaeSpec("gpt2-small-res-jb", "blocks.6.hook_resid_pre"), SaeSpec("o/n", "i/d")]),
        ),
    ],
)
def test_what_other_flags_say_is_replayed_too(own: Any, common: Any, replayed: Callable[..., tuple[Any, Any]]) -> None:
    """None where it is no default, the example data, SAEs of several releases."""
    modules = {"capture": capture, "sae-extract": sae_extract, "feature-dataset": feature_dataset}
    found = replayed(modules.get(own.command, reward_detect), own, common)
    assert (plain(found[0]), plain(found[1])) == (plain(own), plain(common))


def test_saes_that_options_cannot_tell_apart_are_named_whole() -> None:
    """Of two layers, each with its release alone, the ids are what SAELens has there."""
    saes = [SaeSpec("gpt2-small-res-jb", None, layer=6), SaeSpec("tiny", None, layer=2)]
    options = options_of(actkit.SaeExtractSpec("p"), replace(SPARSE, saes=saes))
    named = ["gpt2-small-res-jb/blocks.6.hook_resid_pre", "tiny/blocks.2.hook_resid_post"]
    assert (options["sae_release"], options["sae_id"], options["target_layer"]) == (None, named, None)


@pytest.mark.parametrize("change", [{"path": "d/three"}, {"layer": 2}, {"hook_name": None}])
def test_no_field_of_an_sae_changes_without_an_option(change: dict[str, Any]) -> None:
    own, common = actkit.SaeExtractSpec("p"), replace(SPARSE, saes=SAES[:1])
    other = replace(common, saes=[replace(SAES[0], **change)])
    assert options_of(own, common) != options_of(own, other)


@pytest.mark.quick(4)
@pytest.mark.parametrize("name", ASKED)
def test_no_field_of_a_spec_changes_without_an_option(name: str) -> None:
    """Else a run could be continued with other rows. Two specs that differ anywhere have different options."""
    _, own, common = ASKED[name]
    before = options_of(own, common)
    for at, spec in enumerate((own, common)):
        for path, value, default in leaves(spec):
            last = path.rpartition(".")[2]
            if value == default or last in NOT_ASKED or (spec is SPARSE and last == "store_dtype"):
                continue
            other = default if default is not MISSING else () if last == "saes" else "another"
            specs = [own, common]
            specs[at] = changed(spec, path, other)
            after = options_of(*specs)
            differs = {key for key in before if before[key] != after.get(key)}
            assert differs, f"{path}: {value} and {other} are one to run.json"
            assert differs <= set(CHANGES_NO_ROW) or last not in CHANGES_NO_ROW


class Stop:
    """Interrupts a run at the n-th report of progress."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(self, _progress: object) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def dense(out: Path, **output: Any) -> actkit.DenseSpec:
    return actkit.DenseSpec(CPU, OutputSpec(out, **output), "1", batch=BatchSpec(shard_sequences=2))


TEXTS = ("One two.", "Three four.", "Five six.", "Seven eight.")


def test_a_run_of_python_is_continued_as_it_was_begun_only(tmp_path: Path) -> None:
    """With other positions, rows of both kinds stood in one table, and `verify` found nothing wrong."""
    last = actkit.CaptureSpec(TEXTS, positions="last")
    with pytest.raises(KeyboardInterrupt):
        actkit.run_capture(last, dense(tmp_path / "run"), on_progress=Stop(3))
    assert (tmp_path / "run.partial" / "shards" / "part-00000.json").exists()
    with pytest.raises(RunError, match='positions was "last", is "all"'):
        actkit.run_capture(replace(last, positions="all"), dense(tmp_path / "run", resume=True))
    run = actkit.run_capture(last, dense(tmp_path / "run", resume=True)).path
    assert len(pd.read_parquet(run / "activations")) == len(TEXTS)
    with pytest.raises(RunError, match="was begun differently: prompt was"):
        actkit.run_capture(replace(last, prompts=("Others.",)), dense(tmp_path / "run", resume=True))
    with pytest.raises(RunError, match='layers was "1", is "2"'):
        actkit.run_capture(last, replace(dense(tmp_path / "run", resume=True), layers="2"))


def test_saes_in_another_order_are_another_run(tmp_path: Path) -> None:
    """What was counted of each SAE is kept by its number."""
    saes = [SaeSpec("tiny", f"blocks.{layer}.hook_resid_post") for layer in (1, 2)]
    spec = actkit.CaptureSpec(TEXTS)
    actkit.run_capture(spec, replace(dense(tmp_path / "run"), saes=saes))
    with pytest.raises(RunError, match="was begun differently"):
        actkit.run_capture(spec, replace(dense(tmp_path / "run", resume=True), saes=saes[::-1]))


def test_a_run_of_python_says_what_it_was_asked_and_the_command_line_runs_it_again(
    tmp_path: Path, actkit: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from actkit import CaptureSpec, run_capture

    monkeypatch.chdir(tmp_path)
    finished = run_capture(CaptureSpec(TEXTS, positions="last"), dense(Path("run")))
    options = finished.facts["options"]
    assert options["positions"] == "last" and options["prompt"] == list(TEXTS) and options["layers"] == "1"
    written = yaml.safe_load(Path("run/config.yaml").read_text(encoding="utf-8"))
    assert written == {"command": "capture", **{key: value for key, value in options.items() if value is not None}}
    assert actkit("capture", "--config", "run/config.yaml", "-o", "again", "-q") == (0, "again\n", "")
    again = json.loads(Path("again/run.json").read_text(encoding="utf-8"))
    assert again["options"] == {**options, "out": "again"} and again["fingerprint"] == finished.facts["fingerprint"]
    for part in Path("run").rglob("*.parquet"):
        assert part.read_bytes() == (Path("again") / part.relative_to("run")).read_bytes()


def test_a_number_that_no_count_can_hold_is_refused() -> None:
    spec = BatchSpec(batch_tokens=10**22)
    with pytest.raises(UsageError, match="batch.tokens 10000000000000000000000 is not possible") as caught:
        checked(spec)
    assert str(LARGEST) in str(caught.value.hint)
    checked(BatchSpec(batch_tokens=LARGEST))


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (OutputSpec(Path("run"), overwrite="no"), "overwrite 'no' is not possible"),  # type: ignore[arg-type]
        (OutputSpec(Path("run"), max_records=1.5), "max_samples 1.5"),  # type: ignore[arg-type]
        (BatchSpec(batch_tokens=64.0), "batch_tokens 64.0"),  # type: ignore[arg-type]
        (BatchSpec(batch_tokens=None), "batch_tokens None"),  # type: ignore[arg-type]
        (FeatureDatasetSpec("x", threshold=None), "activation_threshold None"),  # type: ignore[arg-type]
        (FeatureDatasetSpec("x", threshold=float("nan")), "activation_threshold nan"),
        (FeatureDatasetSpec("x", text_field=3), "text_field 3"),  # type: ignore[arg-type]
        (ModelSpec(device=torch.device("cpu")), "device device"),  # type: ignore[arg-type]
        (ScoreSettings(seed=-1), "seed -1"),
        (SteerSpec("run", seed=-1), "seed -1"),
        (SteerSpec("run", random=2.5), "random 2.5"),  # type: ignore[arg-type]
        (ConceptSpec(seed=1.5), "seed 1.5"),  # type: ignore[arg-type]
    ],
)
def test_a_value_that_its_field_does_not_hold_is_refused(spec: Any, says: str) -> None:
    """These went in: 'no' replaced a run, and a seed below 0 failed in numpy when the model had run."""
    with pytest.raises(UsageError, match=says):
        checked(spec)


def test_numbers_of_numpy_become_those_of_python() -> None:
    spec = checked(FeatureDatasetSpec("x", context_size=np.int32(16), threshold=np.float32(0.5)))  # type: ignore[arg-type]
    assert (spec.context_size, spec.threshold) == (16, 0.5)
    assert type(spec.context_size) is int and type(spec.threshold) is float
