"""A run begun, continued, and reconciled at its end."""
