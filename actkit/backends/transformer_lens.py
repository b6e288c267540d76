"""TransformerLens: the map from its hook points to modules, and its bridge for hook points that are no module's.

Only this file imports transformer_lens. For every architecture that it knows, an adapter says which Hugging Face
module each of its components is; an alias such as `hook_resid_mid` then resolves to, say, the input of the block's
second norm. Post-norm architectures (Gemma 2, OLMo 2) and parallel ones (GPT-NeoX) differ in just these aliases.
"""

import copy
import json
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from actkit.backends import hugging_face
from actkit.backends.hooked import Served
from actkit.backends.sites import NATIVE, Site, misnamed
from actkit.errors import ModelError

if TYPE_CHECKING:
    from actkit.backends.model import Description, Tap


TABLE = {
    "GPT2LMHeadModel": "gpt2",
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "mistral",
    "MixtralForCausalLM": "mixtral",
    "GemmaForCausalLM": "gemma",
    "Gemma2ForCausalLM": "gemma2",
    "Gemma3ForCausalLM": "gemma3_text",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
    "PhiForCausalLM": "phi",
    "Phi3ForCausalLM": "phi3",
    "Olmo2ForCausalLM": "olmo2",
    "OPTForCausalLM": "opt",
    "GPTJForCausalLM": "gptj",
    "BloomForCausalLM": "bloom",
}
"""Architectures in `sites.json`. Not here: those whose layout a configuration decides, such as GPT-NeoX and Falcon
(parallel or not), and those that scale what they add to the residual stream, such as Granite."""


TRIED = 24
"""Tokens by which the bridge is held against the model when it is loaded."""
TRIED_OFF, TRIED_OFF_16 = 1e-3, 0.1
"""How far logits may be off, as a share of the largest, in float32 and in 16 bits."""


def alias_of(name: str) -> str:
    """The Hugging Face id for a TransformerLens alias such as `gpt2-small`; other names are returned as they are."""
    from transformer_lens.supported_models import MODEL_ALIASES

    for official, aliases in MODEL_ALIASES.items():
        if name in aliases:
            return str(official)
    return name


def block_sites(config: Any, architecture: str, names: Sequence[str]) -> Mapping[str, Site]:
    """Which of the hook points `names` of a block are the input or output of which Hugging Face module.

    Raises ModelError for an architecture that TransformerLens does not map.
    """
    blocks = _bridge_without_weights(_as_mapped(config), architecture).adapter.component_mapping["blocks"]
    found = {name: _resolve(blocks, name, f"{blocks.name}.{{layer}}") for name in names}
    return {name: site for name, site in found.items() if site is not None}


def sites_table() -> str:
    """The text of `sites.json`: hook point → module path and side, for architectures that always have one layout."""
    from transformers import AutoConfig

    table = {}
    for architecture, model_type in TABLE.items():
        config = AutoConfig.for_model(model_type, num_hidden_layers=2)
        table[architecture] = {
            name: [site.path, site.side] for name, site in block_sites(config, architecture, NATIVE).items()
        }
    return json.dumps(table, indent=1) + "\n"


def hook_names(description: "Description") -> tuple[str, ...]:
    """Every hook point that the bridge has in a block of this model, named as in `HookPoint.name`."""
    names = _bridge_without_weights(description.config, description.architecture).hook_dict
    left_out = misnamed(description.config, description.architecture)
    in_block = (name.removeprefix("blocks.0.") for name in names if name.startswith("blocks.0."))
    return tuple(name for name in in_block if name not in left_out)


def load(description: "Description") -> "BridgedModel":
    """Load the model with eager attention, which alone has patterns, and wrap it in the bridge.

    Raises ModelError where the bridge does not compute what the model does. A few tokens, run before and after, show
    that: transformers, for one, adds ALiBi twice in Falcon's eager attention.
    """
    ids = torch.arange(TRIED, device=description.spec.device)[None] % description.config.get_text_config().vocab_size
    usual = hugging_face.resolve_attn("auto", description.config)
    plain = hugging_face.load(description, {}, attn="eager")
    expected = _logits(_in(plain.module, usual) or hugging_face.load(description, {}, attn=usual).module, ids)
    module = _in(plain.module, "eager")
    bridge = _bridge(module, description.spec.device)
    with torch.no_grad():
        off = float((bridge(ids, return_type="logits").float() - expected).abs().max() / expected.abs().max())
    if not off <= (TRIED_OFF if description.spec.dtype == "float32" else TRIED_OFF_16):
        name = description.architecture
        raise ModelError(
            f"TransformerLens, in eager attention, computes {name} otherwise than Hugging Face ({off:.0e} off {usual})",
            "read hook points that are a module's input or output, such as hook_resid_post: they need no bridge",
        )
    return BridgedModel(description, plain.module, bridge)


