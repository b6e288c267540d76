"""json: SAE features in a document of results, or the ranking of `reward-detect`.

A run of `sae-extract` gives the document that `merged_json` makes, written a result at a time. If the input was such a
document and has not changed since, its own fields stay. Otherwise the results come from the run's tables: adjacent
records of one group make a result, each record a variation, whose `prompt` and `response` together are the text run.
"""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from actkit.errors import InputError, RunError
from actkit.export.job import ExportJob
from actkit.export.merged_json import (
    describe,
    keys_of,
    of_others,
    other_texts,
    own_variations,
    read_document,
    variations,
)
from actkit.export.merged_records import Entry, entries
from actkit.runs.reader import part_of, parts


def write(job: ExportJob) -> None:
    """Write the document; for `reward-detect` the ranking, with the run's configuration as YAML beside it.

    Raises RunError for a run of `reward-detect` without its ranking.
    """
    if "feature_scores" in job.facts["tables"]:
        _copy(job)
    else:
        _write_results(job)


def second(facts: Mapping[str, Any]) -> str | None:
    """Return the suffix of the second file, see `write`; None where there is none."""
    return ".yaml" if "feature_scores" in facts["tables"] else None


def _copy(job: ExportJob) -> None:
    ranking, configuration = job.run / "reward_features.json", job.run / "config.yaml"
    if not ranking.exists():
        raise RunError(f"{job.run} has no reward_features.json", "run actkit reward-detect again")
    shutil.copyfile(ranking, job.out)
    if configuration.exists():
        shutil.copyfile(configuration, job.out.with_suffix(".yaml"))
    else:
        job.note("the run was made from Python and has no config.yaml, so none is written")


def _write_results(job: ExportJob) -> None:
    read = _document(job)
    layers = keys_of(job.facts["saes"], read or {})
    beside = {key: value for key, value in (read or {}).items() if key != "results"}
    describe(beside, job.facts, layers)
    stream = _followed(job, layers)
    results: Iterable[Any] = _of_tables(stream)
    if read is not None:
        results = (_of_document(result, stream, layers) for result in read["results"])
    with job.out.open("w", encoding="utf-8", newline="\n") as file:
        file.write('{\n"results": [')
        for number, result in enumerate(results):
            file.write(("," if number else "") + "\n" + json.dumps(result, ensure_ascii=False))
        file.write("\n]")
        for key, value in beside.items():
            file.write(f",\n{json.dumps(key, ensure_ascii=False)}: {json.dumps(value, ensure_ascii=False)}")
        file.write("\n}\n")


def _followed(job: ExportJob, layers: Mapping[str, str]) -> Iterator[Entry]:
    for done, entry in enumerate(entries(job.run, job.facts, layers), 1):
        yield entry
        job.progress(done / job.facts["counts"]["read"])


def _of_document(result: Any, stream: Iterator[Entry], layers: Mapping[str, str]) -> Any:
    """Add features to the variations of a result; a result without variations is its own only variation."""
    inner = own_variations(result)
    if not inner:
        return _joined(result, next(stream, None), layers)
    return {**result, "variations": [_joined(variation, next(stream, None), layers) for variation in inner]}


def _joined(variation: Any, entry: Entry | None, layers: Mapping[str, str]) -> Any:
    """Put a record's features into its variation, in place of those that an older run left under the same keys."""
    if not isinstance(variation, Mapping) or (entry is None and "sae_activations" not in variation):
        return variation  # rejected, or beyond --max-samples
    own = {} if entry is None else entry.slots
    return {**variation, "sae_activations": {**of_others(variation.get("sae_activations"), layers), **own}}


def _of_tables(stream: Iterator[Entry]) -> Iterator[dict[str, Any]]:
    for (group, _), same in groupby(stream, _of_result):
        named = {} if group is None else {"question_id": group}
        yield {**named, "variations": [_variation(record) for record in same]}


def _of_result(entry: Entry) -> tuple[str | None, int | None]:
    """Return the key of a record's result: its group, such as a question, or the record's own id."""
    return entry.group, entry.record_id if entry.group is None else None


def _variation(entry: Entry) -> dict[str, Any]:
    made: dict[str, Any] = {"record_id": entry.record_id}
    row = entry.sequence
    if row is not None:
        prompt, response = row["text"][: entry.split], row["text"][entry.split :]
        made |= {"template_type": row["label"]} if row["label"] is not None else {}
        made |= {"prompt": prompt, **({"response": response} if response else {})}
        # The response then begins with a whole token, of which a part belongs to the prompt.
        made |= {"boundary_merged": True} if row["boundary_merged"] else {}
    return {**made, "sae_activations": entry.slots}


def _document(job: ExportJob) -> dict[str, Any] | None:
    """Return the document that the run read; None where its input was none, or has changed."""
    files = parts(job.run, "sequences")
    sources = set(part_of(job.run, "sequences", files[0], ["source"])["source"].to_pylist())
    source = Path(sources.pop() or "")
    if source.suffix != ".json" or not source.is_file():
        return None
    try:
        document = read_document(source)
    except InputError:
        return None
    if _fits(job, document):
        return document
    job.note(f"{source} is no longer what was read, so the results are made of the run's tables")
    return None


def _fits(job: ExportJob, document: Mapping[str, Any]) -> bool:
    """Whether the document has every record that was run as a variation with the same texts; more may follow."""
    enough = sum(1 for _ in variations(document)) >= job.facts["counts"]["read"]
    return enough and other_texts(job.run, document, job.facts["options"]) is None
