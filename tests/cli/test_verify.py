"""`actkit verify` and `--verify`: numbers computed again on the plain model agree, or the hook point is named."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file

from actkit.analysis.layer_stats import layer_stats
from actkit.backends import describe, load
from actkit.backends.hooked import HuggingFaceModel
from actkit.backends.reference import plain_of
from actkit.bundled import SAES
from actkit.cli.app import main
from actkit.cli.screen.summary import verified
from actkit.config import ModelSpec
from actkit.errors import WriteError
from actkit.hooks import HookPoint
from actkit.verify.recompute.records import drawn
from actkit.verify.tables import findings
from tests.command_line import Run
from tests.verify.conftest import PAIRS, SHARDS
from tests.verify.tampering import change_part, put
from tests.verify.test_tables import damage, edit, part

TEXTS = [" ".join(f"word {n}," for _ in range(1 + n % 7)) for n in range(9)]
EVERY = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "attn.hook_z")
HOOKS = tuple(word for name in EVERY for word in ("--hook-point", name))
ONE, TWO = (f"blocks.{layer}.hook_resid_post" for layer in (1, 2))
ABOVE = ("--activation-threshold", "0.5")
COMMANDS: dict[str, tuple[str, ...]] = {
    "dpo": ("dpo", str(PAIRS), "--max-samples", "5", "--layers", "0,3", *HOOKS),
    "no-chat": ("dpo", str(PAIRS), "--max-samples", "4", "--no-chat", "--layers", "1", "--bos", "always"),
    "capture": ("capture", "in.jsonl", "--layers", "1,3", "--sae-release", "tiny", "--top-k", "3"),
    "capture-last": ("capture", "in.jsonl", "--positions", "last", "--chat", "--store-dtype", "float16"),
    "no-bos": ("capture", "in.jsonl", "--layers", "0", "--sae-release", "tiny", "--bos", "never"),
    "split": ("feature-dataset", "faces.txt", "--context-size", "4"),
    "cut": ("capture", "in.jsonl", "--max-length", "9", "--layers", "0"),
    "sae-extract": ("sae-extract", "in.jsonl", "--sae-id", TWO, "--sae-id", ONE),
    "feature-dataset": ("feature-dataset", "in.jsonl", "--context-size", "12", *ABOVE, "--top-k", "4"),
    "reward-detect": ("reward-detect", "in.jsonl", "--draws", "100"),
    "reward-mean": ("reward-detect", "in.jsonl", "--draws", "100", "--pool", "mean", "--chat"),
    "reward-pairs": ("reward-detect", str(PAIRS), "--max-samples", "8", "--draws", "100", "--pool", "sum"),
    "concept": ("concept", "honesty", "--max-samples", "8", "--layers", "1", "--target-layer", "2"),
    "concept-mean": ("concept", "qa.jsonl", "--layers", "1", "--target-layer", "2", "--positions", "response-mean"),
}
STORED = {
    "dpo": (12, ()),
    "no-chat": (1, ()),
    "capture": (2, ("tiny/blocks.2.hook_resid_post",)),
    "capture-last": (4, ()),
    "no-bos": (1, ("tiny/blocks.2.hook_resid_post",)),
    "split": (0, ("tiny/blocks.2.hook_resid_post",)),
    "cut": (1, ()),
    "sae-extract": (0, ("tiny/blocks.1.hook_resid_post", "tiny/blocks.2.hook_resid_post")),
    "feature-dataset": (0, ("tiny/blocks.2.hook_resid_post",)),
    "reward-detect": (1, ("pooled tiny/blocks.2.hook_resid_post",)),
    "reward-mean": (1, ("pooled tiny/blocks.2.hook_resid_post",)),
    "reward-pairs": (1, ("pooled tiny/blocks.2.hook_resid_post",)),
    "concept": (2, ("pooled tiny/blocks.2.hook_resid_post",)),
    "concept-mean": (2, ("pooled tiny/blocks.2.hook_resid_post",)),
}
"""How many hook points are computed again, and of which SAEs the features."""


def write_input(folder: Path) -> None:
    rows = [
        {"prompt": text, "text": text, "response": f"yes, {text}", "label": ("good", "bad")[n % 2]}
        for n, text in enumerate(TEXTS)
    ]
    (folder / "in.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    (folder / "faces.txt").write_text("ab 😀😁😂 cd 😃😄 ef", encoding="utf-8")
    asked = [
        {"question": f"Is {n} a number?", "answer_matching_behavior": f"yes {n}", "answer_not_matching_behavior": "no"}
        for n in range(16)
    ]
    (folder / "qa.jsonl").write_text("\n".join(map(json.dumps, asked)) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The run of a command, made when it is first asked for."""
    folder = tmp_path_factory.mktemp("runs")
    write_input(folder)

    def make(name: str) -> Path:
        if not (folder / name).exists():
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(folder)
                with pytest.raises(SystemExit) as caught:
                    main([*COMMANDS[name], *SHARDS, "-o", name])
            assert caught.value.code == 0
        return folder / name

    return make


