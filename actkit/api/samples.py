"""Documents of results, read for `SAEActivationExtractor` and written."""

import copy
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from actkit.errors import InputError, UsageError, writing
from actkit.export.merged_json import METADATA, is_document, read_document, spelled, variations
from actkit.pipeline.data import Rejected
from actkit.pipeline.input.reader import read_records
from actkit.remote.path import local_path
from actkit.runs.atomic_files import write_whole


class Result(dict[str, Any]):
    """The features of one sample: {"activations", "answer_start_position", "total_tokens", "status"}.

    With several SAEs, the features of the first.
    """

    def __init__(self, layers: Mapping[str, Any], about: Mapping[str, Any]) -> None:
        self.layers = dict(layers)
        """`layer_N` → the same of every SAE."""
        self.about = dict(about)
        """`layer_N` → its SAE and model."""
        super().__init__(next(iter(self.layers.values()), {}))


class Samples(list[dict[str, Any]]):
    """Samples, one a prompt and response; `samples["results"]` holds the results of their document."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = dict(document)
        """The whole document, {"results": […]}."""
        super().__init__(
            {**_of_result(result), **variation} if isinstance(variation, Mapping) else {"variation": variation}
            for result, variation in variations(self.document)
        )

    def __getitem__(self, key: Any) -> Any:
        return self.document[key] if isinstance(key, str) else super().__getitem__(key)

    def __eq__(self, other: object) -> bool:
        return self.document == other if isinstance(other, Mapping) else super().__eq__(other)

    __hash__ = None

    def __repr__(self) -> str:
        """The number of samples, and their source."""
        return f"{type(self).__name__}({len(self)} samples of {len(self.document['results'])} results)"


def load_samples_from_json(path: Path | str) -> Samples:
    """Read the samples in a file: a list of {"question_id", "template_type", "prompt", "response"} with their document.

    The file is a document of results, or a JSON array or JSONL of samples. Raises InputError for a file that is not
    there, or holds anything else.

        samples = actkit.load_samples_from_json("answers.json")
        samples[0]["prompt"], len(samples["results"])
    """
    found = []
    for record in read_records(str(path), default_format="json"):
        if isinstance(record, Rejected) or not isinstance(record.value, Mapping):
            why = record.reason if isinstance(record, Rejected) else "not an object with fields"
            raise InputError(f"{record.place}: {why}", "a sample has prompt and response")
        found.append(record.value)
    if len(found) == 1 and is_document(found[0]):
        return Samples(found[0])
    if any(is_document(value) for value in found):
        raise InputError(f"{path} holds several documents of results", "load them one by one")
    with suppress(InputError):  # its results were read as records, without the document's other fields
        return Samples(read_document(Path(path)))
    return Samples({"results": found})


def _of_result(result: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that a result has for all of its variations."""
    own = {"variations", "sae_activations"}
    return {key: value for key, value in result.items() if key not in own}


def save_results_to_json(
    results: Mapping[str, Any] | None = None,
    path: Path | str | None = None,
    *,
    original_json_path: Path | str | None = None,
    extraction_results: Any = None,
    output_json_path: Path | str | None = None,
    config: Any = None,
) -> Path:
    """Write the features of samples as JSON, UTF-8; a file that is there is replaced when the new one is whole.

    `results` is the result of `extract`. Or `extraction_results` are the results of `extract_batch` for the samples of
    `original_json_path`: they are put into that document. `config` is only compared with them. Returns
    the path.

    Raises UsageError for values that JSON cannot hold, or results that do not belong to the document, RunError when the
    file cannot be written.

        results = extractor.extract(samples)
        actkit.save_results_to_json(results, "answers_with_features.json")
    """
    target = output_json_path if output_json_path is not None else path
    if target is None:
        raise UsageError("where to?", "give a path")
    if extraction_results is not None or original_json_path is not None:
        results = _merged(original_json_path, extraction_results if extraction_results is not None else results, config)
    if not isinstance(results, Mapping):
        raise UsageError("these are no results of extract", "with those of extract_batch, give original_json_path too")
    path, data = local_path(target), as_json(results)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda file: file.write(data))
    return path


def _merged(original: Path | str | None, found: Any, config: Any) -> dict[str, Any]:
    """Put the results of samples into the document of `original`, in order."""
    if original is None or found is None:
        raise UsageError("results of which document?", "give original_json_path and extraction_results")
    if isinstance(found, Mapping) and is_document(found):
        return dict(found)
    document = copy.deepcopy(load_samples_from_json(original).document)
    places = [place for _, place in variations(document)]
    results = list(found)
    if len(results) > len(places):
        what = f"{len(results)} results for the {len(places)} samples of {original}"
        raise UsageError(what, "give what belongs to it")
    wanted = getattr(config, "target_layer", None)
    for place, result in zip(places, results, strict=False):
        if not isinstance(result, Result) or not isinstance(place, dict):
            raise UsageError(f"{type(result).__name__} is no result of extract_batch", "give what it returned")
        if wanted is not None and f"layer_{wanted}" not in result.layers:
            what = f"the results are of {', '.join(result.layers)}, not of layer {wanted}"
            raise UsageError(what, "give their config")
        slots = place.get("sae_activations")
        place["sae_activations"] = {**(slots if isinstance(slots, Mapping) else {}), **result.layers}
        earlier = document.get(METADATA)
        document[METADATA] = {**(earlier if isinstance(earlier, Mapping) else {}), **result.about}
    return document


def as_json(document: Mapping[str, Any]) -> bytes:
    """Return a document's text. Raises UsageError for values that JSON cannot hold."""
    try:
        return spelled(document)
    except (TypeError, ValueError) as error:
        raise UsageError(f"the document cannot be written as JSON ({error})", "use texts, numbers and lists") from error
