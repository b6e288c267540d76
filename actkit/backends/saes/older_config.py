"""What SAELens guesses of its configurations from before version 6 without a word: what is not read is refused."""

from collections.abc import Mapping
from typing import Any

from actkit.errors import ModelError, in_short


def check_activation(about: Mapping[str, Any], name: str) -> None:
    """Raise ModelError for an activation function that SAELens would take for ReLU: it does so with all but TopK."""
    function = next((about[key] for key in ("activation_fn_str", "activation_fn") if about.get(key)), "relu")
    more = about.get("activation_fn_kwargs")
    if function not in ("relu", "topk"):
        raise ModelError(f"{name}: its activation function {in_short(str(function))} is not read", "relu and topk are")
    if function == "topk" and about.get("k", more.get("k") if isinstance(more, Mapping) else None) is None:
        raise ModelError(f"{name}: a TopK SAE that does not say its k", "its cfg.json needs k")


def says_bos(about: Mapping[str, Any]) -> bool:
    """Whether a configuration states `prepend_bos`; SAELens fills it in where an older one does not."""
    metadata = about.get("metadata")
    return "prepend_bos" in about or (isinstance(metadata, Mapping) and "prepend_bos" in metadata)
