"""Paths of datasets on the hub: their parts, their files in the cache or on the hub, and what is said without any."""

import io
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from actkit.errors import InputError
from actkit.pipeline.input import hub, hub_files
from actkit.pipeline.input.hub import HubRows, explained, has_card, is_dataset_id, rows_of
from actkit.pipeline.input.hub_files import HubPath, cached, files_in, from_url, hub_bytes, parsed


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("hf://datasets/me/x", ("me/x", None, "")),
        ("hf://datasets/x", ("x", None, "")),
        ("hf://datasets/me/x/", ("me/x", None, "")),
        ("hf://datasets/me/x/data/a.jsonl", ("me/x", None, "data/a.jsonl")),
        ("hf://datasets/me/x@v1/data/*.jsonl", ("me/x", "v1", "data/*.jsonl")),
        ("hf://datasets/me/x@refs/convert/parquet/a", ("me/x", "refs/convert/parquet", "a")),
        ("hf://datasets/me/x@refs/pr/3", ("me/x", "refs/pr/3", "")),
    ],
)
def test_the_parts_of_a_path(path: str, parts: tuple[str, str | None, str]) -> None:
    found = parsed(path)
    assert (found.repo, found.revision, found.inside) == parts
    if found.inside:
        assert found.named(found.inside) == path


@pytest.mark.parametrize("path", ["hf://me/x", "hf://datasets/", "hf://models/me/x", "hf://datasets"])
def test_what_names_no_dataset(path: str) -> None:
    with pytest.raises(InputError, match="names no dataset of the hub") as error:
        parsed(path)
    assert error.value.hint.startswith("such as hf://datasets/owner/name")


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://huggingface.co/datasets/me/x", "hf://datasets/me/x"),
        ("https://huggingface.co/datasets/me/x/", "hf://datasets/me/x"),
        ("http://www.huggingface.co/datasets/me/x/tree/main", "hf://datasets/me/x"),
        ("https://huggingface.co/datasets/me/x/resolve/main/a/b.jsonl", "hf://datasets/me/x/a/b.jsonl"),
        ("https://huggingface.co/datasets/me/x/blob/v1/b.jsonl", "hf://datasets/me/x@v1/b.jsonl"),
        ("https://huggingface.co/me/x", "https://huggingface.co/me/x"),
        ("https://example.org/datasets/me/x", "https://example.org/datasets/me/x"),
        ("in.jsonl", "in.jsonl"),
    ],
)
def test_an_address_of_the_hubs_site_is_a_path(url: str, path: str) -> None:
    assert from_url(url) == path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the local cache has of one dataset; the hub is switched off."""
    for name in ("data/a.jsonl", "data/b.jsonl", "data/more/c.jsonl", "README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)

    def download(repo: str, **options: Any) -> str:
        assert options["local_files_only"] and options["repo_type"] == "dataset"
        if (repo, options["revision"]) != ("me/x", None):
            raise OSError("not there")
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path


START = "hf://datasets/me/x/"
INSIDE = {
    "data": ["data/a.jsonl", "data/b.jsonl", "data/more/c.jsonl"],
    "data/*.jsonl": ["data/a.jsonl", "data/b.jsonl"],
    "**/*.jsonl": ["data/a.jsonl", "data/b.jsonl", "data/more/c.jsonl"],
    "data/b.jsonl": ["data/b.jsonl"],
    "": ["README.md", "data/a.jsonl", "data/b.jsonl", "data/more/c.jsonl"],
}


@pytest.mark.parametrize("inside", INSIDE)
def test_files_in_the_cache(cache: Path, inside: str) -> None:
    assert files_in(HubPath("me/x", None, inside)) == [START + name for name in INSIDE[inside]]


def test_what_is_not_in_the_cache(cache: Path) -> None:
    with hub_bytes(f"{START}data/a.jsonl") as file:
        assert file.read() == b"data/a.jsonl"
    with pytest.raises(InputError, match="x/nothing: no such file in the dataset") as error:
        files_in(HubPath("me/x", None, "nothing"))
    assert error.value.hint == "check the path, and @revision"
    with pytest.raises(InputError, match="me/y: not in the local cache of the hub, and HF_HUB_OFFLINE is set") as other:
        cached(HubPath("me/y", None, ""))
    assert other.value.hint == "unset HF_HUB_OFFLINE, or name a local file"


class Files:
    """The hub's file system, as far as it is asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _names(self, pattern: str) -> list[str]:
        inside = pattern.removeprefix("datasets/me/x/")
        found = self.folder.rglob("*") if not inside else self.folder.glob(inside)
        return [f"datasets/me/x/{path.relative_to(self.folder).as_posix()}" for path in found]

    def glob(self, pattern: str) -> list[str]:
        return self._names(pattern)

    def find(self, path: str) -> list[str]:
        inside = path.removeprefix("datasets/me/x").strip("/")
        below = list((self.folder / inside).rglob("*")) or [self.folder / inside]
        return [f"datasets/me/x/{each.relative_to(self.folder).as_posix()}" for each in below if each.exists()]

    def isfile(self, name: str) -> bool:
        return (self.folder / name.removeprefix("datasets/me/x/")).is_file()

    def open(self, path: str, mode: str) -> io.RawIOBase:
        assert mode == "rb"
        return io.FileIO(self.folder / path.removeprefix("datasets/me/x/"))


