"""The largest SAE features of prompts and responses, merged into the document of results that they come in."""

import copy
import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from actkit.api.loading import AnyModel, in_use, load_model, model_spec, say_what_is_loaded
from actkit.api.run_location import placed, warn_of
from actkit.api.samples import Result, Samples, as_json
from actkit.config import BatchSpec, ModelSpec
from actkit.errors import UsageError, writing
from actkit.export.merged_json import METADATA, is_document, merge, variations
from actkit.recipes.sae_choice import sae_specs
from actkit.recipes.sae_extract import SaeExtractSpec, run_sae_extract
from actkit.recipes.specs import SparseSpec, spec_of
from actkit.runs.progress import OnProgress

_AS_NAMED: Any = object()


@dataclass
class ExtractionConfig:
    """The options of `SAEActivationExtractor`."""

    model_name: str = "google/gemma-2-9b-it"
    sae_release: str | None = "gemma-scope-9b-pt-res-canonical"
    sae_id: str | None = None
    """None takes the release's SAE of `target_layer`."""
    sae_path: str | None = None
    """A directory in SAELens's format, beside the release's SAE, or with `sae_release=None` alone."""
    target_layer: int | None = 20
    """0-based; an SAE that reads another layer is an error."""
    hook_name: str | None = None
    """The expected hook point; an SAE that reads another is an error."""
    top_k_features: int | None = 50
    """Most features of a token; None keeps all."""
    top_k: int | None = _AS_NAMED
    """The same, under its other name."""
    save_all_tokens: bool = False
    """Read every token of prompt and response, not only the prompt's last."""
    max_samples: int | None = None
    """Most prompts that are read."""
    device: str = "auto"
    dtype: str = "auto"
    revision: str | None = None
    chat: bool = False
    """Put prompt and response into the model's chat template."""
    prompt_field: str | None = None
    response_field: str = "response"
    max_length: int | None = None
    """Most tokens of a sequence; None is the model's context."""
    batch_tokens: int = 4096
    """Tokens in one forward pass."""
    sae: Any = None
    """An SAE of SAELens in memory, instead of release and id."""

    def __post_init__(self) -> None:
        if self.top_k is not _AS_NAMED:
            self.top_k_features = self.top_k
        self.top_k = self.top_k_features


