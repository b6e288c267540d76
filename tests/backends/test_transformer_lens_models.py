"""A model with TransformerLens's hooks that a caller has at hand; here one of three lines stands for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from actkit.backends.transformer_lens_models import (
    TransformerLensModel,
    check_hook_points,
    config_of,
    is_of_transformer_lens,
)
from actkit.errors import ModelError


class Hooked(torch.nn.Module):
    """One layer whose output passes a hook."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(9, 4)
        self.cfg = SimpleNamespace(n_layers=2, d_model=4, d_vocab=9, n_ctx=16, n_heads=2, d_head=2, model_name="toy")
        self.tokenizer = None
        self.hook_dict = {"blocks.0.hook_resid_post": None, "blocks.0.hook_mlp_in": None}
        self.seen: list[dict[str, Any]] = []
        self._hooks: list[Any] = []

    @contextmanager
    def hooks(self, fwd_hooks: list[Any]) -> Iterator[None]:
        for name, _ in fwd_hooks:
            if name.endswith("hook_mlp_in"):
                raise ValueError("use_hook_mlp_in is False,\nso that there is none")
        self._hooks = fwd_hooks
        try:
            yield
        finally:
            self._hooks = []

    def forward(self, ids: torch.Tensor, **options: Any) -> None:
        self.seen.append({"ids": ids, **options})
        for name, hook in self._hooks:
            hook(self.embed(ids), SimpleNamespace(name=name))


POINT = "blocks.0.hook_resid_post"


def model() -> TransformerLensModel:
    description: Any = SimpleNamespace(spec=SimpleNamespace(device="cpu"))
    return TransformerLensModel(description, Hooked())


def test_what_has_the_hooks_is_one() -> None:
    assert is_of_transformer_lens(Hooked())
    assert not is_of_transformer_lens(torch.nn.Linear(2, 2))
    assert not is_of_transformer_lens(SimpleNamespace(hooks=1, hook_dict=1, cfg=1, tokenizer=1)), "no module"


def test_its_configuration_in_hugging_faces_words() -> None:
    module = Hooked()
    found = config_of(module)
    sizes = (found.num_hidden_layers, found.hidden_size, found.vocab_size, found.max_position_embeddings)
    assert sizes == (2, 4, 9, 16) and (found.num_attention_heads, found.head_dim) == (2, 2)
    assert (found.architectures, found.name_or_path) == (["Hooked"], "toy")
    module.cfg.model_name = None
    assert config_of(module).name_or_path == "Hooked"
    own = object()
    module.original_model = SimpleNamespace(config=own)  # type: ignore[assignment]
    assert config_of(module) is own, "of a bridge, that of the model in it"


def test_taps_get_what_passes_the_hook_and_all_tokens_are_real() -> None:
    found: list[torch.Tensor] = []
    own = model()
    ids = torch.tensor([[1, 2, 0], [3, 4, 5]])
    own.run(ids, torch.zeros(2, 3), None, {POINT: found.append})
    assert torch.equal(found[0], own.module.embed(ids))
    (seen,) = own.module.seen
    assert seen["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 1]] and seen["return_type"] is None
    assert own.shares_prefixes is False


def test_a_hook_that_nothing_passes_is_an_error() -> None:
    own = model()
    own.module.forward = lambda *_, **__: None
    with pytest.raises(ModelError):
        own.run(torch.tensor([[1]]), torch.zeros(1, 1), None, {POINT: lambda _tensor: None})


def test_token_ids_are_the_models() -> None:
    with pytest.raises(ModelError, match="token id 9 is not one of the model's 9") as error:
        model().run(torch.tensor([[1, 9]]), torch.zeros(1, 2), None, {POINT: lambda _tensor: None})
    assert error.value.hint == "give its tokenizer"
    own = model()
    own.module.original_model = torch.nn.Sequential(own.module.embed)
    own.module.original_model.get_input_embeddings = lambda: own.module.embed
    with pytest.raises(ModelError, match="embeddings of 0 to 8"):
        own.run(torch.tensor([[1, 9]]), torch.zeros(1, 2), None, {POINT: lambda _tensor: None})


def test_trees_are_not_run() -> None:
    with pytest.raises(ValueError, match="one sequence a row"):
        model().run(torch.tensor([[1]]), torch.zeros(1, 1), torch.zeros(1, 1), {})


@pytest.mark.parametrize(
    ("point", "says", "hint"),
    [
        (
            "blocks.0.hook_resid_pst",
            "Hooked has no hook point blocks.0.hook_resid_pst",
            "the nearest are blocks.0.hook_resid_post",
        ),
        ("zzz", "Hooked has no hook point zzz", "its hook_dict lists them"),
        (
            "blocks.0.hook_mlp_in",
            "Hooked is not set to compute blocks.0.hook_mlp_in (use_hook_mlp_in is False",
            "set it before",
        ),
    ],
)
def test_a_hook_point_that_it_has_not(point: str, says: str, hint: str) -> None:
    check_hook_points(Hooked(), [POINT])
    with pytest.raises(ModelError) as error:
        check_hook_points(Hooked(), [POINT, point])
    assert error.value.message.startswith(says) and error.value.hint.startswith(hint)
    assert "\n" not in error.value.message


def test_other_weights_have_another_digest() -> None:
    own = model()
    before = own.weights_digest()
    assert before == own.weights_digest()
    with torch.no_grad():
        own.module.embed.weight[0, 0] += 1
    assert own.weights_digest() != before and own.unembedding() is None
