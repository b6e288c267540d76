"""`actkit saes`: SAELens's registry, read from its installed file, since importing the package takes seconds."""

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Annotated, Any

import typer

from actkit.bundled import NAME, SAES
from actkit.cli.screen.console import OutputConsole, draw_table, headed, write_json
from actkit.errors import InputError, ModelError, pip_install
from actkit.remote.hub_reach import Release, registry_file

MOST_NEAR = 5
"""Most names that a hint lists."""


def saes(
    query: Annotated[
        list[str] | None, typer.Argument(metavar="QUERY", help="Words that release, model or id contain.")
    ] = None,
    ids: Annotated[bool, typer.Option("--ids", help="One line an SAE instead of one a release.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """The SAEs that SAELens's registry knows, and the bundled ones.

    Example: [b]actkit saes "gemma-2-2b 16k" --ids[/]
    """
    words = " ".join(query or ()).lower().split()
    found = []
    for release in listed():
        names = {sae_id: f"{release.name} {release.model} {sae_id}".lower() for sae_id in release.sae_ids}
        matching = [sae_id for sae_id, name in names.items() if all(word in name for word in words)]
        if matching:
            found.append((release, matching))
    if not found:
        raise InputError(f"no SAE has {' and '.join(words)} in its release, model or id", _near(words, listed()))
    if json:
        for release, matching in found:
            for row in matching if ids else [matching]:
                about = {"release": release.name, "model": release.model, "repository": release.repository}
                write_json({**about, "sae_id" if ids else "sae_ids": row})
        return
    columns = ("release", "model", "sae_id" if ids else "SAEs")
    shown = headed(*columns, left=columns)
    for release, matching in found:
        for cell in matching if ids else [f"{len(matching)}, such as {matching[0]}"]:
            shown.add_row(release.name, release.model, cell)
    draw_table(shown, OutputConsole(highlight=False))


def _near(words: list[str], every: Iterable[Release]) -> str:
    """Make a hint with names of models and releases that are spelled like one of the words."""
    names = list(dict.fromkeys(name.lower() for release in every for name in (release.model, release.name)))
    pieces: dict[str, list[str]] = {}
    for name in names:
        for piece in {name, *re.split(r"[-_/ ]", name)}:
            pieces.setdefault(piece, []).append(name)
    near = [piece for word in words for piece in get_close_matches(word, pieces, n=2, cutoff=0.7)]
    found = list(dict.fromkeys(name for piece in near for name in pieces[piece]))[:MOST_NEAR]
    return f"did you mean {', '.join(found)}? actkit saes lists all" if found else "actkit saes lists all"


def listed() -> Iterator[Release]:
    """Yield the bundled release, then every release of the registry, in its order.

    Raises ModelError where SAELens is not installed, or its registry has another layout.
    """
    yield Release(NAME, NAME, tuple(sorted(path.name for path in SAES.glob("blocks.*"))), "bundled")
    for name, entry in _registry().items():
        try:
            ids = tuple(sae["id"] for sae in entry["saes"])
            yield Release(name, entry["model"], tuple(dict.fromkeys(ids)), entry["repo_id"])
        except (KeyError, TypeError) as error:
            raise ModelError(
                f"SAELens's registry: {name} lacks {error}", "install the version in configs/constraints.txt"
            ) from error


def _registry() -> dict[str, Any]:
    import yaml

    path = registry_file()
    if path is None:
        raise ModelError("SAELens is not installed, so its registry cannot be listed", pip_install("sae-lens"))
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C loader is ten times as fast, but not always built
    try:
        return dict(yaml.load(path.read_text(encoding="utf-8"), Loader=loader))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ModelError(f"SAELens's registry cannot be read: {error}", "install sae-lens again") from error
