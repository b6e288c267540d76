"""`peek`: what a file is, and which commands can read it."""
