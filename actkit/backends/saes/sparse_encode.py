"""Find the active features of tokens in the SAE's pre-activations, without computing its encoding as a matrix.

In most architectures a feature's activation depends on its own pre-activation alone, and is zero up to a floor: minus
its bias, or its threshold less the bias. So

1. rows are multiplied with the encoder, as in the SAE's own `encode`;
2. one comparison with slightly lowered floors finds the candidates, a few in a thousand features;
3. bias, threshold and activation function are applied to the candidates alone, in float32, as in the SAE.

The result is that of `encode`. The matrix of all features is read once, where `encode` reads it about six times.

In bfloat16 the product only finds candidates: a column added to both factors raises each number by the most that
rounding can have lowered it, so none is missed. Their pre-activations are computed again in float32, one by one, so
features and activations are those of float32. In TopK features depend on each other: there `extreme_products` finds the
largest; in float32 TopK's own `encode` takes little longer, and is used.
"""

from collections.abc import Callable
from typing import Any

import torch

from actkit.backends.saes.extreme_products import Others, extremes, products_at
from actkit.backends.saes.sae import Active, nonzeros

BY_THEMSELVES = {
    "standard": "b_enc",
    "transcoder": "b_enc",
    "skip_transcoder": "b_enc",
    "jumprelu": "b_enc",
    "jumprelu_transcoder": "b_enc",
    "jumprelu_skip_transcoder": "b_enc",
    "gated": "b_gate",
}
"""Architectures in which a feature's activation depends on its own pre-activation alone → the bias in its floor.
SAELens loads BatchTopK and Matryoshka SAEs as jumprelu."""
LOWERED = 1e-5
"""Share of a bias and a threshold by which a floor is lowered: far more than the rounding of their sum in float32."""
ROUNDED = 2.0**-8 * 1.1
"""Largest change of a product when both vectors are rounded to bfloat16, as a share of their norms' product (Cauchy and
Schwarz), and a tenth more for the sum in float32."""
STEP = 2.0**-7
"""Four times the largest rounding error of a number in bfloat16, as a share of it."""
MOST_FOUND = 1 / 32
"""Largest share of candidates: above it, the product in float32 takes less time than computing them one by one."""
LARGEST = 1e30
"""Bound of products below which no partial sum can become infinite or NaN."""
Found = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor, torch.Tensor]]
"""Rows [n, d_in] → row, id and activation, [m] each, by row and then id; zero or less is not active."""
Product = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor, torch.Tensor]]
"""Rows [n, d_in] → row, id and pre-activation without bias of each candidate, [m] each, by row."""


def sparse_encoder(
    sae: Any, taken: Callable[[torch.Tensor], torch.Tensor], in_bfloat16: bool
) -> Callable[[torch.Tensor], Active | None] | None:
    """Make the function that finds the active features of rows [n, d_in], which `taken` moves to the SAE's device.

    The function returns None for rows that only `encode` can handle, such as those with a NaN. For an SAE of another
    kind, and a TopK for which `encode` is faster, None is returned in place of the function.
    """
    if not _is_known(sae):
        return None
    made = (_largest_alone if sae.cfg.architecture() == "topk" else _by_themselves)(sae, in_bfloat16)
    if made is None:
        return None
    found_in, largest = made

    @torch.no_grad()
    def active(x: torch.Tensor) -> Active | None:
        if sae.hook_sae_acts_pre._forward_hooks or sae.hook_sae_acts_post._forward_hooks:
            return None  # a caller's hooks on an SAE in memory may change its encoding
        rows = sae.process_sae_in(taken(x))
        if not float(rows.norm(dim=1).max()) * largest < LARGEST:
            return None
        at, ids, values = found_in(rows)
        on = values > 0
        return Active(at[on].to(x.device), ids[on].to(x.device), values[on].to(x.device))

    return active


def _is_known(sae: Any) -> bool:
    """Whether `encode` is SAELens's own for an architecture that this module handles, and not overridden."""
    kind = type(sae)
    own = kind.__module__.startswith("sae_lens.") and "Training" not in kind.__name__ and "encode" not in vars(sae)
    if sae.cfg.architecture() == "topk":
        return own and type(sae.activation_fn).__name__ == "TopK"
    return own and sae.cfg.architecture() in BY_THEMSELVES and isinstance(sae.activation_fn, torch.nn.ReLU)


