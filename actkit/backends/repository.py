"""Find a model's repository or directory, and read its configuration, tokenizer and revision, but not its weights.

Where there is no such model, the error names what was found: an adapter, GGUF files, a dataset, another kind of model.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from actkit.backends.load_errors import ABSENT, explained
from actkit.backends.model_files import READ, check_files
from actkit.backends.names import MODEL_DIRECTORY, is_directory, no_directory
from actkit.backends.transformer_lens import alias_of
from actkit.bundled import NAME, TINY
from actkit.config import ModelSpec
from actkit.errors import ModelError, in_short


def locate(name: str) -> str:
    """Resolve a name to a directory or a Hugging Face id. Raises ModelError for a path that is no directory."""
    if name == NAME:
        return str(TINY)
    if is_directory(name):
        return name
    if name.lower().endswith(".gguf"):
        raise _gguf(name)
    if "://" in name:
        raise ModelError(f"{in_short(name)}: an address, not a name", "give the id alone, such as org/name")
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or os.path.isfile(name):  # noqa: PTH113 - as in names
        raise ModelError(f"{in_short(name)}: {no_directory(name)}", MODEL_DIRECTORY)
    if "/" in name:
        return name
    return alias_of(name)


def _gguf(name: str) -> ModelError:
    """Make the error for a GGUF file, with lines of Python that save its dequantized weights as a model directory."""
    path = Path(name).expanduser()
    if not path.is_file():
        return ModelError(f"{in_short(name)}: no such file", MODEL_DIRECTORY)
    given, to = f"{str(path.parent)!r}, gguf_file={path.name!r}", path.stem
    return ModelError(
        f"{in_short(name)}: a GGUF file, which actkit does not read",
        f"two lines of Python make a directory of it, and then: --model {to}\n"
        "  from transformers import AutoModelForCausalLM as M, AutoTokenizer as T\n"
        f"  m = M.from_pretrained({given}); m.hf_quantizer = m.config.quantization_config = None; "
        f"m.is_quantized = False; del m.config.quantization_config; m.save_pretrained({to!r}); "
        f"T.from_pretrained({given}).save_pretrained({to!r})",
    )


def read_config(location: str, spec: ModelSpec) -> Any:
    """Read the model's configuration. Raises ModelError, naming the kind, unless it is a causal language model."""
    from transformers import AutoConfig

    if is_directory(location):
        check_files(Path(location), spec.name)
    with explained(spec, "configuration"):
        try:
            config = AutoConfig.from_pretrained(
                location, revision=spec.revision, trust_remote_code=spec.trust_remote_code
            )
        except (OSError, ValueError) as error:  # its message says only that the model is unknown
            check_is_model(location, spec, ask_hub=ABSENT in str(error))
            raise
    check_causal_kind(config, spec)
    return config


def context_of(config: Any) -> int | None:
    """The model's context in tokens; None where the configuration states none, or -1 for no limit.

    For rotary embeddings of type longrope (Phi-3 with 128k) it is the shorter, original context: beyond that, Hugging
    Face changes the factors of the whole batch, so a short sequence's numbers would depend on its neighbours.
    """
    context: int | None = getattr(config, "max_position_embeddings", None)
    rope = getattr(config, "rope_parameters", None) or {}
    original = rope.get("original_max_position_embeddings") or getattr(config, "original_max_position_embeddings", None)
    found = original if rope.get("rope_type") == "longrope" and original else context
    return found if found is None or found > 0 else None


