"""Begin a run or continue it, and check at its end that its counts agree."""
