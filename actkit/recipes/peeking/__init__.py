"""`peek`: describe a file, and find the commands that can read it."""
