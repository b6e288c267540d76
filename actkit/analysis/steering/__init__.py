"""Effects of interventions: estimates with intervals, controls, the choice on validation texts, the verdict."""
