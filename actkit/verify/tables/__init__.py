"""`actkit verify`: every shard of a finished run read again, and everything that is wrong with it."""
