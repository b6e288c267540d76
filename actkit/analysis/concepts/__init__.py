"""A concept's directions from contrast pairs, and the evidence for them."""
