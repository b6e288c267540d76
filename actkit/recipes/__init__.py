"""What is particular to one subcommand, one file each; `extract` in the pipeline does the work for all of them."""
