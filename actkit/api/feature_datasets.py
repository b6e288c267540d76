"""A corpus with the active SAE features of every token, on top of the command `feature-dataset`."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from actkit.api.loading import AnyModel, in_use, model_spec
from actkit.api.run_location import fits_json, placed, rows_in, run_named, warn_of
from actkit.config import BatchSpec, ReadSpec
from actkit.errors import UsageError
from actkit.export.formats import export
from actkit.recipes.documents import FIELDS
from actkit.recipes.feature_dataset import FeatureDatasetSpec, run_feature_dataset
from actkit.recipes.sae_choice import AnySae, sae_specs
from actkit.recipes.specs import SparseSpec
from actkit.remote.path import local_path
from actkit.runs.progress import OnProgress
from actkit.runs.run import Run


def create_feature_dataset(
    dataset: str | Path | Iterable[str | Mapping[str, Any]] | None = None,
    model: AnyModel = "tiny",
    sae_release: str | None = None,
    sae_id: str | Sequence[str] | None = None,
    *,
    dataset_path: str | Path | None = None,
    sae: AnySae = None,
    output_path: Path | str | None = None,
    sae_path: str | Path | Sequence[str | Path] | None = None,
    target_layer: int | None = None,
    activation_threshold: float = 0.0,
    top_k: int | None = None,
    context_size: int | None = None,
    text_field: str | None = None,
    split: str = "train",
    by_line: bool = False,
    max_examples: int | None = None,
    batch_tokens: int = 4096,
    batch_size: int | None = None,
    out: Path | str | None = None,
    overwrite: bool = False,
    on_progress: OnProgress = lambda _progress: None,
) -> Run:
    """Run a corpus: store every token with its SAE features, and every feature with its strongest contexts.

    `dataset` is a file, a directory, a glob, the id of a dataset on the Hugging Face hub (its `split` is streamed), or
    texts or rows in memory, a `datasets.Dataset` among them. Features above `activation_threshold` are kept, at
    most `top_k` a token. `context_size` is the most tokens of a sequence, by default the SAE's training context;
    longer documents are cut into several. At most `max_examples` documents are read. Without `out` the run is
    `runs/feature-dataset-<time>`.

    `model` may be a `HookedTransformer` or a bridge of TransformerLens, or a `transformers` model; `sae` an SAE of
    SAELens in memory. `dataset_path` is the same as `dataset`. With `output_path` the documents are also written there
    as JSONL, and the run is beside it under that name without its ending; both replace the files of an earlier call.
    `batch_size` changes nothing: batches are filled by `batch_tokens`.

    Raises InputError for a dataset that is not there, UsageError for an SAE that is not known, ModelError for a model
    or an SAE that cannot be loaded or do not fit, RunError when nothing was kept or `out` exists.

        run = actkit.create_feature_dataset(["Once upon a time.", "The end."], out="runs/stories")
        run.features().shape  # [tokens, d_sae]
    """
    del batch_size
    dataset = dataset if dataset is not None else dataset_path
    if dataset is None:
        raise UsageError("which dataset?", "give a file, a directory, the id of a dataset, or texts")
    spec = model_spec(model)
    saes = sae_specs(spec.name, sae_release, sae_id, sae_path, target_layer, sae)
    if output_path is not None:
        out, overwrite = out if out is not None else local_path(output_path, "output_path").with_suffix(""), True
    with placed(run_named(FeatureDatasetSpec.command, out), overwrite, max_records=max_examples) as place:
        named = isinstance(dataset, (str, Path))
        where = str(dataset) if named else place.write_input(_rows(dataset, text_field, max_examples))
        what = FeatureDatasetSpec(
            where, text_field, by_line, context_size, top_k, activation_threshold, read=ReadSpec(split)
        )
        sparse = SparseSpec(spec, saes, place.output, BatchSpec(batch_tokens))
        with in_use(spec):
            finished = run_feature_dataset(what, sparse, on_progress)
    warn_of(finished.facts)
    if output_path is not None:
        export(finished.path, "jsonl", Path(output_path), overwrite=True)
    return Run(finished.path)


def _rows(dataset: Any, text_field: str | None, most: int | None) -> Iterable[Mapping[str, Any]]:
    """Yield at most `most` documents in memory; a document with a text becomes a record of that text alone."""
    for document in itertools.islice(rows_in(dataset), most):
        if isinstance(document, Mapping):
            name = text_field or next((known for known in FIELDS if known in document), None)
            if name is not None and name in document:
                yield {name: document[name]}
            else:  # a chat, or a record that is rejected by the names of its fields: no image in them ends the run
                yield {key: value if fits_json(value) else None for key, value in document.items()}
        else:
            yield {text_field or FIELDS[0]: document}
