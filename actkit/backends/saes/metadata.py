"""Read the metadata of a SAELens SAE into `Sae`, and refuse architectures that cannot encode single tokens.

SAELens's metadata returns None for any misspelt name, so each field is read once, in this module.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch

from actkit.backends.saes.sae import Active, Sae
from actkit.backends.saes.sparse_encode import sparse_encoder
from actkit.config import SaeDtype
from actkit.errors import ModelError, in_short
from actkit.hooks import D_MODEL_WIDE, HookPoint

HARMLESS = (
    "fold_ln",
    "center_unembed",
    "fold_value_biases",
    "refactor_factored_attn_matrices",
    "n_devices",
    "device_map",
)
"""Options of loading that do not change the hook points of a model that is loaded without weight processing."""

REFUSED = {
    "temporal": "its features depend on the tokens before, and actkit encodes each token by itself",
    "abstopk": "its features may be negative, and actkit keeps positive ones only",
    "matching_pursuit": "its features are chosen one after the other, which actkit has not been tested with",
}
"""Architecture → why actkit's numbers would not be the SAE's own."""

LINEAR = ("standard", "gated", "jumprelu", "topk")
"""Architectures whose reconstruction is features times decoder, plus bias, rescaled to the input's scale."""

MEANT = {("hook_mlp_in", "pre_feedforward_layernorm.output"): "mlp.hook_in"}
"""SAELens's name and the end of the Hugging Face name → TransformerLens's name. Gemma Scope 2's transcoders read the
output of the norm before the MLP; TransformerLens's `hook_mlp_in` is the input of that norm."""

WRITTEN = frozenset(
    {*D_MODEL_WIDE, "hook_in", "hook_out", "hook_attn_in", "hook_mlp_in", "attn.hook_out", "mlp.hook_out"}
)
"""Hook points that centred writing weights change: the residual stream, and outputs that are added to it. The output of
a norm, which a transcoder may read, stays the same."""


def described(sae: Any, name: str, facts: dict[str, Any], dtype: SaeDtype = "float32") -> Sae:
    """Make the `Sae` of a loaded SAELens SAE, with its name in tables; `facts` are added to its metadata.

    With `dtype` bfloat16, active features are found in bfloat16 where the architecture allows it.

    Raises ModelError for an SAE without a hook point, with bad weights or metadata, or unable to encode single tokens.
    """
    facts = {key: value for key, value in sae.cfg.metadata.to_dict().items() if value is not None} | facts
    _check_kinds(name, facts)
    architecture = sae.cfg.architecture()
    if architecture in REFUSED:
        raise ModelError(f"{name} is a {architecture} SAE: {REFUSED[architecture]}", "choose another SAE")
    _check_numbers(name, sae.state_dict())
    point, predicts = _reads(name, facts), _predicts(name, architecture, facts)
    if sae.cfg.reshape_activations == "hook_z":
        sae.turn_off_forward_pass_hook_z_reshaping()  # heads are concatenated already
    centred, guesses = _assumed(sae, facts)
    facts |= {"architecture": architecture, "centred_input": centred}
    facts["normalize_activations"] = sae.cfg.normalize_activations
    encode, reconstruct, active = _functions(sae, centred and point.name in WRITTEN, dtype)
    return Sae(
        name,
        point,
        sae.cfg.d_in,
        sae.cfg.d_sae,
        architecture,
        encode,
        None if predicts else reconstruct,
        facts.get("model_name"),
        facts.get("context_size"),
        bool(facts.get("prepend_bos", True)),
        facts.get("neuronpedia_id"),
        guesses,
        facts,
        None if predicts else sae.W_dec.detach(),
        sae.state_dict(),
        predicts,
        active,
        dtype if active is not None else "float32",
    )


def _check_numbers(name: str, weights: Mapping[str, torch.Tensor]) -> None:
    """Raise ModelError for NaN or infinity in weights: a feature would silently never fire, or have no meaning.

    A threshold may be infinite: its feature is dead.
    """
    for key, tensor in weights.items():
        # One pass and no copy in the usual case: a NaN or an infinity shows in the sum, which may itself be too large.
        bad = tensor.isnan().any() if key == "threshold" else not (tensor.sum().isfinite() or tensor.isfinite().all())
        if bad:
            raise ModelError(f"{name}: its {key} holds NaN or infinity", "fetch its files again, or train it anew")


KINDS: dict[str, tuple[type, str]] = {
    "context_size": (int, "a number of tokens"),
    "model_name": (str, "a name"),
    "neuronpedia_id": (str, "a name"),
    "prepend_bos": (bool, "true or false"),
    "model_from_pretrained_kwargs": (dict, "an object"),
}
"""Entry of an SAE's metadata that actkit reads → its type, and a description for errors."""


