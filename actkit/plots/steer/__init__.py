"""Pictures of interventions: effects by strength, by layer and one by one, costs, and generated texts."""

from actkit.plots.picture import Picture
from actkit.plots.steer.effects import cost, dose, layers
from actkit.plots.steer.interventions import forest, samples

PICTURES = (
    Picture("dose", "effect by strength, with the band of controls", dose),
    Picture("layers", "effect by layer, beside the AUROC there", layers),
    Picture("cost", "effect against what neutral text loses", cost),
    Picture("forest", "every intervention, with its interval and controls", forest),
    Picture("samples", "the effect on each text", samples),
)
