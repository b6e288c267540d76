"""`--preset NAME`: a model, its SAE, dtype and layers, from the files in `actkit/presets`.

Precedence: flag, then ACTKIT_* in the environment, then `--config`, then the preset, then the default.
"""

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from actkit.bundled import NAME
from actkit.cli.signals import ARGUMENTS
from actkit.errors import ModelError, UsageError, did_you_mean

FOLDER = Path(__file__).parents[2] / "presets"
NAMES = tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))
SAE_KEYS = frozenset(("sae_release", "sae_id", "sae", "target_layer", "hook_name"))
"""The options that choose SAEs."""
META = "actkit.preset"
OF_SCRIPTS = {
    "capture": "mistral-7b-instruct",
    "concept": "mistral-7b-instruct",
    "dpo": "gemma-2-2b",
    "sae-extract": "gemma-2-9b-it",
    "feature-dataset": "gpt2-small",
    "reward-detect": "gemma-2-2b",
}
"""Command → the preset of the model that the older script took by default."""
NUMBERS = re.compile(r"\d+")
STORES_VECTORS = "store_dtype"
"""An option that only commands for whole activations have: SAEs are an extra there, and a preset's SAE is left out."""


def preset(name: str) -> dict[str, Any]:
    """The options of the preset `name`. Raises UsageError, with close matches, where there is none."""
    import yaml

    if name not in NAMES:
        meant = did_you_mean(name, NAMES, n=3)
        raise UsageError(f"no preset {name[:80]}", f"{meant}{'There' if meant else 'there'} are {', '.join(NAMES)}")
    return dict(yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8")))


def near_names(model: str) -> list[str]:
    """Return the options that a wrong `--model` may have meant: the bundled model, or presets.

    A name with other numbers in it belongs to another model.
    """
    close = difflib.get_close_matches(model.lower(), (NAME, *NAMES), n=2, cutoff=0.75)
    same = [name for name in close if NUMBERS.findall(name) == NUMBERS.findall(model) and (name, model) != (NAME, NAME)]
    return [f"--model {name}" if name == NAME else f"--preset {name}" for name in same]


@contextmanager
def naming_near(model: str, given: str | None = None) -> Iterator[None]:
    """Where a model does not exist or cannot be loaded, add names close to its own to the error.

    `given` is the preset that was asked for: it is no suggestion.
    """
    try:
        yield
    except ModelError as error:
        known = near_names(model) if error.message.startswith(f"{model}: ") else []
        near = [name for name in known if name != f"--preset {given}"]
        if near:
            error.hint = f"did you mean {' or '.join(near)}? else {error.hint}"
        raise


def load_preset(context: typer.Context, name: str | None) -> str | None:
    """Callback of `--preset`: its options become defaults of the command, beneath those of `--config`.

    Three kinds are left out: options that the command does not have, the part of the SAE that other options choose,
    and `chat` where the command decides by its input. Raises UsageError for an unknown name.
    """
    if name is None:
        return None
    # Some commands decide by their input whether they use the chat template.
    known = {each.name for each in context.command.params if each.name != "chat" or each.default is not None}
    so_far = dict(context.default_map or {})
    left_out = SAE_KEYS if STORES_VECTORS in known else _replaced(_chosen(context) | set(so_far))
    values = {key: value for key, value in preset(name).items() if key in known and key not in left_out}
    context.meta[META] = values
    context.default_map = {**values, **so_far}
    return name


def beneath(context: typer.Context, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults so far, without the part of a preset's SAE that `config` chooses itself."""
    ours = _replaced(set(config)) & set(context.meta.get(META, {}))
    return {key: value for key, value in (context.default_map or {}).items() if key not in ours}


def _replaced(chosen: set[str]) -> frozenset[str]:
    """The SAE options of a preset that `chosen` ones replace: an id means nothing with another release or layer."""
    if chosen & {"sae", "sae_release"}:
        return SAE_KEYS
    return frozenset({"sae_id"}) if chosen & SAE_KEYS else frozenset()


def _chosen(context: typer.Context) -> set[str]:
    """The SAE options on the command line and in the environment, which typer reads after this."""
    given = {argument.partition("=")[0] for argument in ARGUMENTS.get()}
    options: list[Any] = [each for each in context.command.params if each.name in SAE_KEYS]
    return {each.name for each in options if given & set(each.opts) or each.envvar in os.environ}
