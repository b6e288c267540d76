"""Tables that come of weights, computed again from an SAE and an output layer that are made by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from actkit.analysis.concepts.projections import direction_features
from actkit.analysis.feature_logits import Unembedding, feature_logits
from actkit.backends.saes.sae import Sae
from actkit.hooks import HookPoint
from actkit.schemas import arrow_schema
from actkit.verify.recompute.weights import LoadedWeights, check_of_weights
from actkit.verify.tables.derived import BY_CHECKSUMS
from actkit.verify.tables.findings import Findings
from tests.verify.tampering import put as changed_row

D, N_FEATURES, N_TOKENS = 4, 30, 40
FACTS: dict[str, Any] = {
    "tables": {"direction_features": {}, "feature_logits": {}},
    "saes": [{"name": "sae"}],
}


class Words:
    """Token 7 is `w7`."""

    def __len__(self) -> int:
        return N_TOKENS

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return [f"w{token}" for token in ids]

    def batch_decode(self, ids: list[list[int]], **_: Any) -> list[str]:
        return [f"w{token}" for (token,) in ids]


class Model:
    """An output layer."""

    def __init__(self) -> None:
        self.layer = torch.nn.Linear(D, N_TOKENS)
        with torch.no_grad():
            self.layer.weight.copy_(torch.randn(N_TOKENS, D, generator=torch.Generator().manual_seed(1)))

    def get_output_embeddings(self) -> Any:
        return self.layer


def sae_of(name: str = "sae", seed: int = 0) -> Sae:
    decoder = torch.randn(N_FEATURES, D, generator=torch.Generator().manual_seed(seed))
    point = HookPoint(1, "hook_resid_post")
    return Sae(name, point, D, N_FEATURES, "standard", lambda x: x, None, neuronpedia_id="m/1-x", decoder=decoder)


@pytest.fixture
def weights() -> LoadedWeights:
    return LoadedWeights({"sae": sae_of()}, {}, Model(), Words())


@pytest.fixture
def run(tmp_path: Path, weights: LoadedWeights) -> Path:
    """Directions of two methods, and both tables as they are written."""
    rng = np.random.default_rng(0)
    rows = [
        {
            "layer": 1,
            "hook_point": "blocks.1.hook_resid_post",
            "method": method,
            "direction": rng.normal(size=D).tolist(),
        }
        for method in ("mean-diff", "pca")
    ]
    write(tmp_path, "directions", pa.Table.from_pylist(rows, schema=arrow_schema("directions")))
    write(tmp_path, "direction_features", direction_features(tmp_path, list(weights.saes.values())))
    unembedding = Unembedding.of(weights.module.layer.weight.detach(), weights.tokenizer)
    (logits,) = feature_logits(weights.saes["sae"], np.arange(N_FEATURES), unembedding)
    write(tmp_path, "feature_logits", logits)
    return tmp_path


def write(run: Path, table: str, rows: pa.Table, part: int = 0) -> None:
    (run / table).mkdir(exist_ok=True)
    pq.write_table(rows, run / table / f"part-{part:05d}.parquet")


def edited(run: Path, table: str, change: Callable[[pa.Table], pa.Table]) -> None:
    path = run / table / "part-00000.parquet"
    write(run, table, change(pq.read_table(path)))


def said(run: Path, weights: LoadedWeights, facts: dict[str, Any] = FACTS) -> list[str]:
    findings = Findings(run)
    check_of_weights(run, facts, weights, findings)
    return [str(problem) for problem in findings.problems]


def test_what_was_written_is_what_the_weights_give(run: Path, weights: LoadedWeights) -> None:
    findings = Findings(run, notes=[f"{BY_CHECKSUMS}feature_logits", "another note"])
    check_of_weights(run, FACTS, weights, findings)
    assert findings.problems == [] and findings.notes == ["another note"], "they are compared with more than checksums"
    assert findings.checked == {"derived": 2 * 20 + N_FEATURES + 2 * 20}


@pytest.mark.parametrize(
    ("column", "row", "value", "says"),
    [
        (
            "cosine",
            3,
            lambda old: old + 0.01,
            "direction_features: sae, 1, blocks.1.hook_resid_post, mean-diff: entry 3 is",
        ),
        ("feature_id", 4, lambda old: (old + 7) % N_FEATURES, "mean-diff: "),
        ("feature_id", 2, N_FEATURES, "entry 2 is of"),
        ("feature_id", 2, -1, "entry 2 is of"),
        ("rank", 0, 2, "direction_features: ranks are not 1, 2, 3, …"),
        ("method", 0, "other", "direction_features: not the SAEs and directions of the run: "),
        ("url", 5, None, "direction_features/part-00000.parquet: the url of feature "),
        ("url", 5, "https://example.org/5", "is not what the SAE says"),
    ],
)
def test_a_feature_that_is_not_nearest_is_named(
    run: Path, weights: LoadedWeights, column: str, row: int, value: Any, says: str
) -> None:
    edited(run, "direction_features", changed_row(column, row, value))
    found = said(run, weights)
    assert any(says in text for text in found), found


def entry(place: int, **change: Any) -> Callable[[Any], Any]:
    def changed(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**each, **(change if number == place else {})} for number, each in enumerate(entries)]

    return changed


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            changed_row("top", 3, entry(0, logit=99.0)),
            "top is not what the weights give (feature 3, top: entry 0 is 99, not",
        ),
        (
            changed_row("bottom", 29, entry(9, logit=99.0)),
            "bottom is not what the weights give (feature 29, bottom: entry 9",
        ),
        (changed_row("top", 0, lambda old: old[:9]), "(feature 0, top: 9 entries, not 10)"),
        (changed_row("top", 0, None), "(feature 0, top: 0 entries, not 10)"),
        (changed_row("sae", 3, "other"), "not one row for each active feature, in order"),
        (changed_row("feature_id", 3, 4), "not one row for each active feature, in order"),
        (changed_row("norm_folded", 3, True), "not one row for each active feature, in order"),
        (lambda table: table.slice(0, 29), "not one row for each active feature, in order"),
        (changed_row("top", 1, entry(4, token="x")), "top is not what the weights give (top: token "),
    ],
)
def test_a_logit_that_is_not_the_weights_is_named(
    run: Path, weights: LoadedWeights, change: Callable[[pa.Table], pa.Table], says: str
) -> None:
    edited(run, "feature_logits", change)
    (found,) = said(run, weights)
    assert found.startswith("feature_logits/part-00000.parquet: ") and says in found


def test_several_faults_of_a_part_are_counted(run: Path, weights: LoadedWeights) -> None:
    for row in (2, 5, 7):
        edited(run, "feature_logits", changed_row("top", row, entry(0, logit=99.0)))
    (found,) = said(run, weights)
    assert found.endswith(", and 2 more)")


def test_saes_and_parts_are_those_of_the_run(run: Path, weights: LoadedWeights) -> None:
    facts = {**FACTS, "saes": [{"name": "sae"}, {"name": "second"}]}
    assert said(run, weights, facts) == ["feature_logits: of sae, not sae, second"]
    assert said(run, weights, {**facts, "feature_logits_left_out": {"second": "too many"}}) == []
    write(run, "feature_logits", pq.read_table(run / "feature_logits" / "part-00000.parquet"), 1)
    assert said(run, weights) == ["feature_logits: 2 parts of sae, not 1"]
    for path in (run / "feature_logits").iterdir():
        path.unlink()
    assert said(run, weights) == ["feature_logits: of no SAE, not sae"]


def test_a_run_has_the_logits_of_its_active_features(run: Path, weights: LoadedWeights) -> None:
    """Of those that occur in `features`, however many `run.json` says; a run of an older actkit has those of all."""
    rows = {"sequence_id": [0, 0], "position": [1, 2], "sae": ["sae", "sae"], "feature_ids": [[3, 7], [29]]}
    rows |= {"feature_activations": [[2.0, 1.0], [1.0]], "n_active": [2, 1]}
    write(run, "features", pa.table(rows).cast(arrow_schema("features")))
    assert said(run, weights) == []
    found = "feature_logits/part-00000.parquet: not one row for each active feature, in order"
    assert said(run, weights, {**FACTS, "feature_logits_of": {"sae": 3}}) == [found]
    edited(run, "feature_logits", lambda table: table.take([3, 7, 29]))
    assert said(run, weights, {**FACTS, "feature_logits_of": {"sae": 3}}) == []
    (count,) = said(run, weights, {**FACTS, "feature_logits_of": {"sae": 4}})
    assert count == "feature_logits: 3 features of sae are active, and run.json says 4"
    edited(run, "feature_logits", changed_row("top", 1, entry(0, logit=99.0)))
    (wrong,) = said(run, weights, {**FACTS, "feature_logits_of": {"sae": 3}})
    assert "feature 7, top: entry 0 is 99" in wrong
    (run / "feature_logits" / "part-00000.parquet").unlink()
    assert said(run, weights, {**FACTS, "feature_logits_of": {"sae": 0}}) == [], "none is active"


def test_what_could_not_be_loaded_is_left_out(run: Path, weights: LoadedWeights) -> None:
    table = pq.read_table(run / "direction_features" / "part-00000.parquet")
    other = table.set_column(0, "sae", pa.array(["second"] * len(table)))
    write(run, "direction_features", pa.concat_tables([table, other]))
    lacking = LoadedWeights(weights.saes, {"second": "no such directory"}, weights.module, weights.tokenizer)
    assert said(run, lacking) == []
    assert any("not the SAEs and directions of the run" in text for text in said(run, weights))
    edited(run, "feature_logits", changed_row("top", 3, entry(0, logit=99.0)))
    without_model = LoadedWeights(weights.saes, {"second": "", "the model": "damaged"})
    assert said(run, without_model) == [], "without a model no logit can be looked at"


def test_other_weights_under_the_same_name_are_told(run: Path, weights: LoadedWeights) -> None:
    other = LoadedWeights({"sae": sae_of(seed=9)}, {}, weights.module, weights.tokenizer)
    assert sum("direction_features: sae" in text for text in said(run, other)) == 2
    assert any("is not what the weights give" in text for text in said(run, other))


def test_a_model_without_an_output_layer_and_a_table_that_cannot_be_read(run: Path, weights: LoadedWeights) -> None:
    headless = LoadedWeights(weights.saes, {}, object(), weights.tokenizer)
    assert said(run, headless) == ["feature_logits: the model has no output layer to hold them against"]
    (run / "direction_features" / "part-00000.parquet").write_bytes(b"PAR1")
    (found,) = said(run, weights)
    assert found.startswith("tables of weights: cannot be computed again (")
