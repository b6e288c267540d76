"""Name what was taken for a model and is something else: an adapter, GGUF files, a dataset, a model of another kind."""

import json
from pathlib import Path
from typing import Any

from actkit.backends.names import is_directory
from actkit.config import ModelSpec
from actkit.errors import ModelError


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
    """Raise ModelError, with what there is instead, for a directory or a repository that has no config.json.

    Looked at are the names of its files, on the disk, in the local cache or, with `ask_hub`, on the hub. Nothing is
    raised where those are not known.
    """
    folder = Path(location) if is_directory(location) else _cached(location, spec.revision)
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
    if not files and not is_directory(location) and _cached(location, None, "datasets") is not None:
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


def _cached(location: str, revision: str | None, kind: str = "models") -> Path | None:
    """The files of a repository in the local cache; None where there are none."""
    from huggingface_hub import constants

    cached = Path(constants.HF_HUB_CACHE) / f"{kind}--{location.replace('/', '--')}"
    named = cached / "refs" / (revision or "main")
    commit = named.read_text(encoding="utf-8").strip() if named.is_file() else revision
    folder = cached / "snapshots" / commit if commit else None
    return folder if folder is not None and folder.is_dir() and any(folder.iterdir()) else None


def _on_hub(location: str, revision: str | None) -> list[str]:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        return sorted(HfApi().list_repo_files(location, revision=revision))
    except (HfHubHTTPError, OfflineModeIsEnabled, OSError, ValueError):
        return []
