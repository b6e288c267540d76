"""One recipe for each subcommand; `extract` in the pipeline calls its parts, and does the work for all of them."""