@pytest.fixture
def copy(runs: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    return lambda name: Path(shutil.copytree(runs(name), tmp_path / name))


@pytest.mark.quick(2)
@pytest.mark.parametrize("name", COMMANDS)
def test_every_record_of_every_command_is_what_the_plain_model_gives(
    name: str, runs: Callable[[str], Path], actkit: Run
) -> None:
    run = runs(name)
    result = actkit("verify", run, "--recompute", "1000", "--json", "-q")
    assert result.status == 0, result.err
    again = result.found["recomputed"]
    counts = json.loads((run / "run.json").read_text())["counts"]
    n_points, saes = STORED[name]
    assert again["records"] == counts["written"]
    assert len(again["hook_points"]) == n_points and tuple(sorted(again["saes"])) == saes
    for row in again["hook_points"].values():
        assert row["vectors"] > 0 and row["worst_error"] < (6e-4 if name == "capture-last" else 1e-5)
    for row in again["saes"].values():
        assert row["rows"] > 0 and row["identical"] == row["common"] == 1.0 and row["worst_error"] < 1e-5
    texts = again["texts"]
    assert texts["same"] == texts["sequences"] > 0
    assert texts["same"] + texts["not_defined"] == counts["sequences"]
    assert again["not_recomputed"] == {} and again["problems"] == []


def scaled(factor: float, column: str = "activation") -> Any:
    def change(table: pa.Table) -> pa.Table:
        rows = [[item * factor for item in row] for row in table[column].to_pylist()]
        at = table.schema.get_field_index(column)
        return table.set_column(at, table.schema.field(at), pa.array(rows, type=table.schema.field(at).type))

    return change


@pytest.mark.slow
def test_activations_that_are_off_by_a_thousandth_are_found_and_their_hook_point_is_named(
    copy: Callable[[str], Path], actkit: Run
) -> None:
    run = copy("capture")
    for number in range(2):
        damage(run, "activations", scaled(1.001), number=number, group=1)
    damage(run, "layer_stats", lambda _old: layer_stats(run), number=0)
    assert actkit("verify", run, "-q").status == 0, "of itself the run is in order"
    result = actkit("verify", run, "--recompute", "2", "-q")
    assert result.status == 1 and result.out == ""
    assert "blocks.3.hook_resid_post is 1.00e-03 off the plain model, at record " in result.err
    assert "5e-05 is allowed" in result.err and "blocks.1" not in result.err and "Traceback" not in result.err


@pytest.mark.slow
def test_numbers_of_another_position_are_found(copy: Callable[[str], Path], actkit: Run) -> None:
    run = copy("capture")

    def shifted(table: pa.Table) -> pa.Table:
        column = table["activation"].take([1, 0, *range(2, len(table))])
        return table.set_column(4, table.schema.field(4), column)

    damage(run, "activations", shifted, number=0)
    damage(run, "layer_stats", lambda _old: layer_stats(run), number=0)
    result = actkit("verify", run, "--recompute", "1000", "-q")
    assert result.status == 1 and "blocks.1.hook_resid_post" in result.err and "sequence 0, position" in result.err


VALUES, IDS, PLACES = (f"feature_{name}" for name in ("activations", "ids", "positions"))
FEATURES, POOLED = ("sae-extract", "features"), ("reward-detect", "pooled_features")
CHANGES: dict[str, tuple[tuple[str, str], Any, str]] = {
    # what → run and table, change, the problem
    "values": (FEATURES, scaled(1.001, VALUES), "activations of tiny/blocks.2.hook_resid_post are 1.00e-03 off"),
    "id": (FEATURES, put(IDS, 0, lambda old: [*old[:2], 4000, *old[3:]]), "feature 4000 is stored"),
    "n_active": (("feature-dataset", "features"), put("n_active", 1, 3000), "n_active is 3000, but"),
    "pooled": (POOLED, scaled(1.001, VALUES), "activations of pooled tiny/"),
    "place": (POOLED, put(PLACES, 0, lambda old: [old[0] % 2 + 1, *old[1:]]), "is not strongest"),
    "mean": (("reward-mean", "pooled_activations"), scaled(0.999), "pooled blocks.2.hook_resid_post is 1.00e-03 off"),
    "token": (("capture", "tokens"), put("token_id", 5, lambda old: old + 1), "when the text is tokenized again"),
    "text": (("feature-dataset", "sequences"), put("text", 0, lambda old: old[:-1] + "x"), "tokenized again"),
}


@pytest.mark.quick(1)
@pytest.mark.parametrize("what", CHANGES)
def test_what_is_not_what_is_computed_again_is_named(what: str, copy: Callable[[str], Path], actkit: Run) -> None:
    (name, table), change, says = CHANGES[what]
    run = copy(name)
    damage(run, table, change, number=0)
    result = actkit("verify", run, "--recompute", "1000", "-q", "--json")
    assert result.status == 1
    assert any(says in problem for problem in result.found["recomputed"]["problems"]), result.found["recomputed"][
        "problems"
    ]


@pytest.mark.slow
def test_a_feature_that_is_left_out_is_found_by_computing_again(copy: Callable[[str], Path], actkit: Run) -> None:
    run = copy("sae-extract")

    def left_out(table: pa.Table) -> pa.Table:
        for column in ("feature_ids", "feature_activations"):
            table = put(column, 0, lambda old: old[1:])(table)
        return put("n_active", 0, lambda old: old - 1)(table)

    damage(run, "features", left_out, number=0)
    result = actkit("verify", run, "--recompute", "1000")
    assert result.status == 1 and re.search(r"feature \d+ is not stored, but [\d.]+ when encoded again", result.err)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gpt2", "gemma2", "gpt_neox", "opt", "bloom", "qwen3"])
def test_other_architectures_agree_at_every_hook_point_that_they_have(
    name: str, model_dir: Callable[[str], Path], tmp_path: Path, actkit: Run
) -> None:
    names = [hook for hook in EVERY if not (name == "gpt_neox" and hook == "resid_mid")]
    points = [word for each in names for word in ("--hook-point", each)]
    rows = [{"prompt": text[:60], "chosen": f" yes, {text[:20]}", "rejected": " no"} for text in TEXTS]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    arguments = ("--model", model_dir(name), "--no-chat", *points, "--verify", "2", *SHARDS)
    made = actkit("dpo", tmp_path / "pairs.jsonl", *arguments, "-o", tmp_path / "run")
    assert made.status == 0, made.err
    result = actkit("verify", tmp_path / "run", "--recompute", "1000", "-q", "--json")
    assert result.status == 0, result.err
    again = result.found["recomputed"]
    assert len(again["hook_points"]) == 3 * len(names) and again["not_recomputed"] == {}
    assert all(row["vectors"] > 0 for row in again["hook_points"].values())


@pytest.mark.slow
def test_hook_points_that_only_the_bridge_has_are_said_not_to_be_computed_again(tmp_path: Path, actkit: Run) -> None:
    points = ("--hook-point", "blocks.1.attn.hook_pattern", "--hook-point", "blocks.2.hook_resid_post")
    made = actkit(
        "capture", "--prompt", "The capital", "--prompt", "Two", *points, "--verify", "1", "-q", "-o", tmp_path / "run"
    )
    assert made.status == 0, made.err
    result = actkit("verify", tmp_path / "run", "--recompute", "5", "--json")
    assert result.status == 0
    again = result.found["recomputed"]
    assert list(again["hook_points"]) == ["blocks.2.hook_resid_post"] and again["attn"] == "eager"
    assert list(again["not_recomputed"]) == ["blocks.1.attn.hook_pattern"]
    assert "note: not computed again: blocks.1.attn.hook_pattern (no module's" in result.err


def test_a_run_is_checked_on_its_own_weights_and_never_on_a_bridge() -> None:
    description = describe(ModelSpec("tiny"))
    plain = load(description, [HookPoint(1, "hook_resid_post")])
    assert plain_of(plain).module is plain.module
    bridged = load(description, [HookPoint(0, "attn.hook_pattern")])
    assert plain_of(bridged).module is not bridged.module
    assert "transformer_lens" not in {
        type(module).__module__.split(".")[0] for module in plain_of(bridged).module.modules()
    }


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_within_its_own_tolerance_and_not_within_that_of_float32(
    dtype: str, runs: Callable[[str], Path], tmp_path: Path, actkit: Run
) -> None:
    prompts = runs("capture").parent / "in.jsonl"
    made = actkit("capture", prompts, "--sae-release", "tiny", "--dtype", dtype, "-q", "-o", tmp_path / "run")
    assert made.status == 0, made.err
    result = actkit("verify", tmp_path / "run", "--recompute", "100", "-q", "--json")
    assert result.status == 0, result.err
    worst = max(row["worst_error"] for row in result.found["recomputed"]["hook_points"].values())
    assert 1e-4 < worst < {"bfloat16": 8e-2, "float16": 1e-2}[dtype]
    edit(tmp_path / "run", model__dtype="float32")
    result = actkit("verify", tmp_path / "run", "--recompute", "100", "-q", "--json")
    assert result.status == 1 and any("5e-05 is allowed" in str(problem) for problem in result.found["problems"])


def test_another_attention_implementation_is_allowed_more(runs: Callable[[str], Path], actkit: Run) -> None:
    result = actkit("verify", runs("capture"), "--recompute", "3", "--attn", "eager", "-q", "--json")
    assert result.status == 0
    again = result.found["recomputed"]
    assert again["attn"] == "eager" and {row["tolerance"] for row in again["hook_points"].values()} == {1e-3}


@pytest.mark.slow
def test_the_same_seed_draws_the_same_records(runs: Callable[[str], Path], actkit: Run) -> None:
    def places(seed: int) -> list[str]:
        found = actkit("verify", runs("capture"), "--recompute", "2", "--seed", str(seed), "-q", "--json").found
        assert found["recomputed"]["records"] == 2
        return [row["where"] for row in found["recomputed"]["hook_points"].values()]

    assert places(3) == places(3)
    assert len({tuple(places(seed)) for seed in range(4)}) > 1


def test_records_are_drawn_from_all_shards_or_from_those_that_are_named(runs: Callable[[str], Path]) -> None:
    run = runs("capture")
    every = drawn(run, 1000, 0)
    assert list(every) == ["part-00000.parquet", "part-00001.parquet"]
    assert [record for records in every.values() for record in records.tolist()] == list(range(len(TEXTS)))
    assert list(drawn(run, 1000, 0, ["part-00001.parquet"])) == ["part-00001.parquet"]
    some = drawn(run, 4, 0)
    assert sum(map(len, some.values())) == 4 and all(set(chosen) <= set(every[name]) for name, chosen in some.items())


@pytest.mark.slow
def test_a_model_that_has_changed_under_its_name_is_said_to_have(
    model_dir: Callable[[str], Path], tmp_path: Path, actkit: Run
) -> None:
    for name in ("model", "other"):
        shutil.copytree(model_dir("llama"), tmp_path / name)
    made = actkit("capture", "--prompt", "ab", "--model", tmp_path / "model", "-q", "-o", tmp_path / "run")
    assert made.status == 0
    config = tmp_path / "model" / "config.json"
    config.write_text(config.read_text().replace('"rms_norm_eps": 1e-06', '"rms_norm_eps": 1e-01'))
    result = actkit("verify", tmp_path / "run", "--recompute", "1", "-q", "--json")
    assert result.status == 1
    problems = result.found["recomputed"]["problems"]
    assert "is not the model that was run: its files are others" in problems[0]
    assert any("blocks.0.hook_resid_post" in problem for problem in problems[1:])
    shutil.rmtree(tmp_path / "model")
    result = actkit("verify", tmp_path / "run", "--recompute", "1", "-q")
    assert result.status == 1 and "Traceback" not in result.err and "hint: " in result.err
    moved = actkit("verify", tmp_path / "run", "--recompute", "1", "--model", tmp_path / "other", "-q")
    assert moved.status == 0, moved.err


def test_a_pickle_that_the_run_was_allowed_to_read_needs_consent_again(
    model_dir: Callable[[str], Path], tmp_path: Path, actkit: Run
) -> None:
    shutil.copytree(model_dir("llama"), tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    torch.save(load_file(weights), weights.with_name("pytorch_model.bin"))
    weights.unlink()
    arguments = ("--prompt", "ab", "--model", tmp_path / "model", "--allow-pickle", "-q", "-o", tmp_path / "run")
    made = actkit("capture", *arguments)
    assert made.status == 0, made.err
    refused = actkit("verify", tmp_path / "run", "--recompute", "1", "-q")
    assert refused.status == 1 and "--allow-pickle" in refused.err
    assert actkit("verify", tmp_path / "run", "--recompute", "1", "--allow-pickle", "-q").status == 0


@pytest.mark.slow
def test_what_there_is_nothing_to_hold_against_is_a_problem(tmp_path: Path, actkit: Run) -> None:
    """Of a run whose hook points only a bridge computes; of tables of weights that are gone."""
    pattern = actkit("capture", "-p", "ab", "--hook-point", "attn.hook_pattern", "--layers", "1", "-o", tmp_path / "p")
    assert pattern.status == 0, pattern.err
    found = actkit("verify", tmp_path / "p", "--recompute", "1", "-q")
    assert found.status == 1 and "nothing was computed again: blocks.1.attn.hook_pattern" in found.err, found.err
    shutil.copytree(SAES / "blocks.2.hook_resid_post", tmp_path / "mine")
    (tmp_path / "x.jsonl").write_text('{"prompt": "Once upon a time"}\n')
    made = actkit("sae-extract", tmp_path / "x.jsonl", "--sae", tmp_path / "mine", "-q", "-o", tmp_path / "run")
    assert made.status == 0, made.err
    assert actkit("verify", tmp_path / "run", "--deep", "-q").status == 0
    (tmp_path / "a").mkdir()
    (tmp_path / "mine").rename(tmp_path / "a" / "mine")
    gone = actkit("verify", tmp_path / "run", "--deep", "-q")
    assert gone.status == 1 and "mine: cannot be loaded, and feature_logits not compared with it" in gone.err, gone.err
    assert actkit("verify", tmp_path / "run", "--deep", "--sae", tmp_path / "a" / "mine", "-q").status == 0


@pytest.mark.slow
def test_an_sae_that_is_elsewhere_now_is_named_until_it_is_given(tmp_path: Path, actkit: Run) -> None:
    shutil.copytree(SAES / "blocks.2.hook_resid_post", tmp_path / "old" / "mine")
    prompts = ("--prompt", "The capital of France", "--prompt", "Two")
    made = actkit("capture", *prompts, "--sae", tmp_path / "old" / "mine", "-q", "-o", tmp_path / "run")
    assert made.status == 0, made.err
    (tmp_path / "old").rename(tmp_path / "new")
    without = actkit("verify", tmp_path / "run", "--recompute", "2", "-q", "--json")
    lacking = without.found["recomputed"]
    assert list(lacking["not_recomputed"]) == ["mine"] and lacking["saes"] == {}
    assert without.status == 1 and "mine was not computed again: " in without.err, without.err
    found = actkit("verify", tmp_path / "run", "--recompute", "2", "--sae", tmp_path / "new" / "mine", "-q", "--json")
    assert found.status == 0 and list(found.found["recomputed"]["saes"]) == ["mine"]


@pytest.mark.slow
def test_a_run_made_in_python_is_checked_as_one_of_the_command_line(tmp_path: Path, actkit: Run) -> None:
    from actkit import CaptureSpec, DenseSpec, ModelSpec, OutputSpec, SaeSpec, run_capture

    sae = SaeSpec("tiny", "blocks.2.hook_resid_post")
    dense = DenseSpec(ModelSpec("tiny"), OutputSpec(tmp_path / "run"), saes=[sae], top_k=3)
    run_capture(CaptureSpec(prompts=("The capital of France", "Two")), dense)
    result = actkit("verify", tmp_path / "run", "--recompute", "2", "-q", "--json")
    assert result.status == 0, result.err
    again = result.found["recomputed"]
    assert again["saes"]["tiny/blocks.2.hook_resid_post"]["identical"] == 1.0
    assert again["not_recomputed"] == {} and again["texts"]["same"] == 2


def test_what_is_printed_where(copy: Callable[[str], Path], actkit: Run) -> None:
    run = copy("capture")
    fine = actkit("verify", run, "--recompute", "2")
    assert (fine.status, fine.out) == (0, "")
    assert re.search(r"^activations +[\d,]+  ok *$", fine.err, re.MULTILINE)
    # How far off rounding is depends on the processor's kernels: on some it is exactly zero.
    found = re.search(r"^blocks\.1\.hook_resid_post +\d+ +(\d\.\de[-+]\d\d) +5e-05", fine.err, re.MULTILINE)
    assert found is not None and float(found[1]) <= 5e-05
    assert "2 records computed again (float32, sdpa, cpu, seed 0)" in fine.err
    part(run, "features", 1).unlink()
    part(run, "tokens", 0).write_bytes(b"PAR1")
    bad = actkit("verify", run, "--json", "--recompute", "2")
    assert bad.status == 1
    assert bad.found["ok"] is False and "recomputed" not in bad.found
    assert {problem["where"] for problem in bad.found["problems"]} >= {
        "features/part-00001.parquet",
        "tokens/part-00000.parquet",
    }
    lines = bad.err.splitlines()
    assert "wrong: features/part-00001.parquet: missing" in lines
    assert "note: nothing was computed again: the rows are damaged" in lines
    more = len(bad.found["problems"]) - 1
    assert re.search(rf"^error: .*part-0000\d.parquet: .* \(and {more} more problems\)$", bad.err, re.MULTILINE)
    quiet = actkit("verify", run, "-q")
    assert quiet.status == 1 and quiet.out == "" and quiet.err.startswith("error: ")


@pytest.mark.slow
def test_bytes_that_changed_are_reported_and_the_numbers_computed_again_all_the_same(
    copy: Callable[[str], Path], actkit: Run
) -> None:
    run = copy("capture")
    change_part(part(run, "activations", 0), scaled(1.001))
    found = actkit("verify", run, "--recompute", "100", "-q", "--json").found
    assert {"checksums", "counts", "recomputed"} >= {problem["check"] for problem in found["problems"]}
    assert found["problems"][0]["where"] == "activations/part-00000.parquet"
    assert "blocks.1.hook_resid_post is 1.00e-03 off" in found["recomputed"]["problems"][0]


def test_what_is_no_finished_run_is_an_error_with_a_hint(
    copy: Callable[[str], Path], tmp_path: Path, actkit: Run
) -> None:
    for arguments, says in (
        ((tmp_path / "nowhere",), "no finished run"),
        ((tmp_path,), "no finished run"),
        ((copy("capture").rename(tmp_path / "x.partial"),), "no finished run"),
    ):
        (tmp_path / "x.partial" / "run.json").unlink(missing_ok=True)
        result = actkit("verify", *arguments)
        assert result.status == 1 and says in result.err and "hint: " in result.err and result.out == ""


@pytest.mark.slow
def test_a_run_with_verify_says_what_its_first_records_were(tmp_path: Path, actkit: Run) -> None:
    made = actkit(*COMMANDS["dpo"], *SHARDS, "--verify", "3", "-o", tmp_path / "run")
    assert made.status == 0, made.err
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    said = verified(facts["verify"])
    assert re.fullmatch(
        r"3 records computed again on the plain model: off by at most \d\.\de[-+]\d\d, 5\.0e-05 allowed", said
    )
    assert facts["verify"]["records"] == 3, "more than the first shard of two records has"
    assert len(facts["verify"]["hook_points"]) == 12
    assert all(row["worst_error"] < 1e-5 for row in facts["verify"]["hook_points"].values())
    assert facts["seconds"]["verify"] > 0
    plain = actkit(*COMMANDS["dpo"], *SHARDS, "-o", tmp_path / "plain")
    assert plain.status == 0 and "verify" not in json.loads((tmp_path / "plain" / "run.json").read_text())


@pytest.mark.slow
def test_a_run_whose_numbers_are_not_the_plain_models_stops_and_keeps_its_finished_shards(
    tmp_path: Path, actkit: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = HuggingFaceModel.run

    def wrong(self: HuggingFaceModel, input_ids: Any, positions: Any, tree: Any, taps: Any) -> None:
        def off(name: str) -> Any:
            return lambda tensor: taps[name](tensor * (1.001 if name == "blocks.3.hook_mlp_out" else 1.0))

        right(self, input_ids, positions, tree, {name: off(name) for name in taps})

    monkeypatch.setattr(HuggingFaceModel, "run", wrong)
    arguments = (*COMMANDS["dpo"], *SHARDS, "-o", tmp_path / "run")
    stopped = actkit(*arguments, "--verify", "1")
    assert stopped.status == 1 and stopped.out == "" and "Traceback" not in stopped.err
    assert "--verify: blocks.3.hook_mlp_out is 1.00e-03 off the plain model" in stopped.err
    assert not (tmp_path / "run").exists()
    assert [path.name for path in (tmp_path / "run.partial" / "shards").iterdir()] == ["part-00000.json"]
    stopped = actkit(*arguments, "--verify", "1", "--resume")
    assert stopped.status == 1 and "blocks.3.hook_mlp_out" in stopped.err
    shards = [path.name for path in (tmp_path / "run.partial" / "shards").iterdir()]
    assert shards == ["part-00000.json"], "what was there is checked before anything is added"
    assert actkit(*arguments, "--resume").status == 0, "it is an option of this process, not of the run"


def test_what_was_found_stays_in_the_run_and_changes_nothing_of_it(copy: Callable[[str], Path], actkit: Run) -> None:
    run = copy("capture")
    assert actkit("verify", run, "--recompute", "2", "-q").status == 0
    left = json.loads((run / "verify.json").read_text())
    assert left["ok"] and left["problems"] == [] and left["deep"] and left["recomputed"]["records"] == 2
    assert left["manifest"] == hashlib.sha256((run / "manifest.json").read_bytes()).hexdigest()
    assert left["recomputed"]["hook_points"]["blocks.1.hook_resid_post"]["worst_error"] < 1e-5
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", left["time"]) and left["seconds"] >= 0
    (run / "notes.txt").write_text("mine")
    assert actkit("verify", run, "-q").status == 1
    left = json.loads((run / "verify.json").read_text())
    assert not left["ok"] and left["problems"] == [{"check": "files", "where": "notes.txt", "what": "in no manifest"}]
    (run / "notes.txt").unlink()
    assert actkit("verify", run, "-q").status == 0 and not json.loads((run / "verify.json").read_text())["deep"]


def test_a_run_that_cannot_be_written_to_is_checked_all_the_same(
    copy: Callable[[str], Path], actkit: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise WriteError("cannot write verify.json: Read-only file system")

    monkeypatch.setattr(findings, "write_text", refuse)
    run = copy("capture")
    (run / "verify.json").unlink(missing_ok=True)
    result = actkit("verify", run)
    assert result.status == 0 and not (run / "verify.json").exists()
    assert "verify.json is not left in the run: cannot write verify.json: Read-only file system" in result.err


@pytest.mark.slow
@pytest.mark.parametrize("command", ["capture", "feature-dataset"])
def test_a_text_that_begins_with_a_bos_of_its_own_has_no_second_one(command: str, actkit: Run, tmp_path: Path) -> None:
    """As a chat has that somebody rendered; the BOS of a document's first chunk is then its own."""
    file, run = tmp_path / "in.txt", tmp_path / "run"
    file.write_text("<|bos|>Once upon a time.\n", encoding="utf-8")
    assert actkit(command, file, "-o", run, "--device", "cpu").status == 0
    tokens = pd.read_parquet(run / "tokens")["token_id"].tolist()
    assert tokens[0] == 1 and tokens.count(1) == 1
    assert actkit("verify", run, "--recompute", "1").status == 0