class SAEActivationExtractor:
    """Runs prompts and responses (teacher forcing) and returns the largest SAE features of their tokens.

    `model` is a handle of `load_model` or a (model, tokenizer) in memory; without it `config.model_name` is loaded anew
    at every `extract`, or once and for all by `load`.

        extractor = actkit.SAEActivationExtractor(actkit.ExtractionConfig("tiny", "tiny", target_layer=2))
        results = extractor.extract([{"question_id": 1, "prompt": "What is red?", "response": " A rose."}])
    """

    def __init__(self, config: ExtractionConfig | None = None, model: AnyModel | None = None) -> None:
        self.config = ExtractionConfig() if config is None else config
        own = self.config
        self._model = ModelSpec(own.model_name, own.revision, own.device, own.dtype) if model is None else model

    def load(self) -> "SAEActivationExtractor":
        """Load the model, as far as the SAE's layer where that is known, and keep it for all further calls.

        Raises what `load_model` raises.

            extractor = actkit.SAEActivationExtractor(config).load()
            first, second = extractor.extract(samples), extractor.extract(others)
        """
        spec = model_spec(self._model)
        if spec.loaded is None:
            say_what_is_loaded(spec)
            self._model = load_model(self._model, layers=self.config.target_layer)
        return self

    def load_model_and_sae(self) -> "SAEActivationExtractor":
        """The same as `load`."""
        return self.load()

    def cleanup(self) -> None:
        """Release the model; the next call loads it again."""
        config = self.config
        self._model = ModelSpec(config.model_name, config.revision, config.device, config.dtype)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def extract_activations(self, prompt: str, response: str = "", save_all_tokens: bool | None = None) -> Result:
        """The features of one prompt and response: {"activations", "answer_start_position", "total_tokens", "status"}.

        Raises what `extract` raises.

            found = extractor.extract_activations(prompt="What is red?", response=" A rose.")
            found["activations"]["last_token"]["top_k_features"]
        """
        return self.extract_batch([{"prompt": prompt, "response": response}], save_all_tokens)[0]

    def extract_batch(
        self,
        samples: Samples | Mapping[str, Any] | Sequence[Any],
        save_all_tokens: bool | None = None,
        on_progress: OnProgress = lambda _progress: None,
    ) -> list[Result]:
        """Return the features of each sample, in order, as `extract_activations` returns them.

        Raises what `extract` raises.

            results = extractor.extract_batch(actkit.load_samples_from_json("answers.json"))
        """
        config, most = self.config, self.config.top_k_features
        if save_all_tokens is not None:
            config = replace(config, save_all_tokens=save_all_tokens, top_k=most)
        document = _document(samples)
        for _, place in variations(document):  # entries of other calls are not this call's result
            if isinstance(place, dict):
                place.pop("sae_activations", None)
        document.pop(METADATA, None)
        self._merge_features(document, config, None, False, on_progress)
        about = document[METADATA]
        return [Result(place.get("sae_activations", {}), about) for _, place in variations(document)]

    def extract(
        self,
        samples: Samples | Mapping[str, Any] | Sequence[Any],
        *,
        out: Path | str | None = None,
        overwrite: bool = False,
        on_progress: OnProgress = lambda _progress: None,
    ) -> dict[str, Any]:
        """Return a copy of `samples` with `sae_activations.layer_N` at every variation, and `sae_extraction_metadata`.

        `samples` is a document {"results": [{"question_id", "variations": [{"template_type", "prompt", "response"}]}]},
        or the list in it; a result without variations is its only variation. Features are {"id", "activation"}, largest
        first, by token: `last_token` of the prompt, or `token_P` for position P. A sample that cannot be used gets the
        status "error: …". A returned document can be given again with another layer, whose features are then added.
        `out` keeps the run there.

        Raises UsageError for samples that are neither, or an SAE that is not known; ModelError for a model or an SAE
        that cannot be loaded or do not fit; RunError when no sample can be used, or `out` exists.

            results = extractor.extract(actkit.load_samples_from_json("answers.json"))
            results["results"][0]["variations"][0]["sae_activations"]["layer_20"]
        """
        document = _document(samples)
        self._merge_features(document, self.config, out, overwrite, on_progress)
        return document

    def _merge_features(
        self,
        document: dict[str, Any],
        config: ExtractionConfig,
        out: Path | str | None,
        overwrite: bool,
        on_progress: OnProgress,
    ) -> None:
        """Run the variations of a document, and put their features into it."""
        spec = model_spec(self._model)
        saes = sae_specs(
            spec.name,
            config.sae_release,
            config.sae_id,
            config.sae_path,
            config.target_layer,
            config.sae,
            config.hook_name,
        )
        with placed(out, overwrite, max_records=config.max_samples) as place:
            path = place.input_file(".json")
            with writing(path):
                path.write_bytes(as_json(document))
            what = spec_of(SaeExtractSpec, vars(config), path=str(path), top_k=config.top_k_features)
            sparse = SparseSpec(spec, saes, place.output, BatchSpec(config.batch_tokens))
            with in_use(spec):
                finished = run_sae_extract(what, sparse, on_progress)
            merge(finished.path, document, finished.facts)
        warn_of(finished.facts, config.max_length)


def _document(samples: Samples | Mapping[str, Any] | Sequence[Any]) -> dict[str, Any]:
    if isinstance(samples, Samples):
        return copy.deepcopy(samples.document)
    if isinstance(samples, Mapping) and is_document(samples):
        return copy.deepcopy(dict(samples))
    if isinstance(samples, (Mapping, str)) or not isinstance(samples, Sequence):
        raise UsageError(
            f"{type(samples).__name__} is no document of results and no list of samples",
            'give {"results": […]}, or a list of {"prompt", "response"}',
        )
    return {"results": copy.deepcopy(list(samples))}
