"""Records of a run computed again on the plain model, and held against what is stored."""
