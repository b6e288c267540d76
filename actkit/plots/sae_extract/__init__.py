"""Pictures of SAE features of prompts and responses."""

from actkit.plots.picture import Picture
from actkit.plots.sae_extract.all_records import l0, matrix, sides
from actkit.plots.sae_extract.record import last, record

PICTURES = (
    Picture("record", "one record, token by token", record),
    Picture("last", "features of the last prompt token", last),
    Picture("matrix", "records × features", matrix),
    Picture("sides", "features of prompts against features of responses", sides),
    Picture("l0", "active features by position and role", l0),
)
