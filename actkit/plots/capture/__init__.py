"""Pictures of captured activations: how large, how alike from layer to layer and from token to token, and where outliers are."""

from actkit.plots.capture.cosines import neighbours, similarity
from actkit.plots.capture.sizes import coordinates, layers, norms
from actkit.plots.picture import Picture

PICTURES = (
    Picture("norms", "norm by layer and position", norms),
    Picture("layers", "norm by layer, with and without special tokens", layers),
    Picture("neighbours", "cosine of neighbouring layers", neighbours),
    Picture("similarity", "token × token cosine at a layer", similarity),
    Picture("coordinates", "the largest coordinates", coordinates),
)