@pytest.mark.parametrize("inside", INSIDE)
def test_files_on_the_hub_are_those_of_the_cache(cache: Path, inside: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "HfFileSystem", lambda: Files(cache))
    assert files_in(HubPath("me/x", None, inside)) == [START + name for name in INSIDE[inside]]
    with hub_bytes(f"{START}data/a.jsonl") as file:
        assert file.readline(3) == b"dat"
    with pytest.raises(InputError, match=r"nothing: cannot be read from the hub \(.+\)"), hub_bytes(f"{START}nothing"):
        pass


def test_ids_of_datasets() -> None:
    ids = ("me/x", "x", "me/x:main", "me/x@v1", "me/x@refs/pr/1:en", "a.b-c/d_e")
    assert all(map(is_dataset_id, ids))
    assert not any(map(is_dataset_id, ("me/x/y", "", "a b", "me//x", "me/x:", "-me/x", "me/x.git", "../x", "ü/x")))


@pytest.mark.parametrize(
    ("card", "found"),
    [
        ("---\nconfigs:\n- a\n---\n", True),
        ("---\nlicense: x\ndataset_info:\n  a: b\n", True),
        ("---\nlicense: x\n---\nNo more.", False),
        ("configs: a", False),
        ("# configs:", False),
        (None, False),
    ],
)
def test_a_card_says_which_files_are_what(tmp_path: Path, card: str | None, found: bool) -> None:
    if card is not None:
        (tmp_path / "README.md").write_text(card)
    assert has_card(tmp_path) is found


def test_rows_of_a_folder_laid_out_as_a_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked: list[Any] = []

    class Found:
        features = None

        def __iter__(self) -> Any:
            return iter([{"a": 1}, {"a": 2}])

    def load(name: str, configuration: str | None, **options: Any) -> Found:
        asked.append((name, configuration, options["split"], options["revision"], options["streaming"]))
        return Found()

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert list(rows_of(str(tmp_path), "train")) == [{"a": 1}, {"a": 2}]
    assert list(rows_of(f"{tmp_path}:en", "test")) == [{"a": 1}, {"a": 2}]
    assert asked == [(str(tmp_path), None, "train", None, True), (str(tmp_path), "en", "test", None, True)]
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "is_reachable", lambda: True)
    rows_of("me/x@v1:en", "dev")
    assert asked[-1] == ("me/x", "en", "dev", "v1", True)
    monkeypatch.setattr(hub, "is_reachable", lambda: False)
    monkeypatch.setattr(hub, "cached", lambda where: tmp_path if where.repo == "me/x" else _raise())
    rows_of("me/x@v1", "dev")
    assert asked[-1] == (str(tmp_path), None, "dev", None, True), "what the cache has"
    with pytest.raises(InputError, match="me/y: no such file, and the hub cannot be reached"):
        rows_of("me/y", "train")


def _raise() -> Path:
    raise InputError("not there")


def test_names_of_classes_stand_for_their_numbers() -> None:
    rows = HubRows([{"label": 1, "text": "a"}], {"label": lambda value: ["no", "yes"][value]})
    assert list(rows) == [{"label": "yes", "text": "a"}] == list(rows), "they may be gone through again"


@pytest.mark.parametrize(("offline", "hint"), [(True, "HF_HUB_OFFLINE is set"), (False, "check the name, --split")])
def test_whatever_is_raised_is_one_sentence(
    offline: bool, hint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", offline)
    for error, why in ((ValueError("\n first \nsecond"), "first"), (KeyError(), "KeyError")):
        with pytest.raises(InputError) as caught, explained("me/x"):
            raise error
        assert caught.value.message == f"me/x: neither a local path nor a dataset that can be read ({why})"
        assert hint in caught.value.hint
    with pytest.raises(InputError) as caught, explained(f"{tmp_path}:en"):
        raise ValueError("x")
    assert "check the name" in caught.value.hint, "a folder needs no hub"
    for secret in (f"https://me:{'a' * 34}@host/x", "hf_" + "a" * 34):
        with pytest.raises(InputError) as cut, explained("me/x"):
            raise ValueError(f"{'x ' * 143}{secret}")
        assert "***" in cut.value.message and "aaa" not in cut.value.message, "a part of a secret is secret too"
    own = InputError("said")
    with pytest.raises(InputError) as told, explained("me/x"):
        raise own
    assert told.value is own
    assert hub_files.HUB == "hf://"


@pytest.mark.parametrize("secret", [f"https://me:{'a' * 34}@host/x", "hf_" + "a" * 34])
def test_an_error_over_a_file_of_the_hub_repeats_no_part_of_a_secret(
    secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    def refuse() -> None:
        raise ValueError(f"{'x ' * 143}{secret}")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "HfFileSystem", refuse)
    with pytest.raises(InputError) as caught, hub_files.hub_bytes("hf://datasets/me/x/a.jsonl"):
        pass
    assert "***" in caught.value.message and "aaa" not in caught.value.message
