"""`actkit verify`: read every shard of a finished run again, and find everything that is wrong with it."""
