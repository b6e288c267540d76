"""What the benchmarks share: the options that all of them have, and where their tables go."""

import argparse
from pathlib import Path


def parser(about: str | None, rounds: int = 3) -> argparse.ArgumentParser:
    """A parser of `--rounds` and `--out`; `about` is the benchmark's docstring."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--rounds", type=int, default=rounds)
    made.add_argument("--out", type=Path, help="also write the table here")
    return made


def show(text: str, out: Path | None) -> None:
    """Print a table, and write it to `out` where that is given."""
    print(text)
    if out:
        out.write_text(text, encoding="utf-8")
