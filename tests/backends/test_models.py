"""The numbers are those of Hugging Face and of TransformerLens's bridge, for every architecture in the list."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from actkit.backends import describe, hugging_face, load, transformer_lens_models
from actkit.backends.hooked import TREE_MODELS
from actkit.backends.model import Description, Model
from actkit.backends.partial_load import LAYERS_STAND_ALONE
from actkit.config import ModelSpec
from actkit.errors import ModelError, UsageError
from actkit.hooks import HookPoint
from tests.backends.made_sites import SITES, sites_table
from tests.conftest import ARCHITECTURES, PARALLEL, SCALED, VOCABULARY, relative_error
from tests.matrix import save

ModelDir = Callable[[str], Path]
NAMES = ("hook_resid_pre", "hook_resid_mid", "hook_resid_post", "hook_attn_out", "hook_mlp_out", "attn.hook_z")
TOLERANCE = 1e-5


def described(directory: Path, attn: str = "eager") -> Description:
    return describe(ModelSpec(str(directory), device="cpu", attn=attn))  # type: ignore[arg-type]


def points(architecture: str) -> list[HookPoint]:
    lacking = {
        **dict.fromkeys(PARALLEL, ("hook_resid_mid",)),
        **dict.fromkeys(SCALED, ("hook_attn_out", "hook_mlp_out")),
    }
    names = [name for name in NAMES if name not in lacking.get(architecture, ())]
    return [HookPoint(layer, name) for layer in range(3) for name in names]


def ids(n: int = 20, rows: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.randint(6, VOCABULARY - 40, (rows, n), generator=torch.Generator().manual_seed(seed))


def captured(
    model: Model, input_ids: torch.Tensor, hook_points: list[HookPoint], **more: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Hook point → its whole tensor [batch, column, width], heads flattened."""
    found: dict[str, torch.Tensor] = {}
    taps = {str(point): (lambda tensor, name=str(point): found.update({name: tensor.clone()})) for point in hook_points}
    positions = more.get("positions", torch.arange(input_ids.shape[1]).expand_as(input_ids))
    model.run(input_ids, positions, more.get("tree"), taps)
    return {name: tensor.flatten(2) if tensor.ndim == 4 else tensor for name, tensor in found.items()}


@pytest.mark.quick(3)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_native_equals_bridge(architecture: str, model_dir: ModelDir) -> None:
    """Every hook point read off the Hugging Face module is what the bridge has under that name."""
    description = described(model_dir(architecture))
    native = captured(load(description, points(architecture)), ids(), points(architecture))
    bridge = transformer_lens_models.load(description).bridge
    with torch.inference_mode():
        _, cache = bridge.run_with_cache(ids(), return_type="logits")
    for name, found in native.items():
        # The bridge shows heads apart, and OPT's MLP with all tokens in one row.
        assert relative_error(found, cache[name].reshape(2, 20, -1)) <= TOLERANCE, name


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_resid_equals_hidden_states(architecture: str, model_dir: ModelDir) -> None:
    """resid_pre and resid_post are Hugging Face's hidden states, except after the last block: there those are after
    the final norm (TRAPS 4 and 39), and ours are before it."""
    wanted = [HookPoint(layer, name) for layer in range(3) for name in ("hook_resid_pre", "hook_resid_post")]
    model = load(described(model_dir(architecture)), wanted)
    found = captured(model, ids(), wanted)
    with torch.inference_mode():
        hidden = model.module(ids(), output_hidden_states=True).hidden_states
    for layer in range(3):
        assert relative_error(found[f"blocks.{layer}.hook_resid_pre"], hidden[layer]) <= TOLERANCE
    for layer in range(2):
        assert relative_error(found[f"blocks.{layer}.hook_resid_post"], hidden[layer + 1]) <= TOLERANCE
    last = found["blocks.2.hook_resid_post"]
    assert relative_error(last, hidden[3]) > 1e-2
    final_norm = next(
        module
        for name, module in model.module.named_modules()
        if name.rsplit(".", 1)[-1] in ("norm", "ln_f", "final_layer_norm", "final_layernorm") and "layers." not in name
    )
    with torch.inference_mode():
        assert relative_error(final_norm(last), hidden[3]) <= TOLERANCE


@pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if name not in SCALED])
def test_parts_add_up_to_the_residual_stream(architecture: str, model_dir: ModelDir) -> None:
    """attn_out and mlp_out are what is added to the residual stream, also where a norm follows them (TRAPS 5)."""
    found = captured(load(described(model_dir(architecture)), points(architecture)), ids(), points(architecture))
    for layer in range(3):
        at = {name: found.get(f"blocks.{layer}.{name}") for name in NAMES}
        pre, attn, mlp, post = (at[f"hook_{name}"] for name in ("resid_pre", "attn_out", "mlp_out", "resid_post"))
        assert pre is not None and attn is not None and mlp is not None and post is not None
        assert relative_error(pre + attn + mlp, post) <= TOLERANCE
        if (mid := at["hook_resid_mid"]) is not None:
            assert relative_error(pre + attn, mid) <= TOLERANCE


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_rows_do_not_depend_on_their_neighbours(architecture: str, model_dir: ModelDir) -> None:
    """A short row beside a long one, padded on the right, has the numbers it has alone (TRAPS 1, 2, 19)."""
    wanted = points(architecture)
    model = load(described(model_dir(architecture), attn="auto"), wanted)
    short, long = ids(7, 1, seed=1), ids(20, 1, seed=2)
    together = captured(model, torch.cat([torch.cat([short, torch.zeros(1, 13, dtype=torch.long)], 1), long]), wanted)
    alone, other = captured(model, short, wanted), captured(model, long, wanted)
    for name in together:
        assert relative_error(together[name][:1, :7], alone[name]) <= TOLERANCE, name
        assert relative_error(together[name][1:], other[name]) <= TOLERANCE, name


