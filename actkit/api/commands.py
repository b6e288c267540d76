"""The six commands in one line each, for notebooks: text, records or a file in, a finished run out."""

import atexit
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from actkit.api.concepts import pairs_asked
from actkit.api.feedback_data import FeedbackDataLoader
from actkit.api.loading import AnyModel, Layers, in_use, layers_text, model_spec
from actkit.api.notebook_progress import notebook_bar
from actkit.api.opened import Run, open_run
from actkit.api.run_location import RunLocation, placed, rows_in, warn_of
from actkit.api.saes import AnySae, sae_specs
from actkit.config import ModelSpec, OutputSpec
from actkit.errors import InputError
from actkit.pipeline.input.formats import format_of
from actkit.pipeline.recipe import Finished
from actkit.recipes.capture import CaptureSpec, run_capture
from actkit.recipes.concept import ConceptSpec, run_concept
from actkit.recipes.concept_again import choose_again
from actkit.recipes.dpo import DpoSpec, run_dpo
from actkit.recipes.feature_dataset import FeatureDatasetSpec, run_feature_dataset
from actkit.recipes.reward_again import rank_again
from actkit.recipes.reward_detect import RewardDetectSpec, run_reward_detect
from actkit.recipes.sae_extract import SaeExtractSpec, run_sae_extract
from actkit.recipes.spec_of import check_options, spec_of
from actkit.recipes.specs import DenseSpec, SparseSpec
from actkit.runs import run as runs

Records: TypeAlias = Iterable[Any]
SAE_OPTIONS = ("sae_release", "sae_id", "sae", "target_layer", "hook_name")
Where: TypeAlias = Path | str | None


def capture(
    prompts: str | Path | Records,
    model: AnyModel = "tiny",
    *,
    out: Where = None,
    overwrite: bool = False,
    **options: Any,
) -> Run:
    """Activations of prompts, as `actkit capture` stores them.

    `prompts` is a text, texts, messages, records, or a file. A text without blanks that is called like a file is one.
    `options` are those of the command line and of `config.yaml`: layers, positions, chat, system, sae_release, …
    Without `out` the run is temporary, until Python ends. Raises what `run_capture` raises.

        run = actkit.capture("The capital of France is", layers="recommended")
        run.activations("blocks.2.hook_resid_post").shape  # [positions, d_model]
    """
    with _placed(out, overwrite, options) as place:
        texts: tuple[str, ...] = ()
        path = _file_of(prompts, is_text=True)
        if path is None:
            from actkit.api.captures import prompts_of

            given = prompts_of(prompts)  # type: ignore[arg-type]
            texts = tuple(prompt for prompt in given if isinstance(prompt, str))
            if len(texts) < len(given):
                records = (prompt if isinstance(prompt, Mapping) else {"prompt": prompt} for prompt in given)
                texts, path = (), place.write_input(records)
        return _dense(run_capture, CaptureSpec, {"prompts": texts, "path": path}, model, place, options)


def concept(
    what: str | Path | Records | None = None,
    model: AnyModel = "tiny",
    *,
    from_run: "Where | runs.Run" = None,
    out: Where = None,
    overwrite: bool = False,
    **options: Any,
) -> Run:
    """A direction for a concept at each layer, with held-out evidence, as `actkit concept` finds it.

    `what` is a built-in concept, a file, or pairs: tuples of two texts, or records. With `from_run`, a finished run,
    its directions are chosen again by other `layers` or `seed`, without the model. See `capture` for the rest.

        run = actkit.concept("honesty", layers="recommended")
        run.facts["concept"]["chosen"]["mean-diff"]["auroc_heldout"]
    """
    with _placed(out, overwrite, options) as place:
        if from_run is not None:
            return _again(choose_again, from_run, place, options)
        return _dense(run_concept, ConceptSpec, pairs_asked(what, None, place), model, place, options)


def dpo(
    pairs: str | Path | Records,
    model: AnyModel = "tiny",
    *,
    out: Where = None,
    overwrite: bool = False,
    **options: Any,
) -> Run:
    """Activations of preference pairs token by token, and where they diverge, as `actkit dpo` stores them.

    `pairs` is a file, or records of prompt, chosen and rejected. See `capture` for the rest.

        pair = {"prompt": "Is it raining?", "chosen": "Yes, it is.", "rejected": "No, it is not."}
        actkit.dpo([pair], layers=2).to_pandas("pairs")
    """
    with _placed(out, overwrite, options) as place:
        return _dense(run_dpo, DpoSpec, {"path": _path(pairs, place)}, model, place, options)


def sae_extract(
    samples: str | Path | Records,
    model: AnyModel = "tiny",
    *,
    out: Where = None,
    overwrite: bool = False,
    **options: Any,
) -> Run:
    """The largest SAE features at the last token of each prompt, or at all, as `actkit sae-extract` stores them.

    `samples` is a file, or records of prompt and response. See `capture` for the rest.

        run = actkit.sae_extract([{"prompt": "Once upon a time", "response": " there was a king."}], top_k=5)
        run.features().shape  # [positions, d_sae]
    """
    with _placed(out, overwrite, options) as place:
        return _sparse(run_sae_extract, SaeExtractSpec, {"path": _path(samples, place)}, model, place, options)


