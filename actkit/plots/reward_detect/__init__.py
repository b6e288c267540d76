"""Pictures of features of feedback: which separate the labels, whether that replicates, and the baselines."""

from actkit.plots.picture import Picture
from actkit.plots.reward_detect.chosen_feature import feature
from actkit.plots.reward_detect.ranking import forest, probes, replication, volcano

PICTURES = (
    Picture("forest", "AUROC of the ranking's ends, discovery and held out", forest),
    Picture("volcano", "size and certainty of every feature", volcano),
    Picture("replication", "discovery against held-out AUROC", replication),
    Picture("probes", "probes, activations, length alone", probes),
    Picture("feature", "one feature for both labels", feature),
)
