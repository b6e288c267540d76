"""`steer`: choose texts and interventions, and score the texts under the interventions in a run."""
