"""The pooled SAE features of texts, one row a text: what `reward-detect` computes before it looks at labels."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actkit.api.loading import AnyModel, in_use, model_spec
from actkit.api.run_location import placed, texts_of, warn_of
from actkit.api.saes import AnySae, sae_specs
from actkit.bundled import NAME
from actkit.config import BatchSpec, Pool, TokenSpec
from actkit.pipeline.recipe import Recipe
from actkit.recipes.reward_detect import RewardDetectSpec, recipe
from actkit.recipes.runner import Ingredients, run
from actkit.recipes.specs import SparseSpec
from actkit.runs.run import Run

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


class SAEFeatureExtractor:
    """Runs texts through a model and one SAE, and pools each text's features into one row.

    `pool` is max, mean, sum or last, over the text's tokens, special ones left out. `sae_release` and `sae_id` (or
    `target_layer`) name an SAE of SAELens's registry, `sae_path` a directory in its format, `sae` one in memory; `tiny`
    has its own. A layer alone takes the recommended SAE of the model's residual stream there. `model_name` and `layer`
    are the same as `model` and `target_layer`; `device` is where a model that is named is loaded.

        extractor = actkit.SAEFeatureExtractor("tiny", target_layer=2)
        extractor.extract(["Thank you!", "This is wrong."]).shape  # [2, d_sae]
    """

    def __init__(
        self,
        model: AnyModel = None,
        sae_release: str | None = None,
        sae_id: str | None = None,
        *,
        model_name: str | None = None,
        layer: int | None = None,
        device: str = "auto",
        sae: AnySae = None,
        sae_path: str | Path | None = None,
        target_layer: int | None = None,
        pool: Pool = "max",
        chat: bool = False,
        max_length: int | None = None,
        batch_tokens: int = 4096,
    ) -> None:
        given = model if model is not None else model_name if model_name is not None else NAME
        self.model = model_spec(given)
        if device != "auto" and self.model.loaded is None:
            self.model = replace(self.model, device=device)
        at = target_layer if target_layer is not None else layer
        self.sae = sae_specs(self.model.name, sae_release, sae_id, sae_path, at, sae)
        self.spec = RewardDetectSpec(chat=chat, pool=pool, tokens=TokenSpec(max_length))
        self.batch = BatchSpec(batch_tokens)

    def extract(self, texts: str | Sequence[str]) -> "csr_matrix":
        """[n_texts, d_sae] sparse float32: the pooled activation of each feature in each text, in the texts' order.

        Raises InputError for a text that is empty or holds special tokens only, UsageError for what is no text,
        ModelError for a model or an SAE that cannot be loaded or do not fit.

            features = extractor.extract(["Thank you!", "This is wrong."])
            features[0].argmax()
        """
        # Every text has a row, which a label decides nothing about.
        rows = [{"text": text, "feedback": "neutral"} for text in texts_of(texts)]
        with placed(None, on_bad_record="fail") as place:
            spec = replace(self.spec, path=place.write_input(rows))
            sparse = SparseSpec(self.model, self.sae, place.output, self.batch)
            with in_use(self.model):
                finished = run(spec, sparse, _without_test)
            warn_of(finished.facts, self.spec.tokens.max_length)
            return Run(finished.path).features()


def _without_test(spec: RewardDetectSpec, made: Ingredients) -> Recipe:
    """The recipe of `reward-detect` up to the pooled features: no labels, no test."""
    nothing: Any = {"finish": lambda _run: iter(()), "texts": lambda _run, _facts: {}}
    return replace(recipe(spec, made), **nothing)