def _by_themselves(sae: Any, in_bfloat16: bool) -> tuple[Found, float]:
    """Make `Found` for features that depend on their own pre-activation alone; also return the largest weight norm."""
    weight: torch.Tensor = sae.W_enc.detach()
    bias: torch.Tensor = getattr(sae, BY_THEMSELVES[sae.cfg.architecture()]).detach()
    threshold: torch.Tensor = sae.threshold.detach() if hasattr(sae, "threshold") else torch.zeros_like(bias)
    lowered = LOWERED * (bias.abs() + threshold.abs()).nan_to_num(posinf=0.0)  # an infinite threshold is a dead feature
    product = (_in_bfloat16 if in_bfloat16 else _in_float32)(weight, threshold.clamp_min(0.0) - bias - lowered)
    is_gated = sae.cfg.architecture() == "gated"

    def found(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        at, ids, pre = product(rows)
        gate = pre + bias[ids]
        if is_gated:
            magnitude = torch.relu(pre * sae.r_mag.detach()[ids].exp() + sae.b_mag.detach()[ids])
            return at, ids, magnitude * (gate > 0)
        return at, ids, torch.relu(gate) * (gate > threshold[ids])

    return found, float(weight.norm(dim=0).max())


def _largest_alone(sae: Any, in_bfloat16: bool) -> tuple[Found, float] | None:
    """As `_by_themselves`, for TopK, whose k largest pre-activations are active; None where `encode` takes less time.

    A further copy of the weights includes bias and scale, so that nothing is added to a product.
    """
    k, d_sae = int(sae.cfg.k), sae.W_enc.shape[1]
    if not in_bfloat16 or k > MOST_FOUND * d_sae:
        return None
    columns = torch.cat([sae.W_enc.detach().T, sae.b_enc.detach()[:, None]], 1)
    if sae.cfg.rescale_acts_by_decoder_norm:
        columns = columns * sae.W_dec.detach().norm(dim=-1)[:, None]
    others = Others.of(columns, in_bfloat16=True)

    def found(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        rows = torch.cat([rows, rows.new_ones(len(rows), 1)], 1)
        norms = rows.norm(dim=1, keepdim=True)
        values, ids = extremes(rows / norms, others, k, ("top",))["top"]
        ids, order = ids.to(rows.device).sort(dim=1)
        values = (values.to(rows.device) * norms).gather(1, order)
        return torch.arange(len(rows), device=rows.device).repeat_interleave(k), ids.flatten(), values.flatten()

    return found, float(columns.norm(dim=1).max())


def _in_float32(weight: torch.Tensor, floor: torch.Tensor) -> Product:
    """Make the product with `weight` [d_in, d_sae]; candidates are above their feature's `floor` [d_sae]."""

    def product(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        pre = rows @ weight
        at, ids = nonzeros(pre > floor)
        return at, ids, pre[at, ids]

    return product


def _in_bfloat16(weight: torch.Tensor, floor: torch.Tensor) -> Product:
    """As `_in_float32`, with candidates found in bfloat16; holds two more copies of the weights, one in bfloat16."""
    columns = weight.T.contiguous()  # [d_sae, d_in]
    norms = columns.norm(dim=1, keepdim=True)
    low = torch.cat([columns, norms * (1 + STEP)], 1).bfloat16()
    low_floor = (floor - STEP * floor.abs().nan_to_num(posinf=0.0)).bfloat16()
    in_float32 = _in_float32(weight, floor)

    def product(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        raised = rows.norm(dim=1, keepdim=True) * (ROUNDED * (1 + STEP))
        pre = torch.nn.functional.linear(torch.cat([rows, raised], 1).bfloat16(), low)
        at, ids = nonzeros(pre > low_floor)
        if len(ids) > MOST_FOUND * pre.numel():
            return in_float32(rows)
        return at, ids, products_at(rows, columns, at, ids)

    return product
