"""`steer`: the texts it scores, the interventions it makes, and the run that holds what they did."""
