"""Records of a run computed again on the plain model, and compared with what is stored."""
