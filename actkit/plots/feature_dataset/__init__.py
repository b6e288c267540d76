"""Pictures of a corpus through an SAE: all features, one feature, a token's features, whole documents."""

from actkit.plots.feature_dataset.all_features import l0, map_, search
from actkit.plots.feature_dataset.chosen_feature import document, feature
from actkit.plots.picture import Picture

PICTURES = (
    Picture("map", "every feature: density and largest activation", map_),
    Picture("feature", "one feature's activations", feature),
    Picture("search", "features of one token's text: recall and precision", search),
    Picture("document", "a whole sequence with one feature's heat", document),
    Picture("l0", "active features by position; densities", l0),
)
