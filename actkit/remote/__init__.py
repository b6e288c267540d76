"""Files elsewhere: in object stores, on the Hugging Face hub and on the web."""