def read_tokenizer(location: str, spec: ModelSpec) -> Any:
    """Read the model's tokenizer. Raises ModelError unless it is a fast one: only those give character spans."""
    from transformers import AutoTokenizer

    with explained(spec, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(
            location, revision=spec.revision, trust_remote_code=spec.trust_remote_code
        )
    tokenizer = checked(tokenizer, spec.name)
    # This turns off a warning about texts beyond the context, which actkit truncates or rejects, and counts.
    tokenizer.model_max_length = 10**9
    return tokenizer


def checked(tokenizer: Any, name: str) -> Any:
    """Return the tokenizer. Raises ModelError unless it is a fast one: only those give character spans."""
    if not tokenizer.is_fast:
        raise ModelError(f"the tokenizer of {name} cannot tell character spans", "it needs a tokenizer.json")
    return tokenizer


def revision_of(location: str, spec: ModelSpec) -> str | None:
    """The hub's commit; for a local directory a digest of its configuration, tokenizer and weight files."""
    if not is_directory(location):
        from transformers.utils.hub import cached_file

        with explained(spec, "configuration"):
            path = cached_file(location, "config.json", revision=spec.revision)
        # The cache keeps each commit's files under snapshots/<commit>/.
        return Path(str(path)).parent.name
    digest = hashlib.sha256()
    for path in sorted(Path(location).iterdir()):
        if path.suffix in READ and path.suffix != ".txt" and path.is_file():
            digest.update(f"{path.name}:{path.stat().st_size}:".encode())
            with path.open("rb") as file:
                # The ends of a weight file hold its index and its last tensor; reading all 18 GB would take minutes.
                digest.update(file.read(1 << 20))
                file.seek(-min(path.stat().st_size, 1 << 20), 2)
                digest.update(file.read())
    return f"sha256:{digest.hexdigest()}"


PICKLES = ("pytorch_model*.bin", "*.pt", "*.pth")


def check_format(location: str, spec: ModelSpec) -> None:
    """Raise ModelError for weights with an adapter beside them, and for pickled ones unless `spec.allow_pickle`.

    `location` is a directory, or a Hugging Face id, whose files in the local cache are checked.
    """
    folder = Path(location) if is_directory(location) else cached(location, spec.revision)
    if folder is not None:
        check_files(folder, spec.name)
    if folder is not None and {"adapter_config.json", "config.json"} <= {path.name for path in folder.iterdir()}:
        raise ModelError(
            f"{spec.name} has an adapter (adapter_config.json) beside its weights, which transformers adds where peft "
            "is installed, and leaves out elsewhere",
            "merge it (peft: merge_and_unload, then save_pretrained), or give a directory without it",
        )
    if spec.allow_pickle or folder is None or next(folder.glob("*.safetensors"), None):
        return
    pickled = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
    if pickled:
        raise ModelError(
            f"{spec.name} has its weights in {pickled[0]}, a pickle, which can run code when it is loaded",
            "convert them to safetensors; or, if you trust where they come from, --allow-pickle, which reads tensors "
            "only",
        )


def check_causal_kind(config: Any, spec: ModelSpec) -> None:
    """Raise ModelError for a configuration without a causal language model in `transformers`, such as ViT's."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    own_code = "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {})
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING and not own_code:
        what = (getattr(config, "architectures", None) or [config.model_type])[0]
        raise ModelError(
            f"{spec.name} is a {what}, and transformers has no causal language model for {config.model_type}",
            "actkit reads causal language models only",
        )


def check_is_model(location: str, spec: ModelSpec, ask_hub: bool) -> None:
    """Raise ModelError for a directory or a repository without config.json; the error says what it is instead.

    Checks the names of its files, on the disk, in the local cache or, with `ask_hub`, on the hub. Raises nothing where
    those are not known.
    """
    folder = Path(location) if is_directory(location) else cached(location, spec.revision)
    files = sorted(path.name for path in folder.iterdir()) if folder else []
    files = files or (_on_hub(location, spec.revision) if ask_hub else [])
    if "config.json" in files:
        return
    base = _base(folder) if folder else ""
    if "adapter_config.json" in files:
        raise ModelError(
            f"{spec.name} is an adapter{base}, not a whole model",
            "merge it into its base model (peft: merge_and_unload, then save_pretrained) and give that directory",
        )
    gguf = next((name for name in files if name.endswith(".gguf")), None)
    if gguf is not None:
        raise ModelError(
            f"{spec.name} holds GGUF files such as {gguf}, which actkit does not read",
            "give the model that they were made from, in safetensors",
        )
    if not files and not is_directory(location) and cached(location, None, "datasets") is not None:
        raise ModelError(f"{spec.name} is a dataset", "--model names a language model")
    if files:
        raise ModelError(
            f"{spec.name} has no config.json, but {', '.join(files[:3])}",
            "a model has config.json, model.safetensors and tokenizer.json; a dataset or an SAE is no model",
        )


def _base(folder: Path) -> str:
    try:
        about = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        return f" of {about['base_model_name_or_path']}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def cached(location: str, revision: str | None, kind: str = "models") -> Path | None:
    """The folder of a repository's files in the local cache; None where there are none."""
    from huggingface_hub import constants

    repository = Path(constants.HF_HUB_CACHE) / f"{kind}--{location.replace('/', '--')}"
    named = repository / "refs" / (revision or "main")
    commit = named.read_text(encoding="utf-8").strip() if named.is_file() else revision
    folder = repository / "snapshots" / commit if commit else None
    return folder if folder is not None and folder.is_dir() and any(folder.iterdir()) else None


def _on_hub(location: str, revision: str | None) -> list[str]:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        return sorted(HfApi().list_repo_files(location, revision=revision))
    except (HfHubHTTPError, OfflineModeIsEnabled, OSError, ValueError):
        return []
