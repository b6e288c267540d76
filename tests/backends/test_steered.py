"""A batch under interventions gives the logits of each text alone, with a hook written here on the plain model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from actkit.backends import describe, load, transformer_lens
from actkit.backends.interventions import Edit, Intervention, add, project_out
from actkit.backends.steered import last_unchanged, steered_batch
from actkit.config import ModelSpec
from actkit.errors import ModelError
from actkit.hooks import HookPoint
from tests.conftest import relative_error

LENGTHS = (11, 7, 11)
POINTS = [HookPoint(layer, "hook_resid_post") for layer in range(3)]


def prepared(path: Path, more: tuple[HookPoint, ...] = ()) -> tuple[Any, torch.Tensor, torch.Tensor, Any]:
    """A model, ids padded on the right, where each row may be steered, and the batch."""
    model = load(describe(ModelSpec(str(path), device="cpu", dtype="float32")), [*POINTS, *more])
    rng = torch.Generator().manual_seed(0)
    ids = torch.randint(6, 250, (len(LENGTHS), max(LENGTHS)), generator=rng)
    places = torch.arange(max(LENGTHS)).expand_as(ids)
    steered = (places > 0) & (places < torch.tensor(LENGTHS)[:, None])
    rows = torch.tensor([0, 0, 1, 2, 2, 2])
    columns = torch.tensor([3, 10, 6, 1, 2, 9])
    return model, ids, steered, steered_batch(model, ids, places, None, steered, rows, columns)


def alone(model: Any, ids: torch.Tensor, changes: dict[int, Callable[[torch.Tensor], torch.Tensor]]) -> torch.Tensor:
    """[column, vocabulary] of one text, with `changes` (block → of its output from position 1 on)."""
    blocks = next(
        module for module in model.module.modules() if isinstance(module, torch.nn.ModuleList) and len(module) == 3
    )

    def hook(layer: int) -> Callable[..., Any]:
        def after(_: Any, __: Any, output: Any) -> Any:
            hidden = (output[0] if isinstance(output, tuple) else output).clone()
            hidden[:, 1:] = changes[layer](hidden[:, 1:])
            return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

        return after

    handles = [blocks[layer].register_forward_hook(hook(layer)) for layer in changes]
    with torch.inference_mode():
        found = model.module(input_ids=ids[None]).logits[0]
    for handle in handles:
        handle.remove()
    return torch.as_tensor(found)


@pytest.mark.quick(2)
@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2", "gpt_neox", "qwen3", "granite", "bloom"])
def test_steered_logits_are_those_of_each_text_alone(name: str, model_dir: Callable[[str], Path]) -> None:
    model, ids, _, batch = prepared(model_dir(name))
    unit = torch.nn.functional.normalize(torch.randn(32, generator=torch.Generator().manual_seed(1)), dim=0)
    cases: list[tuple[Intervention, dict[int, Any]]] = [
        (Intervention(0), {}),
        (Intervention(1, (Edit(POINTS[1], add(3 * unit)),)), {1: lambda x: x + 3 * unit}),
        (Intervention(2, (Edit(POINTS[2], add(-unit)),)), {2: lambda x: x - unit}),
        (
            Intervention(3, tuple(Edit(point, project_out(unit)) for point in POINTS[:2])),
            {layer: lambda x: x - (x @ unit)[..., None] * unit for layer in (0, 1)},
        ),
    ]
    batch.keep_below([case for case, _ in cases])
    plain = None
    for intervention, changes in cases:
        found = batch.logits(intervention)
        whole = [alone(model, ids[row, :length], changes) for row, length in enumerate(LENGTHS)]
        expected = torch.stack([whole[int(row)][int(at)] for row, at in zip(batch.rows, batch.columns, strict=True)])
        assert relative_error(found, expected) < 2e-5
        plain = found if plain is None else plain
        assert intervention.intervention_id == 0 or (found - plain).abs().max() > 1e-3
    assert sorted(batch.below) == [0, 1, 2]
    assert not any("forward" in vars(module) for module in model.module.modules()), "a block was left replaced"


def test_blocks_are_found_once_a_model_for_all_interventions(
    model_dir: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most architectures' blocks are found by TransformerLens's adapters, which take longer than a small batch."""
    _, _, _, batch = prepared(model_dir("gpt_neox"))
    asked, mapped_sites = [], transformer_lens.mapped_sites
    monkeypatch.setattr(transformer_lens, "mapped_sites", lambda *given: asked.append(given) or mapped_sites(*given))
    cases = [Intervention(layer, (Edit(POINTS[layer], add(torch.ones(32))),)) for layer in range(3)]
    batch.keep_below(cases)
    for case in cases:
        batch.logits(case)
    assert len(asked) == 1


