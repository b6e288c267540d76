"""`--sae-dtype bfloat16`: features are float32's, where it cannot be it is said; and a run says what bfloat16 gives."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from actkit.backends import kernel_choice
from actkit.backends.saes import sparse_encode
from actkit.bundled import NAME, TINY
from actkit.recipes import saes
from tests.backends.saes.test_kinds import saved
from tests.conftest import Run

TEXTS = [
    f"The {word} of France is a city that people of every age like to see in spring." for word in ("heart", "pride")
]


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("texts.txt").write_text("\n".join(TEXTS) + "\n", encoding="utf-8")


def facts(run: str) -> dict[str, object]:
    found: dict[str, object] = json.loads((Path(run) / "run.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.slow
def test_features_found_in_bfloat16_are_float32s(actkit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saes, "bfloat16_speed", lambda: 2.0)
    counted: list[int] = []
    one_by_one = sparse_encode.products_at
    monkeypatch.setattr(sparse_encode, "products_at", lambda *given: counted.append(1) or one_by_one(*given))
    for dtype in ("float32", "bfloat16"):
        status, _, err = actkit("feature-dataset", "texts.txt", "--sae-dtype", dtype, "-o", dtype)
        assert status == 0 and "warning" not in err and bool(counted) == (dtype == "bfloat16")
        (about,) = facts(dtype)["saes"]  # type: ignore[misc]
        assert about["found_in"] == dtype
    first, second = (pd.read_parquet(f"{dtype}/features") for dtype in ("float32", "bfloat16"))
    assert len(first) > 30 and first["n_active"].sum() > 300
    for a, b in zip(first.itertuples(), second.itertuples(), strict=True):
        mine, other = (dict(zip(row.feature_ids, row.feature_activations, strict=True)) for row in (a, b))
        assert mine == pytest.approx(other, abs=1e-4) and a.n_active == b.n_active  # order is rounding's where two tie
    assert "sae_dtype: bfloat16" in Path("bfloat16/config.yaml").read_text(encoding="utf-8")
    status, out, err = actkit("verify", "bfloat16", "--recompute", "2")
    assert status == 0, out + err


def test_what_is_not_in_bfloat16_is_said(actkit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a processor that is no faster in it, and of an SAE of which a large share is active."""
    saved(Path("topk"), "TopK", {"hook_name": "blocks.1.hook_resid_post"}, d_in=192, k=5)
    asked = (
        "capture",
        "texts.txt",
        "--layers",
        "1",
        "--sae",
        "topk",
        "--sae-dtype",
        "bfloat16",
        "--overwrite",
        "-o",
        "x",
    )
    for speed, why in (
        (2.0, "of this topk SAE only its own encode tells them"),
        (0.9, "bfloat16 is no faster here"),
        (None, "no faster"),
    ):
        monkeypatch.setattr(saes, "bfloat16_speed", lambda speed=speed: speed)
        status, _, err = actkit(*asked)
        assert status == 0 and "warning: topk: features are found in float32, not in bfloat16" in err and why in err
        (about,) = facts("x")["saes"]  # type: ignore[misc]
        assert about["found_in"] == "float32"


def test_a_run_begins_with_what_bfloat16_would_give(actkit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where auto means float32, of a model of one's own; once, and not where it gives little or dtype is asked for."""
    shutil.copytree(TINY, "mine")
    said = "float32: --dtype bfloat16 multiplies matrices 1.7 times as fast"
    for speed, model, more, times in (
        (1.72, "mine", (), 1),
        (1.72, "mine", ("--quiet",), 0),
        (1.72, "mine", ("--dtype", "float32"), 0),
        (1.72, NAME, (), 0),
        (1.42, "mine", (), 0),
        (None, "mine", (), 0),
    ):
        monkeypatch.setattr(kernel_choice, "bfloat16_speed", lambda speed=speed: speed)
        status, _, err = actkit(
            "capture", "-p", "x", "--layers", "0", "--device", "cpu", "--overwrite", "-o", "x", "-m", model, *more
        )
        assert status == 0 and err.count(said) == times, (speed, model, more)
