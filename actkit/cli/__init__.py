"""The command line: flags in, progress and errors out. The console script `actkit` calls `main`.

Standard output carries data only (the path of the finished run, or one JSON object); everything else is standard
error. Nothing here imports torch before a command really runs, so that `--help` is instant.
"""

from actkit.cli.app import main

__all__ = ["main"]
