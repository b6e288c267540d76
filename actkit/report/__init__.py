"""The page of a finished run, the viewer that serves it, and HTML for notebooks."""
