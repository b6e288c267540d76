"""Activations of a few prompts as a padded batch in memory, on top of the command `capture`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch

from actkit.api.loading import AnyModel, Layers, in_use, layers_text, model_and_texts
from actkit.api.run_location import RunLocation, placed, rows_in, warn_of
from actkit.config import BatchSpec, TokenSpec
from actkit.errors import UsageError
from actkit.export.formats import export
from actkit.recipes.capture import CaptureSpec, run_capture
from actkit.recipes.conversations.messages import is_turn
from actkit.recipes.specs import DenseSpec
from actkit.runs.reader import left_out
from actkit.runs.run import Run

NO_KEYS = ("n_truncated", "facts", "run")
"""Fields that are no keys of the mapping."""
SHOWN = 4
"""Tensors that a `repr` names."""


@dataclass(frozen=True, eq=False)
class CapturedActivations(Mapping[str, Any]):
    """Activations of a batch of prompts; also a mapping with the keys of its `.pt` file: `found["activations"]`."""

    activations: dict[int | str, torch.Tensor]
    """Layer → [batch, rows, width], float32 on the CPU, zeros after a sequence's end; hook point → … where a layer has
    several. With all positions read, rows are tokens."""
    positions: torch.Tensor
    """[batch, rows]: the position of each row in its sequence; -1 where there is none."""
    input_ids: torch.Tensor
    """[batch, tokens]."""
    attention_mask: torch.Tensor
    """[batch, tokens]: 0 on the right, where a sequence has ended."""
    special_tokens_mask: torch.Tensor
    """[batch, tokens]: 1 for BOS, role markers and the like, and for attention sinks; statistics leave these out."""
    tokens: list[Any]
    """The texts of the tokens; a list of such lists where there are several prompts."""
    prompt: str | list[str]
    """The tokenized text, a chat template's markers included; a list where there are several prompts."""
    num_layers: int
    """Number of layers of the model."""
    captured_layers: list[int]
    n_truncated: list[int]
    """[batch]: tokens cut off the end of each prompt, to fit the maximum length."""
    facts: Mapping[str, Any] = field(repr=False)
    """The contents of `run.json`: model, counts, versions."""
    run: Run | None = None
    """The run, where it is kept."""

    def __repr__(self) -> str:
        """Show the shapes, not all of the numbers."""
        n = len(self.input_ids)
        return f"{type(self).__name__}({n} prompt{'s' * (n != 1)}; {shapes(self.activations)})"

    def __getitem__(self, key: str) -> Any:
        if key not in KEYS:
            raise KeyError(key)
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return iter(KEYS)

    def __len__(self) -> int:
        return len(KEYS)

    __eq__ = object.__eq__
    __hash__ = object.__hash__


KEYS = tuple(each.name for each in fields(CapturedActivations) if each.name not in NO_KEYS)


def shapes(tensors: Mapping[int | str, torch.Tensor]) -> str:
    """List shapes as `layer 1 [2, 6, 192], layer 2 [2, 6, 192]`; of many, the first and the last."""
    each = [
        f"{f'layer {key}' if isinstance(key, int) else key} {list(tensor.shape)}" for key, tensor in tensors.items()
    ]
    return ", ".join(each if len(each) <= SHOWN else [*each[: SHOWN - 1], "…", each[-1]])


def captured_of(found: dict[str, Any], run: Run, kept: bool) -> CapturedActivations:
    """Add the mask of special tokens and the numbers of cut tokens to the dictionary of an export."""
    if len(found["activations"]) < len(run.facts["hook_points"]):
        raise UsageError(
            "the vectors of some hook points differ in length, so they are no tensor",
            "run_capture stores them in tables; or choose other hook points",
        )
    sequences = run.table("sequences", ["sequence_id", "n_truncated"])
    tokens = run.table("tokens", ["sequence_id", "position", "is_special", "is_sink"])
    row = np.searchsorted(sequences["sequence_id"].to_numpy(), tokens["sequence_id"].to_numpy())
    special = torch.zeros_like(found["attention_mask"])
    special[torch.from_numpy(row), _tensor(tokens["position"])] = _tensor(left_out(tokens)).long()
    cut = sequences["n_truncated"].to_pylist()
    return CapturedActivations(
        **found, special_tokens_mask=special, n_truncated=cut, facts=run.facts, run=run if kept else None
    )


def _tensor(column: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(column.to_numpy()))


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
    """Run prompts through a model and return the activations at its hook points, as tensors.

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
    tokens, at = TokenSpec(max_length), layers_text(positions, "positions")
    with placed(out, overwrite, on_bad_record="fail") as place:
        texts, path = texts_or_file(chosen, place)
        what = CaptureSpec(texts, path, positions=at, chat=chat, system=system, tokens=tokens)
        dense = DenseSpec(spec, place.output, layers_text(layers), tuple(hook_points), BatchSpec(batch_tokens))
        with in_use(spec):
            finished = run_capture(what, dense)
        run = Run(finished.path)
        found = torch.load(export(run.path, "pt", place.folder / "run.pt", max_mb=max_mb), weights_only=True)
        captured = captured_of(found, run, place.kept)
    warn_of(run.facts, max_length)
    return captured


def texts_or_file(prompts: Sequence[Prompt], place: RunLocation) -> tuple[tuple[str, ...], str | None]:
    """Return the prompts where all are texts; else none, and the file beside the run that holds all as records."""
    texts = tuple(str(prompt) for prompt in prompts if isinstance(prompt, str))  # numpy's texts are of its own type
    if len(texts) == len(prompts):
        return texts, None
    return (), place.write_input(prompt if isinstance(prompt, Mapping) else {"prompt": prompt} for prompt in prompts)


def prompts_of(prompts: Prompt | Sequence[Prompt] | None) -> list[Prompt]:
    """Return one prompt, or several, as a list. Raises UsageError for none, and for a value that is no prompt."""
    if isinstance(prompts, Mapping) and any(hasattr(value, "with_format") for value in prompts.values()):
        rows_in(prompts)  # a dataset's splits, which it refuses
    if isinstance(prompts, (str, Mapping)):
        return [prompts]
    found: list[Any] = [] if prompts is None else list(rows_in(prompts))
    if not found:
        raise UsageError("there are no prompts", "give a text or a list of texts")
    if all(map(is_turn, found)):
        return [found]  # the messages of one conversation
    wrong = next((value for value in found if not isinstance(value, (str, Mapping, list, tuple))), None)
    if wrong is not None:
        raise UsageError(f"{type(wrong).__name__} is no prompt", "give texts, lists of messages, or objects")
    return found
