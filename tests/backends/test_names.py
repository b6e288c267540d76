"""A name that nothing can have is an error like any other name that is not there; a revision is never ignored."""

import json
from pathlib import Path

import pytest

import actkit
from actkit.backends import describe, repository
from actkit.backends.names import is_directory, is_hub_id, names_in
from actkit.backends.saes import sae_lens
from actkit.config import ModelSpec, SaeSpec
from actkit.errors import SHOWN, ActkitError, ModelError, RunError, UsageError, in_short
from actkit.remote import hub_reach

LONG = "x" * 300
NAMES = [
    "",
    " ",
    LONG,
    f"org/{LONG}",
    f"/{LONG}",
    f"{LONG}/y/z",
    "a\0b",
    "org/a\0b",
    "a\nb",
    "./a\nb",
    "a b",
    "a:b",
    "\ud800",
]
every_name = pytest.mark.parametrize("name", NAMES, ids=ascii)


def check(error: ActkitError) -> None:
    """One sentence in one line, that does not repeat a whole text."""
    assert error.hint
    assert error.message.isprintable() and len(error.message) < SHOWN + 200


@every_name
def test_a_model_of_no_possible_name(name: str) -> None:
    with pytest.raises(ModelError, match="no such directory") as caught:
        describe(ModelSpec(name, device="cpu"))
    check(caught.value)


def test_a_name_that_an_sae_gives_for_its_model_may_be_any() -> None:
    """It is only compared with the model's."""
    assert repository.locate("my model") == "my model"


@every_name
def test_a_directory_of_an_sae_of_no_possible_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="no such directory|no SAE in" if not name else "no such directory") as caught:
        sae_lens.load(SaeSpec(path=name), "cpu")
    check(caught.value)


@pytest.mark.parametrize("name", ["model.safetensors", "org/model.safetensors", "./model.safetensors"])
def test_a_file_in_place_of_its_directory_is_said_to_be_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such names may be ids of the hub too, so the hub was asked for them, or they were said not to be there."""
    monkeypatch.chdir(tmp_path)
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).touch()
    hub_reach.check_model(name)
    with pytest.raises(ModelError, match="a file, not a directory"):
        describe(ModelSpec(name, device="cpu"))
    with pytest.raises(ModelError, match="a file, not a directory"):
        sae_lens.load(SaeSpec(path=name), "cpu")


@every_name
def test_a_release_of_no_possible_name(name: str) -> None:
    with pytest.raises((ModelError, UsageError), match="no name that|is not known|a release and an id") as caught:
        sae_lens.load(SaeSpec(name, "x"), "cpu")
    check(caught.value)


@pytest.mark.parametrize("name", [*NAMES, ".", ".."], ids=ascii)
def test_an_id_of_no_possible_name(name: str) -> None:
    with pytest.raises(UsageError, match="tiny has no SAE|a release and an id") as caught:
        sae_lens.load(SaeSpec("tiny", name), "cpu")
    check(caught.value)


@pytest.mark.parametrize("name", [LONG, "a\0b", "a\nb", "..", "/tmp"], ids=ascii)
def test_a_folder_of_a_repository_of_no_possible_name(name: str) -> None:
    with pytest.raises(UsageError, match="is no folder of org/name") as caught:
        sae_lens.load(SaeSpec("org/name", name), "cpu")
    check(caught.value)


def test_the_functions_of_the_older_scripts_say_the_same() -> None:
    for call in (actkit.load_model, lambda name: actkit.capture_activations(name, "One.")):
        with pytest.raises(ModelError, match="no such directory"):
            call(LONG)


@pytest.mark.parametrize("name", [LONG, "a\0b", "x" * 250, f"{LONG}/run"], ids=ascii)
def test_a_run_of_no_possible_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match="cannot be a run's directory") as caught:
        actkit.capture_activations("tiny", "One.", out=name)
    check(caught.value)
    with pytest.raises(RunError, match="no finished run|is damaged"):
        actkit.open_run(name)
    assert list(tmp_path.iterdir()) == []


def test_a_name_in_short() -> None:
    assert in_short("gpt2") == "gpt2" and in_short("modèle") == "modèle"
    assert in_short("a\nb") == r"a\nb"
    assert in_short(LONG) == "x" * SHOWN + "…"


def test_a_revision_of_what_has_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="tiny is bundled with actkit and has no revisions") as caught:
        describe(ModelSpec("tiny", revision="main", device="cpu"))
    assert "leave out --revision" in caught.value.hint
    with pytest.raises(UsageError, match="is a local directory and has no revisions"):
        describe(ModelSpec(str(tmp_path), revision="main", device="cpu"))
    with pytest.raises(ModelError, match="org/name at revision main"):  # the hub would be asked
        describe(ModelSpec("org/name", revision="main", device="cpu"))


def test_a_directory_says_which_models_it_is(tmp_path: Path) -> None:
    """The hub's cache by its folder, another by what was saved there; a path that was saved is nobody's name."""
    cached = tmp_path / "models--org--name" / "snapshots" / "abc"
    cached.mkdir(parents=True)
    assert names_in(str(cached)) == ["org/name"]
    for saved, names in (("other/base", ["org/name", "other/base"]), (str(tmp_path), ["org/name"]), (7, ["org/name"])):
        (cached / "config.json").write_text(json.dumps({"_name_or_path": saved}))
        assert names_in(str(cached)) == names
    (cached / "config.json").write_text("[")
    assert names_in(str(cached)) == ["org/name"] and names_in(str(tmp_path)) == []


def test_ids_of_the_hub_and_directories_are_told_apart(tmp_path: Path) -> None:
    assert is_hub_id("org/name") and is_hub_id("gpt2") and not any(map(is_hub_id, ("a b", "a/b/c", "-x", "a--b/..")))
    assert is_directory(tmp_path) and not any(map(is_directory, (LONG * 20, "a\0b", str(tmp_path / "none"))))
