"""`feature_logits` are the unit decoder row times the unembedding, of the features that are active in the run."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from actkit.analysis.feature_logits import Unembedding, feature_logits
from actkit.bundled import SAES
from actkit.config import SaeSpec
from actkit.recipes import runner as module
from actkit.recipes.saes import load_saes
from actkit.report.feature_views import pages_of_feature
from tests.command_line import Run

TINY = SAES.parent / "tiny" / "model.safetensors"


def test_they_are_the_products_of_the_weights_of_what_is_active(
    actkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A feature that is active nowhere has no row, and its page says so."""
    monkeypatch.setattr(module, "features_seen", None)  # `feature_positions` has them: no table is read for it again
    (tmp_path / "x.jsonl").write_text('{"prompt": "Once upon a time"}\n')
    run = tmp_path / "run"
    found = actkit("sae-extract", tmp_path / "x.jsonl", "--target-layer", "2", "-o", run, "-q", "--json")
    weights = load_file(TINY)
    head = weights.get("lm_head.weight", weights["model.embed_tokens.weight"]).double().numpy()
    decoder = load_file(SAES / "blocks.2.hook_resid_post" / "sae_weights.safetensors")["W_dec"].double().numpy()
    logits = decoder / np.linalg.norm(decoder, axis=1, keepdims=True) @ head.T
    rows = pq.read_table(run / "feature_logits").to_pylist()
    active = sorted({each for ids in pq.read_table(run / "features")["feature_ids"].to_pylist() for each in ids})
    assert [row["feature_id"] for row in rows] == active and 0 < len(active) < len(decoder)
    assert found.found["feature_logits_of"] == {rows[0]["sae"]: len(active)}
    for row in rows:
        own = logits[row["feature_id"]]
        for end, order in (("top", np.argsort(-own)), ("bottom", np.argsort(own))):
            assert [token["logit"] for token in row[end]] == pytest.approx(own[order[:10]], rel=1e-4)
            assert own[[token["token_id"] for token in row[end]]] == pytest.approx(own[order[:10]], rel=1e-4)
        assert row["norm_folded"] is False and all(isinstance(token["token"], str) for token in row["top"])
    silent = min(set(range(len(decoder))) - set(active))
    pages = {feature: dict(pages_of_feature(run, feature))[rows[0]["sae"]] for feature in (active[0], silent)}
    assert "logits" in pages[active[0]] and pages[active[0]]["scale"] > 0
    assert "logits" not in pages[silent] and pages[silent]["scale"] == 0 and pages[silent]["contexts"] == []


def test_what_would_take_long_is_left_out_and_says_so(
    actkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, six_runs: Mapping[str, Path]
) -> None:
    assert "feature_logits" in json.loads((six_runs["feature-dataset"] / "run.json").read_text())["tables"]
    monkeypatch.setattr(module, "MOST_CPU", 1.0)
    (tmp_path / "x.jsonl").write_text('{"prompt": "Once upon a time"}\n')
    found = actkit("sae-extract", tmp_path / "x.jsonl", "--target-layer", "2", "-o", tmp_path / "run", "-q", "--json")
    assert "too many" in next(iter(found.found["feature_logits_left_out"].values()))
    assert "feature_logits" not in found.found["tables"]


def test_a_token_whose_row_of_the_unembedding_is_zero_gets_nothing() -> None:
    """Of padding, mostly, and of rows that only fill up a vocabulary: no NaN, which would be the largest of all."""
    (sae,) = load_saes([SaeSpec("tiny", "blocks.2.hook_resid_post")], "cpu")
    tokenizer = AutoTokenizer.from_pretrained(TINY.parent)
    head = torch.randn(20, sae.d_in, generator=torch.Generator().manual_seed(0))
    head[[0, 7]] = 0
    (table,) = feature_logits(sae, np.arange(20), Unembedding.of(head, tokenizer))
    for row in table.to_pylist():
        found = {each["token_id"]: each["logit"] for end in ("top", "bottom") for each in row[end]}
        assert np.isfinite(list(found.values())).all() and {found.get(0, 0), found.get(7, 0)} == {0}
    assert list(feature_logits(sae, np.arange(0), Unembedding.of(head, tokenizer))) == []
