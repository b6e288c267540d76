"""Statistics over the tables of a finished run: numpy on one row group at a time, never a whole run in memory."""
