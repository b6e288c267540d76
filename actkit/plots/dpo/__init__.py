"""Pictures of preference pairs: how far the sides are apart, where they diverge, and along which directions."""

from actkit.plots.dpo.projections import divergence, drift, layers, pair, pca
from actkit.plots.picture import Picture

PICTURES = (
    Picture("layers", "difference of the sides by layer, with a null band", layers),
    Picture("pair", "one pair, token by token", pair),
    Picture("pca", "pair differences in two dimensions, and length", pca),
    Picture("drift", "projection by tokens after the divergence", drift),
    Picture("divergence", "where pairs part, and statuses", divergence),
)
