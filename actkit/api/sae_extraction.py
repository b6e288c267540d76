"""The largest SAE features of prompts and responses, merged into the document of results that they come in."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actkit.api.loading import AnyModel, in_use, load_model, model_spec, sae_specs
from actkit.api.run_location import placed, warn_of
from actkit.api.samples import as_json
from actkit.config import BatchSpec, ModelSpec, TokenSpec
from actkit.errors import UsageError, writing
from actkit.export.merged_json import is_document, merge
from actkit.recipes.sae_extract import SaeExtractSpec, run_sae_extract
from actkit.recipes.specs import SparseSpec
from actkit.runs.progress import OnProgress


@dataclass
class ExtractionConfig:
    """What `SAEActivationExtractor` is asked for."""

    model_name: str = "google/gemma-2-9b-it"
    sae_release: str | None = "gemma-scope-9b-pt-res-canonical"
    sae_id: str | None = None
    """None takes the release's SAE of `target_layer`."""
    sae_path: str | None = None
    """A directory in SAELens's format, beside the release's SAE, or with `sae_release=None` alone."""
    target_layer: int | None = 20
    """0-based; an SAE that reads another layer is an error."""
    top_k: int | None = 50
    """Most features of a token; None keeps all."""
    save_all_tokens: bool = False
    """Every token of prompt and response, not only the prompt's last."""
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


class SAEActivationExtractor:
    """Runs prompts and responses (teacher forcing) and returns the largest SAE features of their tokens.

    `model` is a handle of `load_model` or a (model, tokenizer) in memory; without it `config.model_name` is loaded anew
    at every `extract`, or once and for all by `load`.

        extractor = actkit.SAEActivationExtractor(actkit.ExtractionConfig("tiny", "tiny", target_layer=2))
        results = extractor.extract([{"question_id": 1, "prompt": "What is red?", "response": " A rose."}])
    """

    def __init__(self, config: ExtractionConfig | None = None, model: AnyModel | None = None) -> None:
        self.config = ExtractionConfig() if config is None else config
        one = self.config
        self._model = ModelSpec(one.model_name, one.revision, one.device, one.dtype) if model is None else model

    def load(self) -> "SAEActivationExtractor":
        """Load the model, as far as the SAE's layer where that is known, and keep it for all further calls.

        Raises what `load_model` raises.

            extractor = actkit.SAEActivationExtractor(config).load()
            first, second = extractor.extract(samples), extractor.extract(others)
        """
        if model_spec(self._model).loaded is None:
            self._model = load_model(self._model, layers=self.config.target_layer)
        return self

    def extract(
        self,
        samples: Mapping[str, Any] | Sequence[Any],
        *,
        out: Path | str | None = None,
        overwrite: bool = False,
        on_progress: OnProgress = lambda _progress: None,
    ) -> dict[str, Any]:
        """A copy of `samples` with `sae_activations.layer_N` at every variation, and `sae_extraction_metadata`.

        `samples` is a document {"results": [{"question_id", "variations": [{"template_type", "prompt", "response"}]}]},
        or the list in it; a result without variations is its own only one. Features are {"id", "activation"}, largest
        first, by token: `last_token` of the prompt, or `token_P` for position P. A sample that cannot be used gets the
        status "error: …". The document that was returned can be given again, with another layer, and gets that one too.
        `out` keeps the run there.

        Raises UsageError for samples that are neither, or an SAE that is not known; ModelError for a model or an SAE
        that cannot be loaded or do not fit; RunError when no sample can be used, or `out` exists.

            results = extractor.extract(actkit.load_samples_from_json("answers.json"))
            results["results"][0]["variations"][0]["sae_activations"]["layer_20"]
        """
        document = _document(samples)
        one, spec = self.config, model_spec(self._model)
        saes = sae_specs(spec.name, one.sae_release, one.sae_id, one.sae_path, one.target_layer)
        tokens = TokenSpec(one.max_length)
        with placed(out, overwrite, max_records=one.max_samples) as place:
            path = place.input_file(".json")
            with writing(path):
                path.write_text(as_json(document), encoding="utf-8")
            what = SaeExtractSpec(
                str(path),
                one.prompt_field,
                one.response_field,
                one.save_all_tokens,
                one.top_k,
                one.chat,
                tokens,
            )
            sparse = SparseSpec(spec, saes, place.output, BatchSpec(one.batch_tokens))
            with in_use(spec):
                finished = run_sae_extract(what, sparse, on_progress)
            merge(finished.path, document, finished.facts)
        warn_of(finished.facts, one.max_length)
        return document


def _document(samples: Mapping[str, Any] | Sequence[Any]) -> dict[str, Any]:
    if isinstance(samples, Mapping) and is_document(samples):
        return copy.deepcopy(dict(samples))
    if isinstance(samples, (Mapping, str)) or not isinstance(samples, Sequence):
        raise UsageError(
            f"{type(samples).__name__} is no document of results and no list of samples",
            'give {"results": […]}, or a list of {"prompt", "response"}',
        )
    return {"results": copy.deepcopy(list(samples))}
