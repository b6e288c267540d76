"""Models: `describe` resolves a model's name, `load` loads its weights.

The rest of actkit uses the protocol `Model`: it runs token ids and passes the tensor at each hook point to a tap.
"""

from actkit.backends.footprint import weight_bytes
from actkit.backends.loading import describe, load
from actkit.backends.model import Description, Model

__all__ = ["Description", "Model", "describe", "load", "weight_bytes"]
