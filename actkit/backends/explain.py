"""What can go wrong while a model is loaded, in one sentence and a hint."""

import json
import logging
import pickle
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from actkit.config import ModelSpec
from actkit.errors import ActkitError, ModelError


def quiet_hub() -> None:
    """Keep the hub's client from logging every attempt to reach the hub; what comes of it is said once, as an error."""
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


@contextmanager
def explained(spec: ModelSpec, part: str) -> Iterator[None]:
    """Turn what can go wrong while loading into one sentence and a hint."""
    from safetensors import SafetensorError
    from transformers import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    quiet_hub()
    name = f"{spec.name} at revision {spec.revision}" if spec.revision else spec.name
    try:
        yield
    except ActkitError:
        raise
    except torch.OutOfMemoryError as error:
        raise ModelError(
            f"{name} does not fit into the memory of {spec.device}",
            "use --dtype bfloat16, --device-map auto or --device cpu",
        ) from error
    except (SafetensorError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{name}: damaged {part} ({error})", "fetch the model's files again") from error
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{name}: the checkpoint is a pickle that holds more than tensors, and none of it was run",
            "convert it to safetensors where its code is trusted",
        ) from error
    except MemoryError as error:
        raise ModelError(f"{name} does not fit into memory", "use --dtype bfloat16 or a smaller model") from error
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, ImportError) as error:
        raise ModelError(f"{name}: {_sentence(error, part)}", _hint(error, spec)) from error


def _causes(error: BaseException | None) -> list[BaseException]:
    return [] if error is None else [error, *_causes(error.__cause__ or error.__context__)]


def _sentence(error: Exception, part: str) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"the {part} cannot be loaded ({lines[0][:300] if lines else type(error).__name__})"


def hub_hint(error: BaseException, name: str, what: str) -> str | None:
    """What to do where the hub is the cause of an error; None where it is not. `what` is a model or an SAE."""
    from huggingface_hub import constants
    from huggingface_hub import errors as hub

    causes = _causes(error)
    if any(isinstance(cause, hub.GatedRepoError) for cause in causes):
        return f"accept the licence on the page of {name}, then set HF_TOKEN to a token of that account"
    if any(isinstance(cause, hub.RevisionNotFoundError) for cause in causes):
        return "check --revision"
    if any(isinstance(cause, hub.RepositoryNotFoundError) for cause in causes):
        return f"check the name; a private {what} needs HF_TOKEN"
    if any(
        isinstance(cause, (hub.LocalEntryNotFoundError, hub.OfflineModeIsEnabled, ConnectionError)) for cause in causes
    ):
        why = ", since HF_HUB_OFFLINE is set," if constants.HF_HUB_OFFLINE else ""
        return (
            f"the hub cannot be reached{why} and the {what} is not in the local cache; check the name and the "
            "connection, or set HF_HOME to a cache that has it"
        )
    return None


def _hint(error: Exception, spec: ModelSpec) -> str:
    from_hub = hub_hint(error, spec.name, "model")
    if from_hub is not None:
        return from_hub
    if "trust_remote_code" in str(error):
        return "read the code in the model's repository, then pass --trust-remote-code"
    if "safetensors" in str(error):
        return (
            "actkit reads weights from safetensors, since a pickle can run code when it is loaded; convert the model, "
            "or trust it with --allow-pickle"
        )
    return "a model directory has config.json, model.safetensors and tokenizer.json; `tiny` is bundled"
