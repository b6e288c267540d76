"""The document of the pairs script, statement by statement, with a small model."""

import json
from pathlib import Path

import h5py

from tests.command_line import Run

QUESTION = {"role": "user", "content": "What is the capital of France?"}
PAIR = {
    "chosen": [QUESTION, {"role": "assistant", "content": "Paris is the capital of France."}],
    "rejected": [QUESTION, {"role": "assistant", "content": "I don't know."}],
}
CONFIG = """
model: {name: tiny, device: cpu, dtype: float32}
dataset: {path: dpo_dataset.jsonl}
output: {file_path: activations_output.h5, compression: gzip, compression_level: 4, save_interval: 10}
processing: {batch_size: 1, max_sequence_length: 512}
logging: {level: DEBUG, file: dpo_activations.log}
"""


def test_every_statement_in_the_documents_order(actkit: Run) -> None:
    assert "config.yaml" not in actkit("dpo").err
    Path("config.yaml").write_text(CONFIG, encoding="utf-8")
    assert "hint: actkit dpo --config config.yaml" in actkit("dpo").err, "the script read it without being told"
    Path("my_config.yaml").write_text(CONFIG, encoding="utf-8")
    broken = {"chosen": PAIR["chosen"], "rejected": [QUESTION]}
    Path("dpo_dataset.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in (PAIR, broken, PAIR)), encoding="utf-8"
    )
    made = actkit("dpo", "--config", "my_config.yaml", "--log-level", "DEBUG")
    assert made.status == 0, made.err
    with h5py.File("activations_output.h5", "r") as f:
        metadata = f["metadata/sample_0"]
        divergence_idx = metadata.attrs["chosen_divergence_idx"]
        chosen_activations = f["activations/sample_0_chosen"]
        layer_0_activations = chosen_activations["blocks.0.hook_resid_post"][:]
        assert list(f["metadata"]) == ["sample_0", "sample_1"], "the broken pair is skipped"
        for name, figures in f["metadata"].items():
            for side in ("chosen", "rejected"):
                assert 0 < figures.attrs[f"{side}_divergence_idx"] < figures.attrs[f"{side}_length"], name
                group = f[f"activations/{name}_{side}"]
                assert set(group) == {f"blocks.{layer}.hook_resid_post" for layer in range(4)}
                assert {group[point].shape for point in group} == {(figures.attrs[f"{side}_length"], 192)}
        rejected = f["activations/sample_0_rejected/blocks.0.hook_resid_post"][:]
    assert (layer_0_activations[:divergence_idx] == rejected[:divergence_idx]).all()
    assert (layer_0_activations[divergence_idx] != rejected[divergence_idx]).any()
    log = Path(made.out.strip(), "run.log").read_text(encoding="utf-8")
    assert "dpo with tiny" in log and "rejected: dpo_dataset.jsonl:2" in log
