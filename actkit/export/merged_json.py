"""SAE features merged back into the JSON document of results that they were computed from.

Each variation gets `sae_activations.layer_N`: the features by token, where the answer starts, how many tokens there
are, and a status. Runs for several layers stand beside each other in one document.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from actkit.backends.sae import FEATURE_PAGES
from actkit.errors import InputError


def is_document(value: Any) -> bool:
    """Whether a JSON value is a document of results."""
    return isinstance(value, Mapping) and isinstance(value.get("results"), list)


def variations(document: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], Any]]:
    """Every variation of a document of results, in order, with the result that it belongs to.

    A result without `variations` counts as its own only one.
    """
    for result in document["results"]:
        inner = result.get("variations") if isinstance(result, Mapping) else None
        for variation in inner if isinstance(inner, list) else [result]:
            yield result if isinstance(result, Mapping) else {}, variation


def read_document(path: Path) -> dict[str, Any]:
    """A document of results. Raises InputError when the file is none."""
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
    """Put the features of `run` into `document`, whose variations are the run's records in order."""
    places = [one if isinstance(one, dict) else {} for _, one in variations(document)]
    layers = _slots(facts["saes"])
    whole = facts["positions"] == "all"
    record_of: dict[int, int] = {}
    for row in _rows(run, "sequences", ["sequence_id", "record_id", "response_start", "n_tokens"]):
        record_of[row["sequence_id"]] = row["record_id"]
        slot = places[row["record_id"]].setdefault("sae_activations", {})
        for layer in layers.values():
            slot[layer] = {
                "activations": {},
                "answer_start_position": row["response_start"],
                "total_tokens": row["n_tokens"],
                "status": "success",
            }
    for row in _rows(run, "features", None):
        slot = places[record_of[row["sequence_id"]]]["sae_activations"][layers[row["sae"]]]
        pairs = zip(row["feature_ids"], row["feature_activations"], strict=True)
        slot["activations"][f"token_{row['position']}" if whole else "last_token"] = {
            "top_k_features": [{"id": number, "activation": value} for number, value in pairs],
            "num_active_features": row["n_active"],
        }
    for row in _rows(run, "rejected", None):
        slot = places[row["record_id"]].setdefault("sae_activations", {})
        for layer in layers.values():
            slot[layer] = {"activations": {}, "status": f"error: {row['reason']}"}
    about = document.setdefault("sae_extraction_metadata", {})
    for sae in facts["saes"]:
        about[layers[sae["name"]]] = {
            "model": facts["model"]["name"],
            "revision": facts["model"]["revision"],
            "sae": sae["name"],
            "hook_point": sae["hook_point"],
            "d_sae": sae["d_sae"],
            # With a feature's id behind it, the feature's page.
            "neuronpedia": f"{FEATURE_PAGES}/{sae['neuronpedia_id']}" if sae["neuronpedia_id"] else None,
            "top_k": facts["options"].get("top_k"),
            "save_all_tokens": whole,
            "samples": facts["counts"]["read"],
            "errors": facts["counts"]["rejected"],
        }


def _slots(saes: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """SAE → its key in the document: its layer, and its name too where several read one layer."""
    layers = {sae["name"]: f"layer_{sae['hook_point'].split('.')[1]}" for sae in saes}
    return {
        name: layer if list(layers.values()).count(layer) == 1 else f"{layer} {name}" for name, layer in layers.items()
    }


def _rows(run: Path, table: str, columns: list[str] | None) -> Iterator[dict[str, Any]]:
    for part in sorted((run / table).glob("part-*.parquet")):
        with pq.ParquetFile(part) as file:
            for batch in file.iter_batches(batch_size=1024, columns=columns):
                yield from batch.to_pylist()
