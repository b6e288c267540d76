"""The pooled SAE features of texts, and those that respond to positive feedback, on top of `reward-detect`."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actkit.analysis.feature_tests.feature_scores import ScoreSettings
from actkit.api.feedback_data import FeedbackDataLoader, feedback_of
from actkit.api.loading import AnyModel, in_use, model_spec
from actkit.api.run_location import placed, texts_of, warn_of
from actkit.api.samples import save_results_to_json
from actkit.bundled import NAME
from actkit.config import BatchSpec, Pool, TokenSpec
from actkit.pipeline.recipe import Recipe
from actkit.recipes.reward_detect import RewardDetectSpec, recipe, run_reward_detect
from actkit.recipes.runner import Ingredients
from actkit.recipes.runner import run as run_recipe
from actkit.recipes.sae_choice import AnySae, sae_specs
from actkit.recipes.specs import SparseSpec
from actkit.runs.progress import OnProgress
from actkit.runs.run import Run

if TYPE_CHECKING:
    import pandas as pd
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

        Raises InputError for a text that is empty or holds special tokens only, UsageError for a value that is no text,
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
                finished = run_recipe(spec, sparse, _without_test)
            warn_of(finished.facts, self.spec.tokens.max_length)
            return Run(finished.path).features()


def _without_test(spec: RewardDetectSpec, made: Ingredients) -> Recipe:
    """Make the recipe of `reward-detect` up to the pooled features: no labels, no test."""
    nothing: Any = {"finish": lambda _run: iter(()), "texts": lambda _run, _facts: {}}
    return replace(recipe(spec, made), **nothing)


@dataclass(frozen=True, eq=False)
class RewardSignals:
    """The features that `RewardSignalDetector.detect` found."""

    features: "pd.DataFrame" = field(repr=False)
    """The table `feature_scores`: one row a feature, ranked by AUROC, with intervals, p, q and held-out evidence."""
    reward_features: list[dict[str, Any]]
    """Those of the first `top_k` that respond to positive texts by all evidence: see `responds_to` in `features`."""
    statistics: Mapping[str, Any] = field(repr=False)
    """Results of the whole run: data, baselines of length and chance, probes, the number of features found."""
    warnings: list[str]
    """Caveats of the ranking."""
    document: Mapping[str, Any] = field(repr=False)
    """Contents of `reward_features.json`: configuration, model, SAEs, statistics, and the first `top_k` features."""
    facts: Mapping[str, Any] = field(repr=False)
    """The contents of `run.json`: counts, reasons of rejected records, versions."""
    run: Run | None = None
    """The run, where it is kept."""

    def save(self, path: Path | str) -> Path:
        """Write `document` as JSON; a file that is there is replaced. Raises RunError when that cannot be done.

        signals = actkit.RewardSignalDetector("tiny").detect(actkit.FeedbackDataLoader.example())
        signals.save("reward_features.json")
        """
        return save_results_to_json(self.document, path)


class RewardSignalDetector:
    """Finds SAE features that respond to positive feedback, with held-out evidence and baselines of chance.

    `pool` makes one number a feature of a text: max, mean, sum or last. `activation_threshold`, the least mean
    activation where a feature is active, and `correlation_threshold`, the least correlation with the label, are
    conditions where they are given. `q` is the false-discovery rate (Benjamini & Hochberg 1995), `held_out` the share
    of groups kept out of the ranking, `draws` the number of label permutations where p needs them, `top_k` that of
    the features listed. `sae_extractor` is a `SAEFeatureExtractor`, whose model, SAE and pool are taken.

        detector = actkit.RewardSignalDetector("tiny", target_layer=2, pool="mean")
        detector.detect([{"text": "Thank you!", "feedback": 1}, {"text": "This is wrong.", "feedback": 0}]).features
    """

    def __init__(
        self,
        model: AnyModel = None,
        sae_release: str | None = None,
        sae_id: str | Sequence[str] | None = None,
        *,
        sae_extractor: SAEFeatureExtractor | None = None,
        sae: AnySae = None,
        sae_path: str | Path | Sequence[str | Path] | None = None,
        target_layer: int | None = None,
        pool: Pool | None = None,
        activation_threshold: float | None = None,
        correlation_threshold: float | None = None,
        q: float = ScoreSettings.q,
        held_out: float = ScoreSettings.held_out,
        draws: int = ScoreSettings.draws,
        seed: int = 0,
        top_k: int = 10,
        chat: bool | None = None,
        max_length: int | None = None,
        batch_tokens: int = 4096,
    ) -> None:
        taken = sae_extractor or (model if isinstance(model, SAEFeatureExtractor) else None)
        if taken is not None:
            self.model, self.sae, pool = taken.model, taken.sae, pool if pool is not None else taken.spec.pool
        else:
            self.model = model_spec(NAME if model is None else model)
            self.sae = sae_specs(self.model.name, sae_release, sae_id, sae_path, target_layer, sae)
        self.scores = ScoreSettings(
            held_out,
            draws,
            q=q,
            activation_threshold=activation_threshold,
            correlation_threshold=correlation_threshold,
            seed=seed,
        )
        self.pool: Pool = pool if pool is not None else "max"
        self.chat, self.top_k = chat, top_k
        self.tokens, self.batch = TokenSpec(max_length), BatchSpec(batch_tokens)

    def analyze_batch(self, batch: Any) -> dict[str, Any]:
        """Detect features in a batch of `FeedbackDataLoader.get_batch`; returned as `reward_features.json` holds them.

        `reward_features` are lists of {"feature_idx", "correlation_score", …}. Raises what `detect` raises.

            results = detector.analyze_batch(actkit.FeedbackDataLoader.example().get_batch())
            [feature["feature_idx"] for feature in results["reward_features"]]
        """
        return dict(self.detect(batch).document)

    def detect(
        self,
        feedback: FeedbackDataLoader | Path | str | Iterable[Mapping[str, Any]],
        *,
        out: Path | str | None = None,
        overwrite: bool = False,
        on_progress: OnProgress = lambda _progress: None,
    ) -> RewardSignals:
        """Find the features that respond to positive feedback in these texts; `out` keeps the run there.

        `feedback` is a `FeedbackDataLoader`, a file, or records {"text", "feedback"}. Records that cannot be used are
        left out, and counted in `facts`.

        Raises RunError when one of the labels does not occur or `out` exists, InputError for a file that is not there,
        ModelError for a model or an SAE that cannot be loaded or do not fit.

            signals = detector.detect(actkit.FeedbackDataLoader.example(), out="runs/feedback")
            signals.features[["feature_id", "auroc", "q_value", "auroc_heldout"]].head()
        """
        data = feedback_of(feedback)
        with placed(out, overwrite) as place:
            path = data.path if data.rows is None else place.write_input(data.rows)
            what = RewardDetectSpec(path, data.fields, self.chat, self.pool, self.scores, self.top_k, self.tokens)
            sparse = SparseSpec(self.model, self.sae, place.output, self.batch)
            with in_use(self.model):
                finished = run_reward_detect(what, sparse, on_progress)
            run = Run(finished.path)
            document = json.loads((run.path / "reward_features.json").read_text(encoding="utf-8"))
            warn_of({**run.facts, "warnings": ()}, self.tokens.max_length)  # the others are among its own
            return RewardSignals(
                run.to_pandas("feature_scores"),
                document["reward_features"],
                document["statistics"],
                document["warnings"],
                document,
                run.facts,
                run if place.kept else None,
            )
