"""A concept's contrast pairs and its directions in memory, on top of the command `concept`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from actkit.api.captures import CapturedActivations
from actkit.api.contrasts import SIDES, ContrastiveActivations, contrasted
from actkit.api.loading import AnyModel, Layers, in_use, layers_text, model_and_texts
from actkit.api.run_location import RunLocation, placed, rows_in, texts_of, warn_of
from actkit.config import BatchSpec, ContrastPositions, TokenSpec
from actkit.errors import UsageError
from actkit.export.pair_sides import side_of
from actkit.recipes.concept import ConceptSpec, run_concept
from actkit.recipes.concepts import Template
from actkit.recipes.specs import DenseSpec
from actkit.runs.run import Run
from actkit.schemas import arrow_schema

if TYPE_CHECKING:
    import pandas as pd

Pair = tuple[str, str] | Mapping[str, Any]
"""A positive and a negative text; or a record of a file of pairs, as `actkit concept` reads it."""


@dataclass(frozen=True, eq=False, repr=False)
class ConceptActivations(ContrastiveActivations):
    """Both sides of a concept's pairs, their differences, and the directions with the evidence for them."""

    directions: "pd.DataFrame" = field(kw_only=True, repr=False)
    """The table `directions`: unit vectors, fitted on training pairs."""
    scores: "pd.DataFrame" = field(kw_only=True, repr=False)
    """The table `direction_scores`: the held-out evidence for each."""

    def direction(self, layer: int, method: str = "mean-diff", hook_point: str | None = None) -> torch.Tensor:
        """[width] float32, the unit vector of one layer. Raises UsageError for an unknown layer."""
        rows = self.directions
        rows = rows[(rows["layer"] == layer) & (rows["method"] == method)]
        rows = rows if hook_point is None else rows[rows["hook_point"] == hook_point]
        if len(rows) != 1:
            known = sorted({f"{row.layer} by {row.method}" for row in self.directions.itertuples()})
            raise UsageError(
                f"{len(rows)} directions of layer {layer} by {method}", f"there are {', '.join(known) or 'none'}"
            )
        return torch.from_numpy(np.array(rows["direction"].iloc[0], dtype=np.float32))


def capture_from_concept(
    model: AnyModel,
    tokenizer: Any = None,
    concept: str | Template | Sequence[Pair] | None = None,
    *,
    stems: str | Path | Sequence[str] | None = None,
    layers: Layers = "all",
    hook_points: Sequence[str] = ("hook_resid_post",),
    positions: ContrastPositions = "last",
    chat: bool | None = None,
    max_length: int | None = None,
    max_samples: int | None = None,
    max_examples: int | None = None,
    seed: int = 0,
    batch_tokens: int = 4096,
    out: Path | str | None = None,
    overwrite: bool = False,
) -> ConceptActivations:
    """Run a concept's contrast pairs through a model: both sides, a direction a layer, and the evidence for it.

    Called as `capture_from_concept(model, concept)`, or with the tokenizer behind the model.
    `concept` is a built-in one (honesty, creativity, …), a file of pairs, a list of pairs, or a `Template` that is
    filled with `stems`: texts, or a file of them. `positions` is last, response-mean or all; differences
    [n_pairs, width] are at the last token, or of the answers' means. `chat` is by default the model's template where it
    has one. At most `max_samples` pairs are read (`max_examples` is the same). Those that cannot be used are left out
    and counted in `facts`.

    Raises UsageError for an unknown concept, an empty list or a template without stems, InputError for a file without
    usable pairs, RunError when no pair is left or `out` exists, and ModelError as `load_model` does.

        found = actkit.capture_from_concept("tiny", "honesty", layers=2, max_samples=60)
        found.direction(2).shape  # [192]
    """
    spec, (meant, *_) = model_and_texts(model, tokenizer, concept)
    at, most = layers_text(layers), max_samples if max_samples is not None else max_examples
    with placed(out, overwrite, max_records=most) as place:
        what = pairs_asked(meant, stems, place)
        asked = ConceptSpec(**what, chat=chat, positions=positions, tokens=TokenSpec(max_length), seed=seed)
        dense = DenseSpec(spec, place.output, at, tuple(hook_points), BatchSpec(batch_tokens))
        with in_use(spec):
            finished = run_concept(asked, dense)
        warn_of(finished.facts)
        return _found(Run(finished.path), place.kept, positions)


def pairs_asked(concept: Any, stems: Any, place: RunLocation) -> dict[str, Any]:
    """Return the fields of a `ConceptSpec` that name its pairs."""
    if isinstance(concept, Template):
        if stems is None:
            raise UsageError(f"template {concept.name} without stems", "give stems: texts, or a file of them")
        named = isinstance(stems, (str, Path))
        return {
            "template": concept,
            "stems": str(stems) if named else place.write_input({"stem": stem} for stem in texts_of(stems, "stems")),
        }
    if concept is None:
        raise UsageError("which concept?", "give a built-in one such as honesty, a file of pairs, or pairs")
    if stems is not None:
        raise UsageError("stems without a template", "give a Template with them")
    if isinstance(concept, (str, Path)):
        return {"what": str(concept)}
    pairs = [_pair(pair) for pair in rows_in(concept)]
    if not pairs:
        raise UsageError("there are no pairs", "give tuples of a positive and a negative text")
    return {"what": place.write_input(pairs)}


def _pair(pair: Pair) -> Mapping[str, Any]:
    if isinstance(pair, Mapping):
        return pair
    if isinstance(pair, str) or len(pair) != 2:
        raise UsageError("a pair is a positive and a negative text", "give tuples of two texts")
    return {"positive": pair[0], "negative": pair[1]}


def _found(run: Run, kept: bool, positions: ContrastPositions) -> ConceptActivations:
    own = run if kept else None
    sides = [CapturedActivations(**side_of(run, name), facts=run.facts, run=own) for name in SIDES]
    both = contrasted(sides[0], sides[1], "mean" if positions == "response-mean" else "last")
    none = arrow_schema("directions").empty_table().to_pandas()
    return ConceptActivations(
        **vars(both),
        directions=run.to_pandas("directions") if "directions" in run.tables else none,
        scores=run.to_pandas("direction_scores"),
    )
