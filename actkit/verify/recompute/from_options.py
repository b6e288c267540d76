"""How a run was made, read off its options, as far as computing its records again needs to know it."""

from collections.abc import Mapping
from typing import Any

from actkit.backends import Description
from actkit.backends.reference import PlainModel
from actkit.backends.saes.sae import Sae
from actkit.config import Bos
from actkit.pipeline.tokens.tokenize import Tokenizer
from actkit.verify.recompute.features import Cut
from actkit.verify.recompute.pooled import Pooling
from actkit.verify.recompute.records import Recomputing
from actkit.verify.recompute.retokenize import Retokenizer, chats_of
from actkit.verify.recompute.tolerance import tolerance


def recomputing(
    command: str,
    options: Mapping[str, Any],
    detected: Mapping[str, Any],
    description: Description,
    plain: PlainModel,
    saes: Mapping[str, Sae],
    prepends: frozenset[bool],
    same_attention: bool = True,
) -> Recomputing:
    """What computes a run's records again: its `options`, what was `detected`, its model and its SAEs by name.

    `prepends` says of the SAEs whether their training contexts began with BOS. A run made in Python may have no
    options: then texts are not tokenized again, and as many features are expected as are stored.
    """
    bos = began_with(options["bos"], prepends, description.tokenizer) if "bos" in options else None
    known = "top_k" in options
    threshold = float(options.get("activation_threshold") or 0.0)
    return Recomputing(
        plain,
        saes,
        None if bos is None else Retokenizer(description.tokenizer, bos, chats_of(command, options, detected)),
        Cut(options.get("top_k"), threshold, known),
        Pooling.of(command, options),
        tolerance(description.spec.dtype, options.get("store_dtype", "float32"), same_attention),
    )


def began_with(bos: Bos, prepends: frozenset[bool], tokenizer: Tokenizer) -> Bos:
    """How plain text begins: as `--bos` says, or else as the SAEs' training contexts did, where they all agree."""
    if bos != "auto" or len(prepends) != 1:
        return bos
    if prepends == {False}:
        return "never"
    return "always" if tokenizer.bos_token_id is not None else bos
