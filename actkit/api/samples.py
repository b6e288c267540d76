"""Documents of results, read for `SAEActivationExtractor` and written."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actkit.errors import InputError, UsageError, writing
from actkit.export.merged_json import is_document
from actkit.pipeline.data import Rejected
from actkit.pipeline.input.reader import read_records
from actkit.runs.atomic_files import write_whole


def load_samples_from_json(path: Path | str) -> dict[str, Any]:
    """The samples in a file, as a document {"results": […]} for `extract`; what else the document holds stays in it.

    The file is such a document, or a JSON array or JSONL of samples. Raises InputError for a file that is not there, or
    holds anything else.

        samples = actkit.load_samples_from_json("answers.json")
        len(samples["results"])
    """
    found = []
    for record in read_records(str(path), default_format="json"):
        if isinstance(record, Rejected) or not isinstance(record.value, Mapping):
            why = record.reason if isinstance(record, Rejected) else "not an object with fields"
            raise InputError(f"{record.place}: {why}", "a sample has prompt and response")
        found.append(record.value)
    if len(found) == 1 and is_document(found[0]):
        return dict(found[0])
    if any(is_document(one) for one in found):
        raise InputError(f"{path} holds several documents of results", "load them one by one")
    return {"results": found}


def save_results_to_json(results: Mapping[str, Any], path: Path | str) -> Path:
    """Write what `extract` returned as JSON, UTF-8; a file that is there is replaced when the new one is whole.

    Returns the path. Raises UsageError for what JSON cannot hold, RunError when the file cannot be written.

        results = extractor.extract(samples)
        actkit.save_results_to_json(results, "answers_with_features.json")
    """
    path, text = Path(path), as_json(results)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda file: file.write(text.encode()))
    return path


def as_json(document: Mapping[str, Any]) -> str:
    """A document's text. Raises UsageError for what JSON cannot hold."""
    try:
        text = json.dumps(document, ensure_ascii=False, indent=2) + "\n"
        text.encode()
        return text
    except UnicodeEncodeError:  # half a character (a lone surrogate), which JSON can spell and UTF-8 cannot hold
        return json.dumps(document, indent=2) + "\n"
    except (TypeError, ValueError) as error:
        raise UsageError(f"the document cannot be written as JSON ({error})", "use texts, numbers and lists") from error
