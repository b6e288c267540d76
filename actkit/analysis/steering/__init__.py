"""Effects of interventions: estimates with intervals, what chance does, the choice on validation texts, the verdict."""
