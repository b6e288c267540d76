"""Records from files, standard input and the hub: one file a format."""