def _in(module: Any, attn: str) -> Any:
    """The module with another attention implementation; None where it was fixed when the module was made."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module.set_attn_implementation(attn)
    return module if module.config._attn_implementation == attn else None


def _logits(module: Any, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = module(ids, use_cache=False).logits.float()
    return found


@dataclass(frozen=True)
class BridgedModel:
    """A model run through TransformerLens's bridge: any of its hook points, at the price of eager attention."""

    description: "Description"
    module: torch.nn.Module
    bridge: Any
    shares_prefixes = False

    def run(
        self, input_ids: torch.Tensor, positions: torch.Tensor, tree: torch.Tensor | None, taps: Mapping[str, "Tap"]
    ) -> None:
        """See `Model.run`; rows are single sequences here, since the bridge builds its own mask."""
        del positions
        if tree is not None:
            raise ValueError("the bridge runs one sequence a row")
        served = Served(taps, tuple(input_ids.shape))
        hooks = [(name, _serving(served, name)) for name in taps]
        with torch.inference_mode(), self.bridge.hooks(fwd_hooks=hooks), served.stopping():
            self.bridge(input_ids.to(self.description.spec.device), return_type=None, use_cache=False)
        served.check()


def _serving(served: Served, name: str) -> Callable[..., None]:
    def hook(tensor: torch.Tensor, hook: Any) -> None:  # the bridge passes its hook point under this name
        del hook
        served.serve(name, tensor)

    return hook


def _as_mapped(config: Any) -> Any:
    """The configuration with what its adapter cannot take replaced, where modules keep their names.

    TransformerLens splits the attention weights of Falcon's newer layout (40B, 180B, Falcon 2) as if they were the
    older one's, and fails; blocks of both are parallel, and what they are made of is called the same.
    """
    if config.model_type == "falcon" and config.new_decoder_architecture:
        config = copy.deepcopy(config)
        config.new_decoder_architecture, config.parallel_attn, config.num_ln_in_parallel_attn = False, True, 1
    return config


def _bridge_without_weights(config: Any, architecture: str) -> Any:
    """The bridge over two blocks of the model with memory that is never filled in: adapters want to split weights."""
    from transformers import AutoModelForCausalLM

    config = hugging_face.shortened(config, min(2, config.get_text_config().num_hidden_layers))
    try:
        with torch.device("meta"):
            skeleton = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    except ValueError as error:
        raise ModelError(
            f"transformers has no causal language model for {architecture}", "actkit reads causal language models only"
        ) from error
    skeleton.config.architectures = [architecture]
    return _bridge(skeleton.to_empty(device="cpu"), "cpu")


def _placeholder_tokenizer() -> Any:
    """The bridge gets token ids only, but without a tokenizer it asks the hub for one.

    It has no BOS: the bridge reads a tokenizer that has one anew from the hub, and changes its padding side.
    """
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel({"a": 0}, unk_token="a")), unk_token="a", eos_token="a"
    )


def _bridge(module: torch.nn.Module, device: str) -> Any:
    from transformer_lens.model_bridge.bridge import TransformerBridge

    logging.getLogger("transformer_lens").setLevel(logging.ERROR)
    try:
        return TransformerBridge.boot_transformers(
            "model", hf_model=module, tokenizer=_placeholder_tokenizer(), device=device
        )
    except ValueError as error:
        architecture = (getattr(module.config, "architectures", None) or ["this"])[0]
        raise ModelError(
            f"TransformerLens does not map the architecture {architecture}",
            "actkit reads models that TransformerLens maps; see its list of supported architectures",
        ) from error
    except Exception as error:  # an adapter that was not written for this configuration
        raise ModelError(
            f"TransformerLens cannot wrap {type(module).__name__} in this configuration ({type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else ''})",
            "read hook points that are a module's input or output, such as hook_resid_post: they need no bridge",
        ) from error


def _resolve(component: Any, name: str, path: str) -> Site | None:
    """Follow the component's aliases until an input or an output of one module is named."""
    if name in ("hook_in", "hook_out"):
        return Site(path, "in" if name == "hook_in" else "out")
    head, _, rest = name.partition(".")
    if rest and head in component.submodules:
        child = component.submodules[head]
        return _resolve(child, rest, f"{path}.{child.name}" if child.name else path)
    alias = (component.hook_aliases or {}).get(name)
    return _resolve(component, alias, path) if isinstance(alias, str) else None


if __name__ == "__main__":
    from pathlib import Path

    Path(__file__).with_name("sites.json").write_text(sites_table(), encoding="utf-8")
