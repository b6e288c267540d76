"""Pictures of a concept's directions: how well they separate the sides, which baselines do, and where they agree."""

from actkit.plots.concept.directions import directions, layers
from actkit.plots.concept.sides import length, pairs, projections
from actkit.plots.picture import Picture

PICTURES = (
    Picture("layers", "held-out AUROC by layer and method, with the bands of chance", layers),
    Picture("projections", "both sides along the direction", projections),
    Picture("length", "projection against length", length),
    Picture("pairs", "each pair as a point", pairs),
    Picture("directions", "cosines between methods and layers, nearest features", directions),
)
