"""actkit's own commands on the workloads: what they take by their own account, and what they wrote."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import actkit
from actkit.config import SaeDtype
from tests.benchmarks.reference import TOP_K
from tests.benchmarks.workloads import Inputs

WORK = ("forward", "reduce", "order", "wait_for_writer")
"""Parts of a run's time that the reference does too (or that writing adds): not reading, tokenizing and loading."""


def run(
    inputs: Inputs, workload: str, model: actkit.ModelSpec, out: Path, sae_dtype: SaeDtype = "float32"
) -> dict[str, Any]:
    """Run the command for `workload` with a model that is in memory; what run.json holds."""
    shutil.rmtree(out, ignore_errors=True)
    output, folder = actkit.OutputSpec(out), inputs.folder
    sparse = actkit.SparseSpec(model, [actkit.SaeSpec(path=str(inputs.sae))], output, sae_dtype=sae_dtype)
    if workload == "documents":
        spec = actkit.FeatureDatasetSpec(str(folder / "documents.jsonl"), top_k=TOP_K)
        done = actkit.run_feature_dataset(spec, sparse)
    elif workload == "pairs":
        pairs = actkit.DpoSpec(str(folder / "pairs.jsonl"), chat=False)
        done = actkit.run_dpo(pairs, actkit.DenseSpec(model, output))
    elif workload == "answers":
        done = actkit.run_sae_extract(actkit.SaeExtractSpec(str(folder / "answers.jsonl"), top_k=TOP_K), sparse)
    else:
        prompts = actkit.CaptureSpec(path=str(folder / "contrasts.txt"), positions="last")
        done = actkit.run_capture(prompts, actkit.DenseSpec(model, output, layers="recommended"))
    return dict(done.facts)


def work_seconds(facts: dict[str, Any]) -> float:
    """Seconds that the run spent on what the reference does too."""
    return float(sum(facts["seconds"].get(part, 0.0) for part in WORK))


def difference(inputs: Inputs, workload: str, out: Path, expected: dict[Any, Any]) -> tuple[float, float]:
    """How far what is stored is from the reference's: largest error over largest number, and share of equal ids."""
    rows = pd.read_parquet(out / ("features" if workload in ("documents", "answers") else "activations"))
    sequences = pd.read_parquet(out / "sequences")
    if workload in ("documents", "answers"):
        return features_apart(rows, sequences, workload, expected)
    error, largest = 0.0, 0.0
    record = sequences.set_index("sequence_id")
    part = {"shared": 0, "chosen": 1, "rejected": 2}
    for number, table in rows.groupby("sequence_id"):
        about = record.loc[number]
        by_layer = [np.stack(list(row["activation"])) for _, row in table.groupby("layer")]
        stored = torch.tensor(np.stack(by_layer))
        name = (about["record_id"], part[about["side"]]) if workload == "pairs" else about["record_id"]
        wanted = expected[name]
        stored = stored if workload == "pairs" else stored[:, 0]
        error = max(error, float((stored - wanted).abs().max()))
        largest = max(largest, float(wanted.abs().max()))
    return error / largest, 1.0


def features_apart(
    rows: pd.DataFrame, sequences: pd.DataFrame, workload: str, expected: dict[Any, Any]
) -> tuple[float, float]:
    """Of the features that the reference has above zero: error of the sorted values, share of the same ids."""
    record = sequences.set_index("sequence_id")["record_id"]
    error, largest, same, of = 0.0, 0.0, 0, 0
    for row in rows.itertuples():
        values, names = expected[record[row.sequence_id]]
        values, names = (values[row.position], names[row.position]) if workload == "documents" else (values, names)
        active = int((values > 0).sum())
        same, of = same + len(set(row.feature_ids) & set(names[:active].tolist())), of + active
        stored = torch.tensor(np.asarray(row.feature_activations))[:active]
        if active:
            error = max(error, float((stored - values[: len(stored)]).abs().max()))
        largest = max(largest, float(values.max()))
    return error / largest, same / of
