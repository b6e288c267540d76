"""Progress, tables, summaries and errors, drawn for a person on standard error."""
