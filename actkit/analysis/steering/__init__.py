"""What interventions do: effects with intervals, what chance does, the choice on validation texts, the verdict."""
