"""Check the files of a model's or an SAE's directory before a library reads them: anybody may have made them.

Libraries wait for a pipe, read a device without end, and hold a document of hundreds of MB in memory several times. An
index of weights may name files in other directories.
"""

import json
import stat
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from actkit.errors import ModelError, first_line, in_short

WEIGHTS = (".safetensors", ".bin", ".pt", ".pth")
READ = (".json", ".jinja", ".model", ".py", ".txt", *WEIGHTS)
"""Suffixes of files with weights, and of all files that libraries read."""
MOST, MOST_VOCABULARY = 1 << 26, 1 << 28
"""Most bytes of a document, and of one with a vocabulary: Gemma's tokenizer.json has 33 MB."""
VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "spiece.model")
DOCUMENTS = (".json", ".jinja", ".txt", ".model", ".py")
INDEX = ".safetensors.index.json"
PARSED = ("config.json", "generation_config.json", "tokenizer_config.json", "special_tokens_map.json", "cfg.json")
"""Documents of settings, which must be JSON objects."""
AGAIN = "fetch its files again, and ask whoever made them"
TIMES, BESIDE = 16, 1 << 30
"""A model's weights in memory take at most TIMES the bytes of its files (4 bits become 32, twice over), plus BESIDE."""


def check_files(folder: Path, name: str) -> None:
    """Raise ModelError for a file that a library would read and no model or SAE has: a pipe, or a huge document."""
    for path in sorted(folder.iterdir()):
        if path.suffix in READ:
            _check_file(path, f"{in_short(name)}: {in_short(path.name)}")
    for path in sorted(folder.glob(f"*{INDEX}")):
        _check_index(path, in_short(name))
    for document in PARSED:
        if (folder / document).is_file():
            settings(folder / document, in_short(name))


def settings(path: Path, name: str) -> dict[str, Any]:
    """Read the settings in a document. Raises ModelError where it is no JSON object, or has a lone surrogate."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        json.dumps(found, ensure_ascii=False).encode()  # fails for a lone surrogate: no table could hold such a name
    except (ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else first_line(error, 200)
        raise ModelError(f"{name}: {path.name} is damaged ({why})", AGAIN) from error
    if not isinstance(found, dict):
        raise ModelError(f"{name}: {path.name} is damaged (it is no JSON object)", AGAIN)
    return found


def check_size(needed: int, folder: Path, name: str) -> None:
    """Raise ModelError where the directory's files are too small for `needed` bytes of weights."""
    there = sum(path.stat().st_size for path in folder.iterdir() if path.suffix in WEIGHTS and path.is_file())
    if needed > TIMES * there + BESIDE:
        raise ModelError(
            f"{in_short(name)}: its configuration asks for {needed / 1e9:,.1f} GB of weights, and its files have "
            f"{there / 1e9:,.1f}",
            "the weights do not belong to the configuration",
        )


def count_of(about: Mapping[str, Any], key: str, name: str, most: int) -> int:
    """A size that a configuration states. Raises ModelError unless it is a whole number from 1 to `most`."""
    found = about.get(key)
    if isinstance(found, bool) or not isinstance(found, int) or not 0 < found <= most:
        raise ModelError(
            f"{in_short(name)}: its configuration says {key} {in_short(repr(found))}",
            f"that is a whole number from 1 to {most:,}",
        )
    return found


def _check_file(path: Path, place: str) -> None:
    try:
        about = path.stat()
    except OSError as error:
        raise ModelError(f"{place} is a link that leads nowhere", AGAIN) from error
    if not stat.S_ISREG(about.st_mode):
        what = "a directory" if stat.S_ISDIR(about.st_mode) else "a pipe or a device"
        raise ModelError(f"{place} is {what}, not a file", AGAIN)
    most = MOST_VOCABULARY if path.name in VOCABULARIES else MOST
    if path.suffix in DOCUMENTS and about.st_size > most:
        raise ModelError(f"{place} has {about.st_size / 1e6:,.0f} MB, more than {most / 1e6:,.0f}", AGAIN)


def _check_index(path: Path, name: str) -> None:
    """Raise ModelError for an index that names a file outside its own directory."""
    parts = settings(path, name).get("weight_map")
    if not isinstance(parts, dict) or not all(isinstance(part, str) for part in parts.values()):
        raise ModelError(f"{name}: {path.name} is damaged (its weight_map does not name files)", AGAIN)
    for part in sorted(set(parts.values())):
        if not part.isprintable() or len(part) > 255 or part != PurePosixPath(part).name or "\\" in part:
            raise ModelError(f"{name}: {path.name} names {in_short(part)!r}, which is no file of its directory", AGAIN)
