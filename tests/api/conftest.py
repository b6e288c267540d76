"""The bundled model, loaded once; and a temporary directory in which actkit may leave nothing."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import actkit
from actkit.bundled import TINY

PREFIX = "actkit-"
"""Of the temporary directories that actkit makes."""
PROMPTS = ("One two three.", "The river runs to the sea, and the sea is not full.", "Four", "A hare 🌊")


@pytest.fixture(scope="session")
def tiny() -> actkit.ModelSpec:
    return actkit.load_model("tiny", device="cpu")


@pytest.fixture(scope="session")
def in_memory() -> tuple[Any, Any]:
    """A model of transformers and its tokenizer, as a notebook has them."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32).eval(), AutoTokenizer.from_pretrained(TINY)


@pytest.fixture(autouse=True)
def _nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever a test does, failing calls included, nothing of actkit is left in the temporary directory afterwards.

    Other packages leave directories there when they are first imported, as wandb does.
    """
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.chdir(tmp_path)
    yield
    assert [path.name for path in folder.iterdir() if path.name.startswith(PREFIX)] == []
