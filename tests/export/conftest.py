"""Small real runs of every command, in several shards, that are exported by the tests."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import actkit
from actkit.recipes.concept import ConceptSpec
from actkit.schemas import arrow_schema

CPU = actkit.ModelSpec("tiny", device="cpu")
SAES = tuple(actkit.SaeSpec("tiny", f"blocks.{layer}.hook_resid_post") for layer in (1, 2))
SHARDS = actkit.BatchSpec(shard_sequences=5)
PAIRS = [
    {"prompt": "How deep is the sea?", "chosen": " About 3,700 metres.", "rejected": " Nobody knows, really."},
    {"prompt": "Say yes.", "chosen": " Yes", "rejected": " Yes and more of it"},
    {"prompt": "What is red?", "chosen": " A rose is — every one 🌹.", "rejected": " A rose? No."},
    {"prompt": "", "chosen": "", "rejected": ""},
    {"prompt": "Count.", "chosen": " One, two, three, four, five.", "rejected": " Six."},
]
PROMPTS = ("One two three.", "The river runs to the sea, and the sea is not full.", "Four", "A <|end|> inside 🌊")
ANSWERS = [
    {"question_id": 7, "template_type": "plain", "prompt": "What is the capital of France?", "response": " Paris."},
    {"question_id": 7, "template_type": "polite", "prompt": "Please, what is it?", "response": " It is Paris."},
    {"question_id": 8, "prompt": "", "response": "x"},
    {"question_id": 9, "prompt": "Where does wor", "response": "ld end — and how?"},
    {"prompt": "No response here."},
    {"question_id": 9, "prompt": "And the sea?", "response": " In 🌊 waves."},
    {"prompt": "A last one.", "response": " Good."},
]
DOCUMENTS = [
    "Once upon a time there was a hare. It ran through the 🌲🌲🌲 woods, and the tortoise went its way — slowly.",
    "Short.",
    "A <|end|> inside, and naïve café talk: “the river”, it said, runs to the sea and never comes back again.",
    "\n\n  Leading blanks, and trailing ones.  \n",
]


def lines(path: Path, records: list[Any]) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return str(path)


def dense(out: Path, **options: Any) -> actkit.DenseSpec:
    stored = options.pop("store_dtype", "float32")
    return actkit.DenseSpec(CPU, actkit.OutputSpec(out, store_dtype=stored), batch=SHARDS, **options)


def sparse(out: Path) -> actkit.SparseSpec:
    return actkit.SparseSpec(CPU, SAES, actkit.OutputSpec(out), SHARDS)


@pytest.fixture(scope="session")
def dpo_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dpo")
    spec = actkit.DpoSpec(lines(folder / "pairs.jsonl", PAIRS), chat=False)
    return actkit.run_dpo(spec, dense(folder / "run", layers="1,3")).path


@pytest.fixture(scope="session")
def capture_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = dense(tmp_path_factory.mktemp("capture") / "run", layers="0,2")
    spec = actkit.DenseSpec(spec.model, spec.output, spec.layers, batch=actkit.BatchSpec(shard_sequences=3))
    return actkit.run_capture(actkit.CaptureSpec(PROMPTS), spec).path


@pytest.fixture(scope="session")
def stories_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stories")
    path = lines(folder / "stories.jsonl", [{"text": document} for document in DOCUMENTS])
    return actkit.run_feature_dataset(
        actkit.FeatureDatasetSpec(path, context_size=11, top_k=9), sparse(folder / "run")
    ).path


@pytest.fixture(scope="session")
def reward_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("reward") / "run"
    spec = actkit.SparseSpec(CPU, SAES[:1], actkit.OutputSpec(out))
    return actkit.run_reward_detect(actkit.RewardDetectSpec(), spec).path


def rows_of(run: Path, hook_point: str) -> pd.DataFrame:
    """The activations of one hook point, read by pandas alone."""
    table = pd.read_parquet(run / "activations", filters=[("hook_point", "==", hook_point)])
    return table.sort_values(["sequence_id", "position"], ignore_index=True)


def stacked(table: pd.DataFrame) -> Any:
    return np.stack(table["activation"].to_list()) if len(table) else np.zeros((0, 192), dtype=np.float32)


def shards(run: Path, table: str) -> int:
    return len(list((run / table).glob("part-*.parquet")))


def written_concept(
    run: Path, places: list[tuple[int, str]], d_model: int = 12, chosen: tuple[int, str] | None = None
) -> Path:
    """A run directory that holds what an export of directions reads: `run.json` and the table."""
    random = np.random.default_rng(0)
    rows = []
    for layer, name in places:
        for method, norm in (("mean-diff", 3.5 + layer), ("logistic", None)):
            vector = random.normal(size=d_model)
            unit = (vector / np.linalg.norm(vector)).astype(np.float32)
            rows.append((layer, f"blocks.{layer}.{name}", method, unit, norm, None))
    columns = dict(zip(arrow_schema("directions").names, zip(*rows, strict=True), strict=True))
    (run / "directions").mkdir(parents=True)
    table = pa.table({name: list(values) for name, values in columns.items()}, schema=arrow_schema("directions"))
    pq.write_table(table, run / "directions" / "part-00000.parquet")
    model = {"name": "tiny", "revision": None, "architecture": "LlamaForCausalLM", "n_layers": 4}
    facts: dict[str, Any] = {
        "command": "concept",
        "exports": ConceptSpec.exports,
        "tables": {"direction_scores": {}},
        "model": model,
    }
    if chosen is not None:
        row = {"layer": chosen[0], "hook_point": f"blocks.{chosen[0]}.{chosen[1]}"}
        facts["concept"] = {"chosen": {"mean-diff": row, "logistic": row}}
    (run / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    return run


@pytest.fixture(scope="session")
def concept_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    places = [(3, "hook_resid_post"), (0, "hook_resid_post"), (2, "hook_resid_post"), (1, "hook_mlp_out")]
    return written_concept(tmp_path_factory.mktemp("concept") / "run", places, chosen=places[0])
