"""Activations of a few prompts as tensors in memory, on top of the command `capture`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch

from actkit.api.captured import CapturedActivations, captured_of
from actkit.api.loading import AnyModel, Layers, in_use, layers_text, model_and_texts
from actkit.api.run_location import placed, rows_in, warn_of
from actkit.config import BatchSpec, TokenSpec
from actkit.errors import UsageError
from actkit.export.formats import export
from actkit.recipes.capture import CaptureSpec, run_capture
from actkit.recipes.specs import DenseSpec
from actkit.runs.run import Run

Prompt: TypeAlias = str | Sequence[Mapping[str, str]] | Mapping[str, Any]
"""A text, messages, or an object with `prompt` and `response`."""


def capture_activations(
    model: AnyModel,
    tokenizer: Any = None,
    prompts: Prompt | Sequence[Prompt] | None = None,
    *,
    layers: Layers = "all",
    hook_points: Sequence[str] = ("hook_resid_post",),
    positions: str | int | Sequence[int] = "all",
    chat: bool = False,
    system: str | None = None,
    max_length: int | None = None,
    batch_tokens: int = 4096,
    max_mb: int = 2000,
    out: Path | str | None = None,
    overwrite: bool = False,
) -> CapturedActivations:
    """Run prompts through a model and return what its hook points read, as tensors.

    Called as `capture_activations(model, prompts)` or `capture_activations(model, tokenizer, prompts)`.
    A prompt is a text, a list of messages, or an object with `prompt` and `response`; several make a batch. `positions`
    is all, last, response, or numbers. `chat` puts texts into the model's chat template, after `system`. `max_length`
    and `batch_tokens` are in tokens, `max_mb` is the most memory of the tensors. `out` keeps the run there.

    Raises InputError for a prompt that cannot be used, ModelError and UsageError for a model, layers, hook points or
    positions that are not there, RunError for tensors larger than `max_mb` or an `out` that exists. Warns of prompts
    that were cut because they are longer than the model's context.

        found = actkit.capture_activations("tiny", ["Good morning.", "Good night."], layers=[1, 2])
        found.activations[2].shape  # [2, 5, 192]
    """
    spec, (given, *_) = model_and_texts(model, tokenizer, prompts)
    chosen = prompts_of(given)
    texts = tuple(str(prompt) for prompt in chosen if isinstance(prompt, str))  # numpy has a kind of its own
    tokens = TokenSpec(max_length)
    at = positions if isinstance(positions, str) else layers_text(positions)
    with placed(out, overwrite, on_bad_record="fail") as place:
        path = None
        if len(texts) < len(chosen):
            texts, path = (), place.write_input(_record(prompt) for prompt in chosen)
        what = CaptureSpec(texts, path, positions=at, chat=chat, system=system, tokens=tokens)
        dense = DenseSpec(spec, place.output, layers_text(layers), tuple(hook_points), BatchSpec(batch_tokens))
        with in_use(spec):
            finished = run_capture(what, dense)
        run = Run(finished.path)
        found = torch.load(export(run.path, "pt", place.folder / "run.pt", max_mb=max_mb), weights_only=True)
        captured = captured_of(found, run, place.kept)
    warn_of(run.facts, max_length)
    return captured


def prompts_of(prompts: Prompt | Sequence[Prompt] | None) -> list[Prompt]:
    """One prompt, or several, as a list. Raises UsageError for none, and for what is no prompt."""
    if isinstance(prompts, (str, Mapping)):
        return [prompts]
    if prompts is None:
        raise UsageError("there are no prompts", "give a text or a list of texts")
    found: list[Any] = list(rows_in(prompts))
    if not found:
        raise UsageError("there are no prompts", "give a text or a list of texts")
    if all(isinstance(message, Mapping) and "role" in message for message in found):
        return [found]  # the messages of one conversation
    wrong = next((value for value in found if not isinstance(value, (str, Mapping, list, tuple))), None)
    if wrong is not None:
        raise UsageError(f"{type(wrong).__name__} is no prompt", "give texts, lists of messages, or objects")
    return found


def _record(prompt: Prompt) -> Mapping[str, Any]:
    return prompt if isinstance(prompt, Mapping) else {"prompt": prompt}
