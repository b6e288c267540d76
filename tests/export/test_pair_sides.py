"""Both sides of contrasts as padded batches: what stands in the tables, with what both sides begin with."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from actkit.errors import RunError
from actkit.export.job import ExportJob
from actkit.export.pair_sides import SIDES, side_of, write
from actkit.runs.run import Run


@pytest.mark.parametrize("side", SIDES)
def test_a_side_is_what_the_tables_have_of_it(six_runs: Mapping[str, Path], side: str) -> None:
    path = six_runs["concept"]
    found = side_of(Run(path), side)
    own = [row for row in pq.read_table(path / "sequences").to_pylist() if row["side"] == side]
    tokens: dict[int, dict[int, int]] = {}
    for row in pq.read_table(path / "tokens").to_pylist():
        tokens.setdefault(row["sequence_id"], {})[row["position"]] = row["token_id"]
    assert found["prompt"] == [row["text"] for row in own] and found["n_truncated"] == [0] * len(own)
    for number, row in enumerate(own):
        whole = {**tokens.get(row["parent_id"], {}), **tokens[row["sequence_id"]]}
        whole = {at: token for at, token in whole.items() if at < row["start"] or at in tokens[row["sequence_id"]]}
        n = row["n_tokens"]
        assert found["input_ids"][number].tolist() == [whole[at] for at in range(n)] + [0] * (
            found["input_ids"].shape[1] - n
        )
        assert found["attention_mask"][number].sum() == n and len(found["tokens"][number]) == n
    assert found["captured_layers"] == [1, 2] and set(found["activations"]) == {1, 2}
    vectors = {
        (row["sequence_id"], row["position"], row["layer"]): row["activation"]
        for row in pq.read_table(path / "activations").to_pylist()
    }
    for layer, batch in found["activations"].items():
        for number, row in enumerate(own):
            for column, position in enumerate(found["positions"][number].tolist()):
                stored = vectors[row["sequence_id"], position, layer] if position >= 0 else np.zeros(batch.shape[2])
                assert np.array_equal(batch[number, column].numpy(), np.array(stored, dtype=np.float32))


def test_both_sides_are_in_one_file_with_statistics_beside_it(six_runs: Mapping[str, Path], tmp_path: Path) -> None:
    path = six_runs["concept"]
    facts = json.loads((path / "run.json").read_text())
    shares: list[float] = []
    write(ExportJob(path, facts, tmp_path / "x.pt", shares.append))
    found = torch.load(tmp_path / "x.pt", weights_only=True)
    assert set(found) == {*SIDES, "num_layers", "captured_layers", "concept"} and shares == [0.5, 1.0]
    beside = json.loads((tmp_path / "x.json").read_text())
    assert beside["statistics"] == pq.read_table(path / "pair_stats").to_pylist()
    assert (beside["num_layers"], beside["concept"]) == (found["num_layers"], facts["options"]["what"])
    with pytest.raises(RunError, match="padded, both sides would be about 0 MB, more than max_mb 0") as error:
        write(ExportJob(path, facts, tmp_path / "y.pt"), max_mb=0)
    assert error.value.hint == "raise --max-mb" and not (tmp_path / "y.pt").exists()
