"""One script a peer, each run by that peer's own interpreter; `served.py` is what they share."""

from pathlib import Path

SCRIPTS = Path(__file__).parent