def feature_dataset(
    dataset: str | Path | Records,
    model: AnyModel = "tiny",
    *,
    out: Where = None,
    overwrite: bool = False,
    **options: Any,
) -> Run:
    """Every token's SAE features and every feature's strongest contexts, as `actkit feature-dataset` stores them.

    `dataset` is a file, a directory, a glob, the id of a dataset on the Hugging Face hub, or texts or records. See
    `capture` for the rest.

        run = actkit.feature_dataset(["Once upon a time.", "There was a king."])
        run.to_pandas("feature_stats").nlargest(3, "max")["feature_id"].tolist()
    """
    with _placed(out, overwrite, options) as place:
        rows = dataset
        if not isinstance(dataset, (str, Path)):
            rows = [{"text": row} if isinstance(row, str) else row for row in rows_in(dataset)]
        return _sparse(run_feature_dataset, FeatureDatasetSpec, {"dataset": _path(rows, place)}, model, place, options)


def reward_detect(
    data: "str | Path | FeedbackDataLoader | Records | None" = None,
    model: AnyModel = "tiny",
    *,
    from_run: "Where | runs.Run" = None,
    out: Where = None,
    overwrite: bool = False,
    **options: Any,
) -> Run:
    """SAE features that respond to positive feedback, ranked with held-out evidence, as `actkit reward-detect` does.

    `data` is a file, or records of text and label; None takes the built-in examples. With `from_run`, a finished run,
    its features are ranked again by other `q`, `held_out`, thresholds or `seed`, without the model. See `capture` for
    the rest.

        run = actkit.reward_detect(draws=500)
        actkit.reward_detect(from_run=run, q=0.1).to_pandas("feature_scores").head()
    """
    with _placed(out, overwrite, options) as place:
        if from_run is not None:
            return _again(rank_again, from_run, place, options)
        given: dict[str, Any] = {"path": None}
        if isinstance(data, FeedbackDataLoader):
            given = {"path": data.path if data.rows is None else place.write_input(data.rows), "fields": data.fields}
        elif data is not None:
            given = {"path": _path(data, place)}
        return _sparse(run_reward_detect, RewardDetectSpec, given, model, place, options)


@contextmanager
def _placed(out: Where, overwrite: bool, options: dict[str, Any]) -> Iterator[RunLocation]:
    """Where the run goes: `out`, or a directory that is removed when Python ends, or at once where the run fails."""
    out = out if out is not None else options.pop("output", None)
    if out is not None:
        with placed(out, overwrite) as place:
            yield place
        return
    folder = tempfile.mkdtemp(prefix="actkit-")
    try:
        with placed(Path(folder) / "run") as place:
            yield place
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    atexit.register(shutil.rmtree, folder, ignore_errors=True)


def _file_of(given: Any, is_text: bool = False) -> str | None:
    """The path that is meant; None for what is at hand. Raises InputError for a file that is not there."""
    if isinstance(given, Path):
        return str(given)
    if not isinstance(given, str):
        return None
    if not is_text:
        return given
    if " " in given or "\n" in given:
        return None
    if Path(given).exists():
        return given
    if format_of(given) is not None and not given.startswith("."):
        raise InputError(f"{given}: no such file", "check the path; a text that ends so is given in a list: [text]")
    return None


def _path(given: Any, place: RunLocation) -> str:
    found = _file_of(given)
    return place.write_input(rows_in(given)) if found is None else found


def _dense(
    run: Callable[..., Finished], kind: Any, given: Mapping[str, Any], model: AnyModel, place: RunLocation, options: Any
) -> Run:
    layers: Layers = options.pop("layers", "all")
    named = {name: options.pop(name) for name in SAE_OPTIONS if name in options}
    spec = _model(model, options)
    check_options(options, kind, DenseSpec)
    saes = _saes(spec, named) if named else ()
    dense = spec_of(
        DenseSpec, options, model=spec, output=_output(place, options), layers=layers_text(layers), saes=saes
    )
    return _ran(run, _own(kind, options, given), dense)


def _sparse(
    run: Callable[..., Finished], kind: Any, given: Mapping[str, Any], model: AnyModel, place: RunLocation, options: Any
) -> Run:
    named = {name: options.pop(name) for name in SAE_OPTIONS if name in options}
    spec = _model(model, options)
    check_options(options, kind, SparseSpec)
    sparse = spec_of(SparseSpec, options, model=spec, saes=_saes(spec, named), output=_output(place, options))
    return _ran(run, _own(kind, options, given), sparse)


def _own(kind: Any, options: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
    positions = options.get("positions")
    if positions is not None and not isinstance(positions, str):
        options = {**options, "positions": layers_text(positions)}
    return spec_of(kind, options, **given)


def _model(model: AnyModel, options: Mapping[str, Any]) -> ModelSpec:
    spec = model_spec(model)
    if isinstance(model, (str, Path)):
        return spec_of(ModelSpec, {**options, "model": spec.name})
    return spec


def _saes(spec: ModelSpec, named: Mapping[str, Any]) -> list[Any]:
    sae: AnySae = named.get("sae")
    layer, hook_name = named.get("target_layer"), named.get("hook_name")
    return sae_specs(spec.name, named.get("sae_release"), named.get("sae_id"), None, layer, sae, hook_name)


def _output(place: RunLocation, options: Mapping[str, Any]) -> OutputSpec:
    return spec_of(OutputSpec, options, out=place.output.out, overwrite=place.output.overwrite)


def _again(make: Callable[..., Finished], source: Any, place: RunLocation, options: Mapping[str, Any]) -> Run:
    path = source.path if isinstance(source, runs.Run) else Path(source)
    changes = {**options, **({"layers": layers_text(options["layers"])} if "layers" in options else {})}
    with notebook_bar() as on_progress:
        return open_run(make(path, place.output, changes, on_progress).path)


def _ran(run: Callable[..., Finished], own: Any, common: DenseSpec | SparseSpec) -> Run:
    with in_use(common.model), notebook_bar() as on_progress:
        finished = run(own, common, on_progress)
    found = open_run(finished.path)
    warn_of(found.facts, own.tokens.max_length)
    return found
