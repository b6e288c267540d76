"""Files that are not of this machine: object stores, the Hugging Face hub and the web."""
