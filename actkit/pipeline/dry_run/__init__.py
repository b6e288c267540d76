"""`--plan`: reads and tokenizes, estimates what the run would be, writes nothing."""