def test_other_hook_points_and_several_edits(model_dir: Callable[[str], Path]) -> None:
    point = HookPoint(1, "hook_mlp_out")
    model, ids, _, batch = prepared(model_dir("llama"), (point,))
    vector = torch.linspace(-1, 1, 32)
    both = Intervention(1, (Edit(point, add(vector)), Edit(POINTS[1], add(vector))))
    assert last_unchanged(both) == 0
    batch.keep_below([both])
    expected = alone(model, ids[0], {1: lambda x: x + 2 * vector})[[3, 10]]
    assert relative_error(batch.logits(both)[:2], expected) < 2e-5


def test_where_nothing_is_steered_nothing_changes(model_dir: Callable[[str], Path]) -> None:
    _, _, steered, batch = prepared(model_dir("llama"))
    batch.steered = torch.zeros_like(steered)
    intervention = Intervention(1, (Edit(POINTS[0], add(torch.full((32,), 50.0))),))
    assert torch.equal(batch.logits(intervention), batch.logits(Intervention(0)))


def test_a_model_without_an_output_layer_is_refused(model_dir: Callable[[str], Path]) -> None:
    model, ids, steered, _ = prepared(model_dir("llama"))
    model.module.get_output_embeddings = lambda: None
    with pytest.raises(ModelError, match="no output layer"):
        steered_batch(model, ids, ids, None, steered, torch.zeros(1).long(), torch.zeros(1).long())


def test_attention_sinks_are_left_as_they_are() -> None:
    from actkit.backends.interventions import sparing

    x = torch.tensor([[3.0, 4.0], [30.0, 40.0]])
    assert sparing(add(torch.ones(2)), 5.0)(x).tolist() == [[1.0, 1.0], [0.0, 0.0]]


def test_features_are_changed_as_the_saes_own_reconstruction_is() -> None:
    from actkit.backends.interventions import as_long_as, change_features
    from actkit.backends.saes import sae_lens as backend
    from actkit.config import SaeSpec

    sae = backend.load(SaeSpec("tiny", "blocks.2.hook_resid_post"), "cpu")
    assert sae.reconstruct is not None
    x = 3 * torch.randn(40, sae.d_in, generator=torch.Generator().manual_seed(2))
    encoded = sae.encode(x).detach()
    often = encoded.gt(0).sum(0).topk(3).indices.tolist()
    for do, value in (("zero", 0.0), ("clamp", 2.5), ("add", 1.5)):
        wanted = encoded.clone()
        wanted[:, often] = encoded[:, often] + value if do == "add" else value
        with torch.inference_mode():
            expected = sae.reconstruct(x, wanted) - sae.reconstruct(x, encoded)
            found = change_features(sae, often, do, value)(x)  # type: ignore[arg-type]
        assert relative_error(found, expected) < 1e-4
    unit = torch.nn.functional.normalize(torch.ones(sae.d_in), dim=0)
    real = change_features(sae, often, "zero")
    with torch.inference_mode():
        control, moved = as_long_as(real, unit)(x), real(x)
    assert np.allclose(control.norm(dim=1), moved.norm(dim=1), rtol=1e-5)
    assert torch.allclose(control @ unit, control.norm(dim=1), rtol=1e-5)