def _check_kinds(name: str, facts: dict[str, Any]) -> None:
    """Raise ModelError for an entry of the metadata whose type is not that in `KINDS`."""
    for key, (kind, what) in KINDS.items():
        found = facts.get(key)
        if found is not None and (not isinstance(found, kind) or (isinstance(found, bool) and kind is not bool)):
            raise ModelError(f"{name}: its cfg.json says {key} {in_short(repr(found))}", f"that is {what}, or left out")


def _functions(
    sae: Any, centre: bool, dtype: SaeDtype
) -> tuple[Callable[..., torch.Tensor], Callable[..., torch.Tensor], Callable[[torch.Tensor], Active | None] | None]:
    """Make `Sae.encode`, `reconstruct` and `active`; `centre` subtracts the mean over d_model from the SAE's input."""

    def taken(x: torch.Tensor) -> torch.Tensor:
        x = x.to(sae.device, torch.float32)  # a model on several devices has hook points on others
        # Centred writing weights subtract the mean over d_model from all outputs added to the residual stream.
        return x - x.mean(-1, keepdim=True) if centre else x

    def encode(x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = sae.encode(taken(x))
        return (found.to_dense() if found.is_sparse else found).to(x.device)

    def reconstruct(x: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        # decode restores what encode removed from the input, such as a layer norm's scale. The SAE stores that of the
        # last tokens it encoded, which need not be these.
        sae.process_sae_in(taken(x))
        result = _decoded(sae, features.to(sae.device))
        return result.to(x.device) + (x.to(torch.float32) - taken(x).to(x.device))

    return encode, reconstruct, sparse_encoder(sae, taken, dtype == "bfloat16")


def _decoded(sae: Any, features: torch.Tensor) -> torch.Tensor:
    """Return `sae.decode` of features. For sparse features, only the decoder's rows of active features are added.

    The full product would take as long as the encoding.
    """
    if not features.is_sparse or sae.cfg.architecture() not in LINEAR:
        found: torch.Tensor = sae.decode(features.to_dense() if features.is_sparse else features)
        return found
    (rows, ids), values = features.indices(), features.values()
    if getattr(sae.cfg, "rescale_acts_by_decoder_norm", False):
        values = values / sae.W_dec.norm(dim=-1)[ids]
    lengths = torch.bincount(rows, minlength=len(features))
    product = torch.nn.functional.embedding_bag(
        ids, sae.W_dec, torch.cumsum(lengths, 0) - lengths, mode="sum", per_sample_weights=values
    )
    scaled: torch.Tensor = sae.run_time_activation_norm_fn_out(product + sae.b_dec)
    return scaled


def _reads(name: str, facts: dict[str, Any]) -> HookPoint:
    said = facts.get("hook_name")
    match = re.fullmatch(r"blocks\.(\d+)\.(.+)", str(said))
    if match is None:
        if said:
            raise ModelError(f"{name} reads {said}, which is in no block", "actkit reads hook points of blocks")
        raise ModelError(f"{name} does not say which hook point it reads", "its cfg.json needs hook_name")
    if facts.get("hook_head_index") is not None:
        raise ModelError(f"{name} reads a single head ({facts['hook_head_index']})", "actkit reads whole hook points")
    own = str(facts.get("hf_hook_name", ""))
    meant = (meant for (named, end), meant in MEANT.items() if match[2] == named and own.endswith(end))
    return HookPoint(int(match[1]), next(meant, match[2]))


def _predicts(name: str, architecture: str, facts: dict[str, Any]) -> HookPoint | None:
    out = facts.get("hook_name_out")
    if "transcoder" not in architecture and out in (None, facts.get("hook_name")):
        return None
    match = re.fullmatch(r"blocks\.(\d+)\.(.+)", str(out or ""))
    if match is None:
        raise ModelError(f"{name} is a transcoder and does not say what it writes", "its cfg.json needs hook_name_out")
    return HookPoint(int(match[1]), match[2])


def _assumed(sae: Any, facts: dict[str, Any]) -> tuple[bool, tuple[str, ...]]:
    """Whether the SAE's input is centred, and the assumptions that its files leave open."""
    wants = dict(facts.get("model_from_pretrained_kwargs") or {})
    centred = bool(wants.pop("center_writing_weights", False))
    guesses = [f"option {key} of the model's loading has no effect here" for key in sorted(set(wants) - set(HARMLESS))]
    if "prepend_bos" not in facts:
        guesses.append("prepend_bos is not stated and assumed true")
    # SAELens folds a known factor or matrix into the weights; then the configuration says `none`.
    if sae.cfg.normalize_activations == "expected_average_only_in":
        guesses.append("it was trained on scaled activations, the factor is not stated, and they are read unscaled")
    if sae.cfg.normalize_activations == "covariance_whitening":
        guesses.append(
            "it was trained on whitened activations, the matrix is not stated, and they are read as they are"
        )
    return centred, tuple(guesses)
