"""SAE features merged back into the JSON document of results that they were computed from.

Each variation gets `sae_activations.layer_N`: the features by token, where the answer starts, how many tokens there
are, and a status. One document can hold runs for several layers and for several SAEs of one layer, also if they are
merged into it at the same moment.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from actkit.errors import InputError
from actkit.export.merged_records import entries
from actkit.remote.url import FEATURE_PAGES
from actkit.runs.atomic_files import write_whole
from actkit.runs.lock import holding
from actkit.runs.part import read_part
from actkit.runs.reader import parts

METADATA = "sae_extraction_metadata"
"""The field of a document that says which SAE has which key."""


def is_document(value: Any) -> bool:
    """Whether a JSON value is a document of results."""
    return isinstance(value, Mapping) and isinstance(value.get("results"), list)


def document_of(value: Any) -> Mapping[str, Any] | None:
    """Return a document of results; a single result, such as a line of JSONL, as a document of one; else None."""
    if is_document(value):
        return dict(value)
    alone = isinstance(value, Mapping) and isinstance(value.get("variations"), list)
    return {"results": [value]} if alone else None


def variations(document: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], Any]]:
    """Yield every variation of a document of results, in order, after the result that it belongs to.

    A result without `variations`, or with an empty list of them, counts as its own only variation.
    """
    for result in document["results"]:
        for variation in own_variations(result) or [result]:
            yield result if isinstance(result, Mapping) else {}, variation


def own_variations(result: Any) -> list[Any]:
    """Return the variations of a result; an empty list where it counts as its own only variation."""
    inner = result.get("variations") if isinstance(result, Mapping) else None
    return inner if isinstance(inner, list) else []


def read_document(path: Path) -> dict[str, Any]:
    """Read a document of results. Raises InputError for a file that is none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: not a JSON document ({error})", "merging needs the document that was read"
        ) from error
    if not is_document(document):
        raise InputError(f"{path}: not a document of results", 'merging needs {"results": [{"variations": […]}]}')
    return dict(document)


def merge(run: Path, document: dict[str, Any], facts: Mapping[str, Any]) -> None:
    """Put the features of `run` into `document`, whose variations are the run's records in order.

    Features of an older run of the same SAEs are removed, those of other layers and SAEs stay. Raises InputError, and
    leaves the document as it is, where the run's texts are not those of its variations.
    """
    other = other_texts(run, document, facts["options"])
    if other is not None:
        raise InputError(
            f"the document's record {other} has other texts than were run",
            f"the features are in {run}; merge into the document that was read",
        )
    layers = keys_of(facts["saes"], document)
    places = [variation if isinstance(variation, dict) else {} for _, variation in variations(document)]
    for place in (place for place in places if "sae_activations" in place):
        place["sae_activations"] = of_others(place["sae_activations"], layers)
    for entry in entries(run, facts, layers):
        places[entry.record_id].setdefault("sae_activations", {}).update(entry.slots)
    describe(document, facts, layers)


def describe(document: dict[str, Any], facts: Mapping[str, Any], layers: Mapping[str, str]) -> None:
    """Write into the document which SAE has which key, and which run used it."""
    earlier = document.get(METADATA)
    about = document[METADATA] = dict(earlier) if isinstance(earlier, Mapping) else {}
    about |= {layers[sae["name"]]: _about(sae, facts) for sae in facts["saes"]}


def _about(sae: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document's entry for one SAE and the run that used it."""
    return {
        "model": facts["model"]["name"],
        "revision": facts["model"]["revision"],
        "sae": sae["name"],
        "sae_release": sae.get("metadata", {}).get("sae_release"),
        "sae_id": sae.get("metadata", {}).get("sae_id", sae["name"]),
        "hook_name": sae["hook_point"],
        "hook_point": sae["hook_point"],
        "d_sae": sae["d_sae"],
        # A feature's id appended to this gives the address of the feature's page.
        "neuronpedia": f"{FEATURE_PAGES}/{sae['neuronpedia_id']}" if sae["neuronpedia_id"] else None,
        "top_k_features": facts["rules"]["top_k"],
        "top_k": facts["rules"]["top_k"],
        "save_all_tokens": facts["positions"] == "all",
        "samples": facts["counts"]["read"],
        "errors": facts["counts"]["rejected"],
    }


def keys_of(saes: Sequence[Mapping[str, Any]], document: Mapping[str, Any]) -> dict[str, str]:
    """SAE → its key in the document: its layer, and its name too where another SAE has that layer's key.

    An SAE that already has a key there keeps it.
    """
    found = document.get(METADATA)
    about = found if isinstance(found, Mapping) else {}
    owners = {str(key): value.get("sae") for key, value in about.items() if isinstance(value, Mapping)}
    layers = {sae["name"]: f"layer_{sae['hook_point'].split('.')[1]}" for sae in saes}
    keys = {}
    for name, layer in layers.items():
        named = f"{layer} {name}"
        own = next((key for key in (layer, named) if owners.get(key) == name), None)
        alone = list(layers.values()).count(layer) == 1 and owners.get(layer) is None
        keys[name] = own or (layer if alone else named)
    return keys


def of_others(slots: Any, keys: Mapping[str, str]) -> dict[str, Any]:
    """Return the entries of a variation's `sae_activations` that are not under `keys`."""
    own = set(keys.values())
    return {key: value for key, value in slots.items() if key not in own} if isinstance(slots, Mapping) else {}


def other_texts(run: Path, document: Mapping[str, Any], options: Mapping[str, Any]) -> int | None:
    """Return the first record of `run` whose text lacks its variation's prompt or response in `document`, or None."""
    places = [variation for _, variation in variations(document)]
    fields = [options.get(f"{name}_field") or name for name in ("prompt", "response")]
    rows = (row for part in parts(run, "sequences") for row in read_part(part, ["record_id", "text"]).to_pylist())
    for row in rows:
        number = int(row["record_id"])
        place = places[number] if number < len(places) else None
        if not isinstance(place, Mapping):
            return number
        texts = [place.get(name) for name in fields]
        if any(isinstance(text, str) and text.strip() not in row["text"] for text in texts):
            return number
    return None


PATIENCE = 600.0
"""Seconds that another run may take to join the same document."""


def merge_into(target: Path, run: Path, facts: Mapping[str, Any], read: Callable[[], dict[str, Any]]) -> None:
    """Put the features of a finished run into the document at `target`; `read` returns the document to put them into.

    A link is followed. Raises InputError where the run's texts are not the document's, RunError where another process
    holds it for PATIENCE seconds, and WriteError; the document then stays as it is.
    """
    target = target.resolve()
    name = hashlib.sha256(target.name.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    with holding(target.with_name(f".actkit-{name}.lock"), target, PATIENCE):
        document = read()
        merge(run, document, facts)
        write_whole(target, lambda file: file.write(spelled(document)))


def spelled(document: Mapping[str, Any]) -> bytes:
    """Return a document's bytes. Raises TypeError and ValueError for values that JSON cannot hold."""
    try:
        return (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode()
    except UnicodeEncodeError:  # half a character (a lone surrogate), which JSON can spell and UTF-8 cannot hold
        return (json.dumps(document, indent=2) + "\n").encode()
