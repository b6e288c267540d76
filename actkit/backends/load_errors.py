"""Turn errors of loading a model or an SAE into one sentence and a hint."""

import json
import logging
import pickle
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

from actkit.backends.names import is_directory
from actkit.bundled import NAME
from actkit.config import ModelSpec
from actkit.errors import ActkitError, ModelError, pip_install
from actkit.remote.hub_reach import MINE, from_cache_where_unreachable

ABSENT = "does not appear to have a file named"
"""Part of the messages of `transformers` for a file that it finds neither locally nor on the hub."""

MADE_OF = "a model directory has config.json, model.safetensors and tokenizer.json"
NOT_ITS_OWN = "the checkpoint does not belong to its config.json"
AGAIN = "fetch the model's files again"
TOLD = (
    ("is not a valid JSON file", f"config.json is damaged: {AGAIN}"),
    ("ignore_mismatched_sizes", NOT_ITS_OWN),
    ("does not recognize this architecture", "a newer transformers may know it: pip install --upgrade transformers"),
    ("Should have a `model_type` key", f"{MADE_OF}; config.json names the model_type"),
    ("trust_remote_code", "read the code in the model's repository, then pass --trust-remote-code"),
)
"""Part of an error's message → the hint for it."""

PLAINER = (
    ("ignore_mismatched_sizes", "the weights have other shapes than config.json says"),
    ("Couldn't instantiate the backend tokenizer", "there is no tokenizer.json, nor files to make one from"),
)
"""Part of a misleading message → a clear message."""
UNKNOWN = re.compile(r"\bmust be\b.*\bGot\b")
"""SAELens's words for a setting of an SAE that it does not know."""


def _quiet_hub() -> None:
    """Keep the hub's client from logging every attempt to reach the hub; the failure is reported once, as an error."""
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


@contextmanager
def explained(spec: ModelSpec, part: str) -> Iterator[None]:
    """Turn every error of loading a `part` of a model into a ModelError: one sentence and a hint."""
    from safetensors import SafetensorError
    from transformers import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    _quiet_hub()
    name = f"{spec.name} at revision {spec.revision}" if spec.revision else spec.name
    of_hub = spec.loaded is None and spec.name != NAME and not is_directory(spec.name)
    try:
        with from_cache_where_unreachable() if of_hub else nullcontext():
            yield
    except ActkitError:
        raise
    except torch.OutOfMemoryError as error:
        raise ModelError(
            f"{name} does not fit into the memory of {spec.device}",
            "use --dtype bfloat16, --device-map auto or --device cpu",
        ) from error
    except (SafetensorError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{name}: damaged {part} ({error})", AGAIN) from error
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{name}: the checkpoint is a pickle that holds more than tensors, and none of it was run",
            "convert it to safetensors where its code is trusted",
        ) from error
    except MemoryError as error:
        raise ModelError(f"{name} does not fit into memory", "use --dtype bfloat16 or a smaller model") from error
    except BaseException as error:  # libraries raise anything; a panic in Rust is no Exception
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise ModelError(f"{name}: {_sentence(error, part)}", _hint(error, spec, part)) from error


def _causes(error: BaseException | None) -> list[BaseException]:
    return [] if error is None else [error, *_causes(error.__cause__ or error.__context__)]


def _sentence(error: BaseException, part: str) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = (lines[0][:300] if len(lines) < 2 or not lines[0].endswith(":") else " ".join(lines)[:300]) if lines else ""
    # A message of one word, such as a missing key, says little without the class of the error.
    said = said if " " in said else f"{type(error).__name__}{f': {said}' if said else ''}"
    return f"the {part} cannot be loaded ({next((meant for text, meant in PLAINER if text in str(error)), said)})"


def _hub_hint(error: BaseException, name: str, what: str) -> str | None:
    """The hint for an error that the hub caused; None for others. `what` is `model` or `SAE`."""
    from huggingface_hub import constants
    from huggingface_hub import errors as hub

    def is_of(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in _causes(error))

    if is_of(hub.GatedRepoError):
        return f"accept the licence on the page of {name}, then set HF_TOKEN to a token of that account"
    if is_of(hub.RevisionNotFoundError):
        return "check --revision"
    if is_of(hub.RepositoryNotFoundError):
        return f"check the name; a private {what} needs HF_TOKEN"
    if is_of(hub.LocalEntryNotFoundError, hub.OfflineModeIsEnabled, ConnectionError):
        why = ", since HF_HUB_OFFLINE is set," if constants.HF_HUB_OFFLINE else ""
        use = MINE if what == "model" else "--sae DIR is one of yours"
        return (
            f"the hub cannot be reached{why} and the {what} is not in the local cache; check the name and the "
            f"connection, or set HF_HOME to a cache that has it; {use}"
        )
    return None


def _hint(error: BaseException, spec: ModelSpec, part: str) -> str:
    known = _hub_hint(error, spec.name, "model") or next((hint for text, hint in TOLD if text in str(error)), None)
    if known is not None:
        return known
    if ABSENT in str(error) or isinstance(error, FileNotFoundError) or part == "tokenizer":
        return _missing(str(error), spec, part)
    return f"{MADE_OF}; `tiny` is bundled"


def _missing(said: str, spec: ModelSpec, part: str) -> str:
    """The hint for a missing file."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE and not is_directory(spec.name):
        return f"the local cache has not all of its files: fetch the others with a connection (hf download {spec.name})"
    if part == "tokenizer":
        return "save the tokenizer that the model was trained with in its directory, as tokenizer.json"
    if re.search(r"-\d{5}-of-\d{5}", said):
        return f"a part of the checkpoint is missing: {AGAIN}"
    return (
        "actkit reads weights from safetensors, since a pickle can run code when it is loaded; convert the model, or "
        "trust it with --allow-pickle"
    )


@contextmanager
def explained_sae(name: str, hint: str, of_hub: bool = False) -> Iterator[None]:
    """Turn every error of SAELens, the hub or a damaged file into a ModelError: one sentence and a hint."""
    _quiet_hub()
    try:
        with warnings.catch_warnings(), from_cache_where_unreachable() if of_hub else nullcontext():
            warnings.simplefilter("ignore")  # about names, and about loading the model, as actkit does it
            yield
    except ModelError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise ModelError(f"{name}: {_sentence(error, 'SAE')}", _sae_hint(error, name, hint)) from error


def _sae_hint(error: BaseException, name: str, hint: str) -> str:
    """The hint for the hub's own errors; else `hint`, with the consequence of an unreachable hub for this SAE."""
    from huggingface_hub import errors as hub

    if isinstance(error, (hub.LocalEntryNotFoundError, hub.OfflineModeIsEnabled, ConnectionError)):
        return hint
    if isinstance(error, ValueError) and UNKNOWN.search(str(error)):
        return f"choose another SAE, or a newer SAELens may know it: {pip_install('--upgrade sae-lens')}"
    return _hub_hint(error, name, "SAE") or hint
