"""The six commands in one line each, for notebooks: text, records or a file in, a finished run out."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

from actkit.api.captures import prompts_of, texts_or_file
from actkit.api.command_call import Where, file_of, location_asked, make_from, path_of, run_command
from actkit.api.concepts import pairs_asked
from actkit.api.feedback_data import FeedbackDataLoader
from actkit.api.loading import AnyModel
from actkit.api.opened import Run
from actkit.api.run_location import rows_in
from actkit.recipes.capture import CaptureSpec, run_capture
from actkit.recipes.concept import ConceptSpec, choose_again, run_concept
from actkit.recipes.documents import FIELDS
from actkit.recipes.dpo import DpoSpec, run_dpo
from actkit.recipes.feature_dataset import FeatureDatasetSpec, run_feature_dataset
from actkit.recipes.reward_detect import RewardDetectSpec, rank_again, run_reward_detect
from actkit.recipes.sae_extract import SaeExtractSpec, run_sae_extract
from actkit.recipes.specs import DenseSpec, SparseSpec
from actkit.runs import run as runs

Records: TypeAlias = Iterable[Any]


def capture(
    prompts: str | Path | Records,
    model: AnyModel = "tiny",
    *,
    out: Where = None,
    overwrite: bool = False,
    **options: Any,
) -> Run:
    """Store activations of prompts, as `actkit capture` does.

    `prompts` is a text, texts, messages, records, or a file. A text without blanks that exists as a path is a file.
    `options` are those of the command line and of `config.yaml`: layers, positions, chat, system, sae_release, …
    Without `out` the run is temporary, until Python ends. Raises what `run_capture` raises.

        run = actkit.capture("The capital of France is", layers="recommended")
        run.activations("blocks.2.hook_resid_post").shape  # [positions, d_model]
    """
    with location_asked(out, overwrite, options) as place:
        texts: tuple[str, ...] = ()
        path = file_of(prompts, is_text=True)
        if path is None:
            texts, path = texts_or_file(prompts_of(prompts), place)  # type: ignore[arg-type]
        return run_command(run_capture, CaptureSpec, DenseSpec, {"prompts": texts, "path": path}, model, place, options)


def concept(
    what: str | Path | Records | None = None,
    model: AnyModel = "tiny",
    *,
    from_run: "Where | runs.Run" = None,
    out: Where = None,
    overwrite: bool = False,
    **options: Any,
) -> Run:
    """Find a direction for a concept at each layer, with held-out evidence, as `actkit concept` does.

    `what` is a built-in concept, a file, or pairs: tuples of two texts, or records. With `from_run`, a finished run,
    its directions are chosen again by other `layers` or `seed`, without the model. See `capture` for the rest.

        run = actkit.concept("honesty", layers="recommended")
        run.facts["concept"]["chosen"]["mean-diff"]["auroc_heldout"]
    """
    with location_asked(out, overwrite, options) as place:
        if from_run is not None:
            return make_from(choose_again, from_run, place, options)
        return run_command(run_concept, ConceptSpec, DenseSpec, pairs_asked(what, None, place), model, place, options)


def dpo(
    pairs: str | Path | Records,
    model: AnyModel = "tiny",
    *,
    out: Where = None,
    overwrite: bool = False,
    **options: Any,
) -> Run:
    """Store activations of preference pairs token by token, and where they diverge, as `actkit dpo` does.

    `pairs` is a file, or records of prompt, chosen and rejected. See `capture` for the rest.

        pair = {"prompt": "Is it raining?", "chosen": "Yes, it is.", "rejected": "No, it is not."}
        actkit.dpo([pair], layers=2).to_pandas("pairs")
    """
    with location_asked(out, overwrite, options) as place:
        return run_command(run_dpo, DpoSpec, DenseSpec, {"path": path_of(pairs, place)}, model, place, options)


def sae_extract(
    samples: str | Path | Records,
    model: AnyModel = "tiny",
    *,
    out: Where = None,
    overwrite: bool = False,
    **options: Any,
) -> Run:
    """Store the largest SAE features of each prompt's last token, or of all tokens, as `actkit sae-extract` does.

    `samples` is a file, or records of prompt and response. See `capture` for the rest.

        run = actkit.sae_extract([{"prompt": "Once upon a time", "response": " there was a king."}], top_k=5)
        run.features().shape  # [positions, d_sae]
    """
    with location_asked(out, overwrite, options) as place:
        given = {"path": path_of(samples, place)}
        return run_command(run_sae_extract, SaeExtractSpec, SparseSpec, given, model, place, options)


def feature_dataset(
    dataset: str | Path | Records,
    model: AnyModel = "tiny",
    *,
    out: Where = None,
    overwrite: bool = False,
    **options: Any,
) -> Run:
    """Store every token's SAE features and every feature's strongest contexts, as `actkit feature-dataset` does.

    `dataset` is a file, a directory, a glob, the id of a dataset on the Hugging Face hub, or texts or records. See
    `capture` for the rest.

        run = actkit.feature_dataset(["Once upon a time.", "There was a king."])
        run.to_pandas("feature_stats").nlargest(3, "max")["feature_id"].tolist()
    """
    with location_asked(out, overwrite, options) as place:
        rows = dataset
        if not isinstance(dataset, (str, Path)):
            field = options.get("text_field") or FIELDS[0]
            rows = [{field: row} if isinstance(row, str) else row for row in rows_in(dataset)]
        given = {"dataset": path_of(rows, place)}
        return run_command(run_feature_dataset, FeatureDatasetSpec, SparseSpec, given, model, place, options)


def reward_detect(
    data: "str | Path | FeedbackDataLoader | Records | None" = None,
    model: AnyModel = "tiny",
    *,
    from_run: "Where | runs.Run" = None,
    out: Where = None,
    overwrite: bool = False,
    **options: Any,
) -> Run:
    """Rank SAE features by their response to positive feedback, with held-out evidence, as `actkit reward-detect` does.

    `data` is a file, or records of text and label; None takes the built-in examples. With `from_run`, a finished run,
    its features are ranked again by other `q`, `held_out`, thresholds or `seed`, without the model. See `capture` for
    the rest.

        run = actkit.reward_detect(draws=500)
        actkit.reward_detect(from_run=run, q=0.1).to_pandas("feature_scores").head()
    """
    with location_asked(out, overwrite, options) as place:
        if from_run is not None:
            return make_from(rank_again, from_run, place, options)
        given: dict[str, Any] = {"path": None}
        if isinstance(data, FeedbackDataLoader):
            given = {"path": data.path if data.rows is None else place.write_input(data.rows), "fields": data.fields}
        elif data is not None:
            given = {"path": path_of(data, place)}
        return run_command(run_reward_detect, RewardDetectSpec, SparseSpec, given, model, place, options)
