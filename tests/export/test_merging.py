"""Runs that join one document at the same time are all in it, and no file beside it is touched."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actkit.errors import InputError, RunError, UsageError
from actkit.export import merged_json as merging_module
from actkit.export.formats import export
from actkit.export.merged_json import merge_into, read_document
from actkit.runs.atomic_files import Written
from actkit.runs.facts import facts_of
from tests.command_line import Run

LAYERS = ("1", "2")
DOCUMENT = {
    "results": [{"question_id": "q", "prompt": "What is a plum?", "response": " A fruit.", "note": "half \ud83c"}]
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("merging")


@pytest.fixture
def runs(folder: Path, actkit: Run) -> dict[str, Path]:
    """A finished run of the document for each layer, made once."""
    found = {layer: folder / f"layer-{layer}" for layer in LAYERS}
    if not found[LAYERS[0]].exists():
        (folder / "in.json").write_text(json.dumps(DOCUMENT))
        for layer, run in found.items():
            arguments = ("sae-extract", folder / "in.json", "--target-layer", layer, "--top-k", "5", "-q", "-o", run)
            assert actkit(*arguments).status == 0
    return found


def layers_in(path: Path) -> list[str]:
    return sorted(json.loads(path.read_text())["results"][0]["sae_activations"])


def joined(runs: dict[str, Path], layer: str, target: Path) -> None:
    merge_into(target, runs[layer], facts_of(runs[layer]), lambda: read_document(target))


def test_all_runs_that_join_at_once_are_in_the_document(runs: dict[str, Path], tmp_path: Path) -> None:
    for attempt in range(5):
        target = tmp_path / f"m{attempt}.json"
        target.write_text(json.dumps(DOCUMENT))
        barrier = threading.Barrier(len(LAYERS))

        def join(layer: str, target: Path = target, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            joined(runs, layer, target)

        threads = [threading.Thread(target=join, args=(layer,)) for layer in LAYERS]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert layers_in(target) == ["layer_1", "layer_2"]
        assert json.loads(target.read_text())["results"][0]["note"] == "half \ud83c"
        assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_what_joined_while_a_run_was_computed_stays(
    runs: dict[str, Path], actkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a file of the user's that is called like a temporary one, and a link, are what they were."""
    from actkit.recipes import sae_extract

    source, target = tmp_path / "in.json", tmp_path / "m.json"
    source.write_text(json.dumps(DOCUMENT))
    (tmp_path / "real.json").write_text(json.dumps(DOCUMENT))
    target.symlink_to("real.json")
    (tmp_path / "m.json.tmp").write_text("mine")
    whole: Callable[..., Any] = sae_extract.run

    def run(*arguments: Any) -> Any:
        finished = whole(*arguments)
        joined(runs, "1", target)
        return finished

    monkeypatch.setattr(sae_extract, "run", run)
    found = actkit(
        "sae-extract", source, "--target-layer", "2", "--merge-into", target, "-o", tmp_path / "x", "-q", "--top-k", "5"
    )
    assert found.status == 0, found.err
    assert layers_in(tmp_path / "real.json") == ["layer_1", "layer_2"]
    assert target.is_symlink() and (tmp_path / "m.json.tmp").read_text() == "mine"


def test_a_document_that_cannot_be_joined_stays(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "m.json"
    target.write_text(json.dumps({"results": [{"prompt": "Another", "response": "one"}]}))
    before = target.read_bytes()
    with pytest.raises(InputError, match="other texts than were run"):
        joined(runs, "1", target)

    def full(*_: Any) -> Written:
        raise RunError("cannot write")

    monkeypatch.setattr(merging_module, "write_whole", full)
    target.write_text(json.dumps(DOCUMENT))
    with pytest.raises(RunError, match="cannot write"):
        joined(runs, "1", target)
    assert json.loads(target.read_text()) == DOCUMENT and before
    assert [path.name for path in tmp_path.iterdir()] == ["m.json"]


@pytest.mark.parametrize(
    "option", [("--merge-into", "s3://b/m.json"), ("--output", "s3://b/x.json"), ("--out", "http://b/x")]
)
def test_a_url_is_refused_before_anything_is_run(option: tuple[str, str], actkit: Run, tmp_path: Path) -> None:
    source = tmp_path / "in.json"
    source.write_text(json.dumps(DOCUMENT))
    found = actkit("sae-extract", source, "--max-length", "4", *option)
    assert found.status == 2 and "nothing can be written to" in found.err


def test_an_export_to_a_url_is_refused(runs: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="nothing can be written to s3://"):
        export(runs["1"], "json", Path("s3://b/x.json"))
