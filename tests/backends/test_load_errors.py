"""Whatever a library raises while a model or an SAE is loaded, the user reads one sentence and what to do about it."""

import json
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from actkit.backends import load_errors
from actkit.backends.load_errors import AGAIN, MADE_OF, NOT_ITS_OWN, explained, explained_sae
from actkit.config import ModelSpec
from actkit.errors import ModelError, UsageError


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub is not asked, and may be reached as far as these errors know."""
    from huggingface_hub import constants

    @contextmanager
    def nothing() -> Iterator[None]:
        yield

    monkeypatch.setattr(load_errors, "from_cache_where_unreachable", nothing)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


def of_model(error: BaseException, part: str = "model", name: str = "org/name", **spec: Any) -> tuple[str, str]:
    with pytest.raises(ModelError) as caught, explained(ModelSpec(name, device="cpu", **spec), part):
        raise error
    assert caught.value.__cause__ is error and "\n" not in caught.value.message
    return caught.value.message, caught.value.hint


def of_sae(error: BaseException) -> tuple[str, str]:
    with pytest.raises(ModelError) as caught, explained_sae("release/id", "check the folder", of_hub=True):
        raise error
    return caught.value.message, caught.value.hint


def hub_error(name: str, text: str = "401 Client Error: for url") -> BaseException:
    from huggingface_hub import errors

    kind = getattr(errors, name)
    made = kind.__new__(kind)
    made.args = (text,)
    return made  # type: ignore[no-any-return]


def caused(outer: BaseException, inner: BaseException) -> BaseException:
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize(
    ("error", "says", "hint"),
    [
        (torch.OutOfMemoryError("CUDA"), "org/name does not fit into the memory of cpu", "--device-map auto"),
        (MemoryError(), "org/name does not fit into memory", "use --dtype bfloat16 or a smaller model"),
        (json.JSONDecodeError("Expecting value", "", 0), "org/name: damaged model (Expecting value", AGAIN),
        (
            pickle.UnpicklingError("posix"),
            "a pickle that holds more than tensors, and none of it was run",
            "safetensors",
        ),
        (
            RuntimeError("size mismatch; you may pass ignore_mismatched_sizes"),
            "cannot be loaded (the weights have other shapes than config.json says)",
            NOT_ITS_OWN,
        ),
        (ValueError("x does not recognize this architecture"), "this architecture)", "pip install --upgrade"),
        (ValueError("Should have a `model_type` key"), "model_type", "config.json names the model_type"),
        (ValueError("set trust_remote_code=True"), "trust_remote_code", "then pass --trust-remote-code"),
        (OSError("'x' is not a valid JSON file."), "is not a valid JSON file", f"config.json is damaged: {AGAIN}"),
        (KeyError("layers"), "the model cannot be loaded (KeyError: 'layers')", MADE_OF),
        (ValueError(""), "the model cannot be loaded (ValueError)", MADE_OF),
        (ValueError("several things:\n  first\n  second"), "(several things: first second)", MADE_OF),
        (ValueError("one thing\nand its traceback"), "(one thing)", MADE_OF),
        (FileNotFoundError("no model.safetensors"), "no model.safetensors", "trust it with --allow-pickle"),
        (OSError("org/name does not appear to have a file named model-00002-of-00003.bin"), "model-00002", "a part of"),
    ],
)
def test_what_went_wrong_with_a_model(error: BaseException, says: str, hint: str) -> None:
    found = of_model(error)
    assert says in found[0] and hint in found[1]


def test_a_revision_is_named_with_the_model() -> None:
    assert of_model(MemoryError(), revision="abc")[0].startswith("org/name at revision abc ")


def test_a_missing_tokenizer_is_to_be_saved() -> None:
    says, hint = of_model(ValueError("Couldn't instantiate the backend tokenizer from one of:"), "tokenizer")
    assert "there is no tokenizer.json, nor files to make one from" in says and hint.startswith("save the tokenizer")


def test_where_the_hub_is_switched_off_the_rest_is_to_be_fetched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "hf download org/name" in of_model(FileNotFoundError("gone"))[1]
    assert "--allow-pickle" in of_model(FileNotFoundError("gone"), name=str(tmp_path))[1], "a directory has no cache"
    says = of_model(hub_error("LocalEntryNotFoundError"))[1]
    assert "the hub cannot be reached, since HF_HUB_OFFLINE is set, and the model is not in the local cache" in says


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("GatedRepoError", "accept the licence on the page of {name}, then set HF_TOKEN"),
        ("RevisionNotFoundError", "check --revision"),
        ("RepositoryNotFoundError", "check the name; a private {what} needs HF_TOKEN"),
        ("LocalEntryNotFoundError", "the hub cannot be reached and the {what} is not in the local cache"),
    ],
)
def test_what_the_hub_said_is_looked_for_among_the_causes(name: str, hint: str) -> None:
    error = caused(OSError("We couldn't connect"), caused(ValueError("x"), hub_error(name)))
    assert hint.format(name="org/name", what="model") in of_model(error)[1]
    expected = hint.format(name="release/id", what="SAE")
    assert expected in of_sae(caused(OSError("We couldn't connect"), hub_error(name)))[1]


def test_of_an_sae_the_caller_says_what_an_unreachable_hub_means() -> None:
    for error in (
        hub_error("LocalEntryNotFoundError"),
        hub_error("OfflineModeIsEnabled"),
        ConnectionError("refused it"),
    ):
        assert of_sae(error)[1] == "check the folder"
    assert of_sae(KeyError("W_enc")) == ("release/id: the SAE cannot be loaded (KeyError: 'W_enc')", "check the folder")


class PanicException(BaseException):
    """What is no `Exception`, and no wish to end either."""


@pytest.mark.parametrize(
    "around", [lambda: explained(ModelSpec("org/name"), "tokenizer"), lambda: explained_sae("x", "y")]
)
def test_wishes_to_end_pass_and_panics_do_not(around: Callable[[], Any]) -> None:
    for kind in (KeyboardInterrupt, SystemExit, GeneratorExit):
        with pytest.raises(kind), around():
            raise kind
    with pytest.raises(ModelError, match="cannot be loaded"), around():
        raise PanicException("index out of bounds in a tokenizer")

    class Other(BaseException):
        pass

    with pytest.raises(Other), around():
        raise Other


def test_what_is_said_already_stays_as_it_is() -> None:
    own = UsageError("--device cuda: there is none", "leave it out")
    with pytest.raises(UsageError) as caught, explained(ModelSpec("org/name"), "model"):
        raise own
    assert caught.value is own
    with pytest.raises(ModelError) as told, explained_sae("x", "y"):
        raise ModelError("said", "so")
    assert (told.value.message, told.value.hint) == ("said", "so")


@pytest.mark.parametrize(
    ("spec", "asks"),
    [
        (ModelSpec("org/name"), True),
        (ModelSpec("tiny"), False),
        (ModelSpec("org/name", loaded=(SimpleNamespace(), None)), False),
    ],
)
def test_the_hub_is_looked_for_where_the_model_is_its_alone(
    spec: ModelSpec, asks: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[bool] = []

    @contextmanager
    def noted() -> Iterator[None]:
        asked.append(True)
        yield

    monkeypatch.setattr(load_errors, "from_cache_where_unreachable", noted)
    with explained(spec, "model"):
        pass
    with explained(ModelSpec(str(tmp_path)), "model"):
        pass
    assert asked == [True] * asks
