"""`options_of` turns specs into options, as the command line names them.

The specs alone hold the options. `run.json`, `config.yaml` and the fingerprint hold the output of `options_of`, for
the command line and for Python alike. An option has the name of its field, unless the field's metadata say more:

* `option`: its name; None for a field that says how a run is computed, and not what it holds
* `none`: the text that is written for None, where the option's default is another value
* `none_is`: the option that means None
* `reads`: the field names the file of the records; `reads_too`: another file that is read
* `without`: fields of a nested spec that the command does not have
"""

from collections.abc import Collection, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from actkit.config import SaeSpec
from actkit.recipes.sae_choice import by_layer
from actkit.recipes.specs import OwnSpec
from actkit.remote.url import public

DIGEST = "sha256:"
"""Prefix of the revision of a loaded model that has none: its files identify it, not an option."""


def options_of(*specs: Any) -> dict[str, Any]:
    """Return every option of the specs, in their order. An option that was not given has its default, or None."""
    return {name: value for spec in specs for name, value in _options(spec).items()}


def source_of(own: OwnSpec) -> str | None:
    """Return the file, directory or name that the command reads; None for records from elsewhere."""
    return next(iter(files_of(own, ("reads",))), None)


def files_of(own: OwnSpec, kinds: Collection[str] = ("reads", "reads_too")) -> list[str]:
    """Return the files that the command reads, from fields of these kinds."""
    named = (getattr(own, field.name) for field in fields(own) if not field.metadata.keys().isdisjoint(kinds))
    return [str(value) for value in named if value is not None]


def _options(spec: Any, without: Sequence[str] = ()) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in fields(spec):
        name, value = field.metadata.get("option", field.name), getattr(spec, field.name)
        if field.name == "out":  # the place of the run in the end, not where it is made
            value = getattr(spec, "published", None) or value
        if name is None or field.name in without:
            continue
        if is_dataclass(value):
            found |= _options(value, field.metadata.get("without", ()))
        elif field.name == "saes":
            found |= _of_saes(value)
        elif field.name == "revision" and str(value).startswith(DIGEST):
            found[name] = None
        else:
            found[name] = field.metadata.get("none") if value is None else _plain(value)
            if {"reads", "reads_too"} & field.metadata.keys() and isinstance(value, str):
                found[name] = public(value)  # a signature or a password is in no file of a run
            if "none_is" in field.metadata:
                found[field.metadata["none_is"]] = value is None
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value] or None
    return value


def _of_saes(saes: Sequence[SaeSpec]) -> dict[str, Any]:
    """The options that name these SAEs.

    Options can name one release, layer and hook name; SAEs that differ in these are named whole, `RELEASE/ID` each.
    """
    paths = [each.path for each in saes if each.path is not None]
    named = [each for each in saes if each.path is None and each.loaded is None]
    meant = {(each.layer, each.hook_name) for each in saes}
    releases, ids = {each.release for each in named}, [each.sae_id for each in named]
    if len(meant) <= 1 and len(releases) <= 1 and (None not in ids or len(ids) == 1):
        layer, hook_name = next(iter(meant), (None, None))
        release, chosen = next(iter(releases), None), [each for each in ids if each is not None]
    else:
        layer, hook_name, release = None, None, None
        chosen = [f"{each.release}/{each.sae_id}" for each in map(by_layer, named)]
    return {
        "sae_release": release,
        "sae_id": chosen or None,
        "sae": paths or None,
        "target_layer": layer,
        "hook_name": hook_name,
    }
