"""TransformerLens: map its hook points to modules, and make its bridge around a model.

Only this file imports transformer_lens. For every architecture that it knows, an adapter maps each component to a
Hugging Face module. An alias such as `hook_resid_mid` then resolves to, say, the input of the block's second norm.
Post-norm architectures (Gemma 2, OLMo 2) and parallel ones (GPT-NeoX) differ in these aliases alone.
"""

import copy
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch

from actkit.backends.model import Description
from actkit.backends.partial_load import shortened
from actkit.backends.sites import NATIVE, Site, misnamed
from actkit.errors import ModelError, in_short

SWITCHED_OFF = ("hook_attn_in", "hook_q_input", "hook_k_input", "hook_v_input", "hook_mlp_in", "attn.hook_result")
"""Name endings of hook points that TransformerLens computes only if a setting of the model turns them on."""
OF_NO_TEXT = ("hook_cos", "hook_sin")
"""Name endings of hook points whose tensors are the same for all texts of a batch: rotary angles."""


def alias_of(name: str) -> str:
    """Return the Hugging Face id for a TransformerLens alias such as `gpt2-small`, and any other name as it is."""
    from transformer_lens.supported_models import MODEL_ALIASES

    for official, aliases in MODEL_ALIASES.items():
        if name in aliases:
            return str(official)
    return name


def block_sites(config: Any, architecture: str) -> Mapping[str, Site]:
    """Name of a hook point → its site, for all of `NATIVE` that the architecture has, except `misnamed` ones.

    Common architectures are in `sites.json`, since importing TransformerLens takes seconds. `python -m
    tests.backends.made_sites` writes that file from the adapters, and a test compares the two. For other architectures,
    and those whose layout depends on the configuration, the adapters are asked. Raises what `mapped_sites` does.
    """
    known = json.loads(Path(__file__).with_name("sites.json").read_text(encoding="utf-8"))
    if architecture in known:
        sites: Mapping[str, Site] = {name: Site(path, side) for name, (path, side) in known[architecture].items()}
    else:
        sites = mapped_sites(config, architecture)
    left_out = misnamed(config, architecture)
    return {name: site for name, site in sites.items() if name not in left_out}


def mapped_sites(config: Any, architecture: str) -> Mapping[str, Site]:
    """Sites of those hook points of `NATIVE` that an adapter maps to the input or output of a Hugging Face module.

    Raises ModelError for an architecture that TransformerLens does not map, and for one without blocks.
    """
    mapped = _without_weights(_as_mapped(config), architecture).adapter.component_mapping
    if "blocks" not in mapped:
        raise ModelError(
            f"{in_short(architecture)} has no blocks that follow one another, but {', '.join(mapped)}",
            "actkit reads the hook points of such blocks",
        )
    blocks = mapped["blocks"]
    found = {name: _resolve(blocks, name, f"{blocks.name}.{{layer}}") for name in NATIVE}
    return {name: site for name, site in found.items() if site is not None}


def hook_names(description: Description) -> tuple[str, ...]:
    """Every hook point that the bridge computes in a block of this model, named as in `HookPoint.name`."""
    names = _without_weights(description.config, description.architecture).hook_dict
    left_out = misnamed(description.config, description.architecture)
    in_block = (name.removeprefix("blocks.0.") for name in names if name.startswith("blocks.0."))
    return tuple(name for name in in_block if name not in left_out and not name.endswith((*SWITCHED_OFF, *OF_NO_TEXT)))


def _resolve(component: Any, name: str, path: str) -> Site | None:
    """Follow the component's aliases to the input or output of a module; None where they lead to none."""
    if name in ("hook_in", "hook_out"):
        return Site(path, "in" if name == "hook_in" else "out")
    head, _, rest = name.partition(".")
    if rest and head in component.submodules:
        child = component.submodules[head]
        return _resolve(child, rest, f"{path}.{child.name}" if child.name else path)
    alias = (component.hook_aliases or {}).get(name)
    return _resolve(component, alias, path) if isinstance(alias, str) else None


def _as_mapped(config: Any) -> Any:
    """Replace entries of a configuration that its adapter cannot handle; names of modules stay the same.

    TransformerLens splits the attention weights of Falcon's newer layout (40B, 180B, Falcon 2) like those of the older
    one, and fails. Blocks of both are parallel, and their modules have the same names.
    """
    if config.model_type == "falcon" and config.new_decoder_architecture:
        config = copy.deepcopy(config)
        config.new_decoder_architecture, config.parallel_attn, config.num_ln_in_parallel_attn = False, True, 1
    return config


def _without_weights(config: Any, architecture: str) -> Any:
    """Make the bridge over two blocks of the model; adapters split weights, so these have memory, but no values."""
    from transformers import AutoModelForCausalLM

    config = shortened(config, min(2, config.get_text_config().num_hidden_layers))
    try:
        with torch.device("meta"):
            skeleton = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    except ValueError as error:
        raise ModelError(
            f"transformers has no causal language model for {architecture}", "actkit reads causal language models only"
        ) from error
    except Exception as error:  # sizes that do not fit together raise anything
        why = in_short(" ".join(f"{type(error).__name__}: {error}".split()))
        raise ModelError(
            f"no {in_short(architecture)} can be made of the configuration ({why})", "fetch its config.json again"
        ) from error
    skeleton.config.architectures = [architecture]
    return wrapped(skeleton.to_empty(device="cpu"), "cpu")


def wrapped(module: torch.nn.Module, device: str) -> Any:
    """Make TransformerLens's bridge around a Hugging Face model. Raises ModelError where that fails."""
    from transformer_lens.model_bridge.bridge import TransformerBridge

    logging.getLogger("transformer_lens").setLevel(logging.ERROR)
    try:
        with _without_processors(module.config):
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


@contextmanager
def _without_processors(config: Any) -> Iterator[None]:
    """Inside, TransformerLens loads no image or audio processor, which actkit does not need.

    For a model with images, TransformerLens 3.9 asks the hub for one. If that fails, it installs torchvision by pip
    into the running environment, whatever that does to torch.
    """
    if config.get_text_config() is config:
        yield
        return
    import transformers

    none = SimpleNamespace(from_pretrained=lambda *_args, **_options: None)
    with patch.multiple(transformers, AutoProcessor=none, AutoImageProcessor=none, AutoFeatureExtractor=none):
        yield


def _placeholder_tokenizer() -> Any:
    """Make a tokenizer for the bridge, which gets token ids only but would ask the hub for a tokenizer.

    It has no BOS: a tokenizer with BOS the bridge reads again from the hub, with another padding side.
    """
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel({"a": 0}, unk_token="a")), unk_token="a", eos_token="a"
    )
