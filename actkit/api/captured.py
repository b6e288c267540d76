"""Activations of some prompts as a padded batch in memory, and how they are read back from a run."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from actkit.errors import UsageError
from actkit.runs.reader import left_out
from actkit.runs.run import Run

KEYS = (
    "activations",
    "positions",
    "input_ids",
    "attention_mask",
    "special_tokens_mask",
    "tokens",
    "prompt",
    "num_layers",
    "captured_layers",
)

SHOWN = 4
"""Tensors that a `repr` names."""


@dataclass(frozen=True, eq=False)
class CapturedActivations(Mapping[str, Any]):
    """Activations of a batch of prompts; also a mapping, `found["activations"]`, of what a `.pt` file of it holds."""

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
    """[batch, tokens]: 1 for BOS, role markers and the like, and for attention sinks: what statistics leave out."""
    tokens: list[Any]
    """The texts of the tokens; a list of such lists where there are several prompts."""
    prompt: str | list[str]
    """What was tokenized, a chat template's markers included; a list where there are several prompts."""
    num_layers: int
    """Of the model."""
    captured_layers: list[int]
    n_truncated: list[int]
    """[batch]: tokens cut off the end of each prompt, to fit the maximum length."""
    facts: Mapping[str, Any] = field(repr=False)
    """What `run.json` of the run says: model, counts, versions."""
    run: Run | None = None
    """The run that it came from, where that is kept."""

    def __repr__(self) -> str:
        """What it holds, not all of its numbers."""
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


def shapes(tensors: Mapping[int | str, torch.Tensor]) -> str:
    """`layer 1 [2, 6, 192], layer 2 [2, 6, 192]`, the first and the last where there are many."""
    each = [
        f"{f'layer {key}' if isinstance(key, int) else key} {list(tensor.shape)}" for key, tensor in tensors.items()
    ]
    return ", ".join(each if len(each) <= SHOWN else [*each[: SHOWN - 1], "…", each[-1]])


def captured_of(found: dict[str, Any], run: Run, kept: bool) -> CapturedActivations:
    """The dictionary of an export with what it does not hold: what statistics leave out, and what was cut off."""
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
