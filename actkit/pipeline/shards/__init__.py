"""Records become shards: gathered one after another, and on devices that compute beside the host, one ahead."""