def tree_of(prefix: int, first: int, second: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The mask and positions of one row: a prefix and two continuations that do not see each other."""
    node = torch.tensor([0] * prefix + [1] * first + [2] * second)
    positions = torch.cat([torch.arange(prefix + first), torch.arange(prefix, prefix + second)])
    sees = (node[:, None] == node[None, :]) | (node[None, :] == 0)
    return (sees & (positions[None, :] <= positions[:, None]))[None], positions[None]


@pytest.mark.parametrize("attn", ["auto", "eager"])
@pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if name not in ("bloom", "opt")])
def test_a_tree_gives_the_numbers_of_its_single_sequences(architecture: str, attn: str, model_dir: ModelDir) -> None:
    """A prefix run once with two continuations equals running both whole, sliding windows included."""
    wanted = points(architecture)
    model = load(described(model_dir(architecture), attn), wanted)
    assert model.shares_prefixes
    prefix, first, second = ids(12, 1, 3), ids(9, 1, 4), ids(11, 1, 5)
    tree, positions = tree_of(12, 9, 11)
    row = captured(model, torch.cat([prefix, first, second], 1), wanted, tree=tree, positions=positions)
    whole = captured(model, torch.cat([prefix, first], 1), wanted)
    other = captured(model, torch.cat([prefix, second], 1), wanted)
    for name in row:
        assert relative_error(row[name][:, :21], whole[name]) <= TOLERANCE, name
        assert relative_error(row[name][:, 21:], other[name][:, 12:]) <= TOLERANCE, name


def test_models_without_tree_masks_say_so(model_dir: ModelDir) -> None:
    """ALiBi takes positions from a flat mask, so BLOOM runs sequences whole; the table holds tested models only."""
    assert not load(described(model_dir("bloom")), [HookPoint(0, "hook_resid_post")]).shares_prefixes
    tested = {
        describe(ModelSpec(str(model_dir(name)), device="cpu")).config.get_text_config().model_type
        for name in ARCHITECTURES
    }
    assert set(TREE_MODELS) <= tested


def test_nothing_after_the_last_hook_point_is_run(model_dir: ModelDir) -> None:
    """Neither later blocks nor the LM head run, and the hooks are gone afterwards."""
    wanted = [HookPoint(1, "hook_resid_mid")]
    model = load(described(model_dir("llama")), wanted)
    ran: list[str] = []
    handles = [
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
        for name, module in model.module.named_modules()
    ]
    captured(model, ids(), wanted)
    for handle in handles:
        handle.remove()
    assert "model.layers.0" in ran and "model.layers.1.self_attn" in ran
    assert not any(name.startswith(("model.layers.1.mlp", "model.layers.2", "model.norm", "lm_head")) for name in ran)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.module.modules())


@pytest.mark.quick(6)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_blocks_that_nothing_reads_are_not_loaded(architecture: str, model_dir: ModelDir) -> None:
    """A model cut short after the last block that is read computes what the whole one does there, to the last bit."""
    description = described(model_dir(architecture))
    assert description.config.model_type in LAYERS_STAND_ALONE
    whole = load(description, points(architecture))
    for layer in (0, 1):
        wanted = [point for point in points(architecture) if point.layer <= layer]
        short = load(description, wanted)
        assert parameters(short) < parameters(whole)
        found, expected = captured(short, ids(), wanted), captured(whole, ids(), wanted)
        assert all(torch.equal(found[name], expected[name]) for name in map(str, wanted))
    assert description.config.num_hidden_layers == 3  # the description itself is left as it is


def parameters(model: Model) -> int:
    return sum(parameter.numel() for parameter in model.module.parameters())


def test_other_architectures_are_loaded_whole(model_dir: ModelDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some scale by their number of layers: none is cut that no test has seen."""
    monkeypatch.setattr(hugging_face, "LAYERS_STAND_ALONE", frozenset())
    description = described(model_dir("llama"))
    cut, whole = (load(description, [HookPoint(layer, "hook_resid_post")]) for layer in (0, 2))
    assert parameters(cut) == parameters(whole)


def test_a_model_in_memory_is_used_as_it_is(model_dir: ModelDir) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    module = AutoModelForCausalLM.from_pretrained(model_dir("gpt2"), attn_implementation="eager")
    tokenizer = AutoTokenizer.from_pretrained(model_dir("gpt2"))
    description = describe(ModelSpec("mine", loaded=(module, tokenizer)))
    model = load(description, points("gpt2"))
    assert model.module is module
    assert (description.spec.name, description.spec.dtype, description.spec.attn) == ("mine", "float32", "eager")
    found = captured(model, ids(), points("gpt2"))
    expected = captured(load(described(model_dir("gpt2")), points("gpt2")), ids(), points("gpt2"))
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    with pytest.raises(ModelError, match="bridge"):
        load(description, [HookPoint(0, "attn.hook_pattern")])


@pytest.mark.parametrize("times", [0, 2])
def test_a_hook_point_fires_exactly_once(times: int, model_dir: ModelDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that a forward pass skips or runs twice is an error, not a silent gap or a second reading (TRAPS 6)."""
    wanted = [HookPoint(0, "hook_mlp_out"), HookPoint(2, "hook_resid_post")]
    model = load(described(model_dir("llama")), wanted)
    mlp = model.module.model.layers[0].mlp  # type: ignore[union-attr,index]
    plain = mlp.forward
    layer = model.module.model.layers[0]  # type: ignore[union-attr,index]
    replaced = {0: lambda x: plain(x), 2: lambda x: layer.__dict__["twice"](x) + layer.__dict__["twice"](x)}
    layer.__dict__["twice"] = mlp
    holder = type("Holder", (torch.nn.Module,), {"forward": lambda self, x: replaced[times](x)})()
    layer.mlp = holder
    with pytest.raises(ModelError, match=f"fired {times} times"):
        captured(model, ids(), wanted)


@pytest.mark.slow
def test_sites_table_is_what_transformer_lens_says() -> None:
    """sites.json, which spares the import of TransformerLens, is what its adapters say today."""
    assert SITES.read_text(encoding="utf-8") == sites_table(), "run python -m tests.backends.made_sites"


def test_attention_patterns_come_through_the_bridge(model_dir: ModelDir) -> None:
    """Rows of a pattern sum to one, look at no later position, and equal Hugging Face's own."""
    wanted = [HookPoint(1, "attn.hook_pattern")]
    model = load(described(model_dir("llama")), wanted)
    found: dict[str, torch.Tensor] = {}
    model.run(
        ids(), torch.arange(20).expand(2, 20), None, {str(wanted[0]): lambda tensor: found.update(p=tensor.clone())}
    )
    plain = load(described(model_dir("llama")), [HookPoint(1, "hook_resid_post")])
    with torch.inference_mode():
        expected = plain.module(ids(), output_attentions=True).attentions[1]
    assert relative_error(found["p"], expected) <= TOLERANCE
    assert torch.allclose(found["p"].sum(-1), torch.ones(2, 4, 20))


def test_sdpa_and_eager_agree_to_a_thousandth(model_dir: ModelDir) -> None:
    """The two attention implementations differ by rounding only (TRAPS 8); a run says which one it used."""
    wanted = points("llama")
    found = {
        attn: captured(load(described(model_dir("llama"), attn), wanted), ids(), wanted) for attn in ("sdpa", "eager")
    }
    for name in found["sdpa"]:
        assert relative_error(found["sdpa"][name], found["eager"][name]) <= 1e-3


def test_auto_takes_eager_where_an_architecture_has_no_sdpa(model_dir: ModelDir) -> None:
    """Gemma 2 caps its attention scores, which sdpa cannot do: auto must load it all the same, and say eager."""
    assert described(model_dir("gemma2"), "auto").spec.attn == "eager"
    assert described(model_dir("llama"), "auto").spec.attn == "sdpa"
    load(described(model_dir("gemma2"), "auto"), [HookPoint(0, "hook_resid_post")])


def test_bfloat16_is_close_to_float32(model_dir: ModelDir) -> None:
    """bfloat16 keeps about two digits, as measured: the tolerance for it is 5e-2 of the largest magnitude."""
    wanted = [HookPoint(2, "hook_resid_post")]
    spec = ModelSpec(str(model_dir("llama")), device="cpu")
    found = {
        dtype: captured(load(describe(replace(spec, dtype=dtype)), wanted), ids(), wanted)[str(wanted[0])]
        for dtype in ("float32", "bfloat16")
    }
    assert found["bfloat16"].dtype == torch.bfloat16
    assert 1e-4 < relative_error(found["bfloat16"].float(), found["float32"]) < 5e-2


def test_a_bridge_that_differs_from_the_model_is_refused(tmp_path: Path) -> None:
    """In transformers Falcon's eager attention, which the bridge takes, adds ALiBi twice (TRAPS 7)."""
    save("falcon_alibi", tmp_path / "falcon")
    description = describe(ModelSpec(str(tmp_path / "falcon"), device="cpu"))
    with pytest.raises(ModelError, match="FalconForCausalLM otherwise than Hugging Face"):
        load(description, [HookPoint(0, "attn.hook_pattern")])
    assert load(description, [HookPoint(0, "hook_resid_post")]).shares_prefixes is False
    with pytest.raises(UsageError, match="ALiBi twice"):
        described(tmp_path / "falcon", "eager")
