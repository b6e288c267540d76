"""Models from the outside world: `describe` what a name stands for, then `load` it.

The rest of actkit sees `Model`: something that runs token ids and hands the tensor at each hook point to a tap.
"""

from actkit.backends.footprint import weight_bytes
from actkit.backends.loading import describe, load
from actkit.backends.model import Description, Model

__all__ = ["Description", "Model", "describe", "load", "weight_bytes"]
