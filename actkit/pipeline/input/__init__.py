"""Read records from files, standard input, stores and the hub."""
