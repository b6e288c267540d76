"""What a person sees on standard error: progress, tables, summaries, errors."""
