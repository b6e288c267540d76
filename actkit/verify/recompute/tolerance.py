"""How far numbers that are computed again may be from the stored ones, by the dtype of the model."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Tolerance:
    """Largest differences, each as a share of the Euclidean norm of the vector that was computed again."""

    vectors: float
    """Of an activation, as the norm of the difference."""
    features: float
    """Of a token's features, likewise, over the features that both have."""

    def stored_as(self, store_dtype: str) -> "Tolerance":
        """With what storing adds: float16 rounds numbers to 11 bits, so a vector by at most 2**-11 of its norm."""
        return replace(self, vectors=self.vectors + 2.0**-11) if store_dtype == "float16" else self


TOLERANCES = {
    "float32": Tolerance(5e-5, 2.5e-4),
    "bfloat16": Tolerance(8e-2, 4e-1),
    "float16": Tolerance(1e-2, 5e-2),
}
"""Measured on a CPU: runs of `dpo` in trees and batches of 4,096 tokens, the hook points of `sites.NATIVE` at every
layer, against the plain model. The largest differences of `tiny` (4 layers, 40 pairs) and of random models with weights
twice as wide as at initialisation (Llama of 24 layers, Gemma 2 of 26, 12 pairs) were:

| dtype | vectors, tiny | vectors, 24 and 26 layers | features, tiny |
|---|---|---|---|
| float32 | 1.4e-6 | 6.3e-6 | 9e-7 |
| bfloat16 | 2.0e-2 | 4.1e-2 | 1.0e-2 |
| float16 | 3.8e-3 | 5.3e-3 | 2.0e-3 |

All of the largest of the deep models are of `hook_mlp_out`, whose vectors are short beside the residual stream. Twice
that is allowed of 16 bits; five times as much of features, since an SAE may stretch some directions. In float32 the
kernels may differ as well (`backends.kernels`): a random Gemma 2 of 26 layers is then 1.5e-5 apart, where
the plain model itself is 1.1e-5 from its numbers in float64. 5e-5 is allowed; a wrong position, mask or norm is off by
far more."""
OTHER_ATTENTION = Tolerance(1e-3, 5e-3)
"""What is allowed at least where the attention implementation is not the run's."""


def tolerance(dtype: str, store_dtype: str, same_attention: bool) -> Tolerance:
    """What a model in `dtype` is allowed; an unknown dtype is allowed what bfloat16 is."""
    found = TOLERANCES.get(dtype, TOLERANCES["bfloat16"])
    if not same_attention:
        vectors, features = (
            max(getattr(found, name), getattr(OTHER_ATTENTION, name)) for name in ("vectors", "features")
        )
        found = Tolerance(vectors, features)
    return found.stored_as(store_dtype)
