"""Activations of contrast pairs as tensors in memory."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from actkit.api.captures import CapturedActivations, Prompt, capture_activations, prompts_of, shapes
from actkit.api.loading import AnyModel, Layers, model_and_texts
from actkit.api.statistics import Read, paired
from actkit.errors import UsageError
from actkit.runs.run import Run

SIDES = ("positive", "negative")


@dataclass(frozen=True, eq=False)
class ContrastiveActivations:
    """Both sides of some pairs, and their differences; unpacked, it is the positive side and the negative one.

    `found["positive"]` and `found["negative"]` are lists, prompt by prompt, of results of `capture_activations`.
    """

    positive: CapturedActivations
    negative: CapturedActivations
    differences: dict[int | str, torch.Tensor]
    """Layer → [n_pairs, width], float32: positive less negative, at the position that is read."""
    facts: Mapping[str, Any] = field(repr=False)
    """The contents of `run.json`: model, counts, versions."""
    run: Run | None = None
    """The run of both sides, where it is kept."""

    def __repr__(self) -> str:
        """Show the shapes, not all of the numbers."""
        n = len(self.positive.input_ids)
        return f"{type(self).__name__}({n} pair{'s' * (n != 1)}; differences {shapes(self.differences)})"

    def __iter__(self) -> Iterator[CapturedActivations]:
        return iter((self.positive, self.negative))

    def __getitem__(self, side: str) -> list[CapturedActivations]:
        if side not in SIDES:
            raise KeyError(side)
        batch = self.positive if side == "positive" else self.negative
        return [_part(batch, slice(row, row + 1)) for row in range(len(batch.input_ids))]

    def keys(self) -> tuple[str, ...]:
        """The two sides."""
        return SIDES


def capture_contrastive_activations(
    model: AnyModel,
    tokenizer: Any = None,
    positive: Prompt | Sequence[Prompt] | None = None,
    negative: Prompt | Sequence[Prompt] | None = None,
    *,
    read: Read = "last",
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
) -> ContrastiveActivations:
    """Run both sides of some pairs through a model, and return them with their differences.

    Called as `capture_contrastive_activations(model, positive, negative)`, or with the tokenizer behind the model.
    The first of `positive` makes a pair with the first of `negative`, and so on. `differences` [n_pairs, width] are at
    the last position that was kept of each prompt, or with `read="mean"` of the means without special tokens. The rest
    is as in `capture_activations`; a run that is kept has the positive prompts first, then the negative ones.

    Raises UsageError for sides with different numbers of prompts, and what `capture_activations` raises.

        pair = actkit.capture_contrastive_activations("tiny", "I love this.", "I hate this.", layers=2)
        pair.differences[2].shape  # [1, 192]
    """
    spec, (first, second, *_) = model_and_texts(model, tokenizer, positive, negative)
    sides = prompts_of(first), prompts_of(second)
    if len(sides[0]) != len(sides[1]):
        raise UsageError(
            f"{len(sides[0])} positive prompts and {len(sides[1])} negative ones make no pairs", "give as many of each"
        )
    both = capture_activations(
        spec,
        prompts=[*sides[0], *sides[1]],
        layers=layers,
        hook_points=hook_points,
        positions=positions,
        chat=chat,
        system=system,
        max_length=max_length,
        batch_tokens=batch_tokens,
        max_mb=max_mb,
        out=out,
        overwrite=overwrite,
    )
    n = len(sides[0])
    return contrasted(_part(both, slice(0, n)), _part(both, slice(n, 2 * n)), read)


def contrasted(positive: CapturedActivations, negative: CapturedActivations, read: Read) -> ContrastiveActivations:
    """Join two sides of one run with their differences. Raises UsageError where they make no pairs."""
    differences = {
        key: torch.from_numpy(first - second).to(torch.float32)
        for key, (first, second) in paired(positive, negative, read).items()
    }
    return ContrastiveActivations(positive, negative, differences, positive.facts, positive.run)


def _part(both: CapturedActivations, rows: slice) -> CapturedActivations:
    """Take some prompts of a batch, padded no further than needed. Tensors are copies: a view would be saved whole."""
    most = int((both.positions[rows] >= 0).sum(1).max())
    longest = int(both.attention_mask[rows].sum(1).max())
    alone, single = len(both.input_ids) == 1, rows.stop - rows.start == 1
    return replace(
        both,
        activations={key: tensor[rows, :most].clone() for key, tensor in both.activations.items()},
        positions=both.positions[rows, :most].clone(),
        **{name: both[name][rows, :longest].clone() for name in ("input_ids", "attention_mask", "special_tokens_mask")},
        tokens=both.tokens if alone else both.tokens[rows.start] if single else both.tokens[rows],
        prompt=both.prompt if alone else both.prompt[rows.start] if single else both.prompt[rows],
        n_truncated=both.n_truncated[rows],
    )
